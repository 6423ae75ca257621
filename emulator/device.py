"""Emulated devices: how long one takes for what this host computes, and whether this host can keep up.

A device is given by its sustained training throughput in FLOP/s, the host by that of one of its cores, measured by the
same kind of work (see `host`). A stage runs at full speed on one core and is held until the device would have ended.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from emulator.errors import InputError

HEADROOM = 0.8
"""The share of the host's cores that emulated devices may ask for when the time scale is chosen for them: the rest is
for the hub, the event loops, and what else the host does."""
LEAST_CEILING = 0.5
"""Cores: with less, importing a numerical library takes many seconds."""


def share(training: float, core: float) -> float:
    """The share of a host core of `core` FLOP/s that a device of `training` FLOP/s needs while it computes.

    A device of unlimited throughput is the host itself, and takes a whole core.
    """
    return 1.0 if math.isinf(training) else training / core


def slowdown(training: float, core: float) -> float:
    """Seconds of a device of `training` FLOP/s for each CPU second of a host core of `core` FLOP/s."""
    return 1.0 / share(training, core)


def stretched(cpu: float, slow: float) -> float:
    """Seconds a device takes for what took the host `cpu` CPU seconds."""
    return cpu * slow


def due(start: float, cpu: float, slowdowns: Sequence[tuple[float, float]]) -> float:
    """When a device that began at `start` is done with what took the host `cpu` CPU seconds.

    `slowdowns` are pairs of an emulated time, ascending, and the slowdown from then on; the first has always been.
    """
    at, left = start, cpu
    for (_, slow), (until, _) in pairwise(slowdowns):
        if until > at:
            done = (until - at) / slow
            if done >= left:
                return at + stretched(left, slow)
            at, left = until, left - done
    return at + stretched(left, slowdowns[-1][1])


def since(slowdowns: Sequence[tuple[float, float]], start: float) -> list[tuple[float, float]]:
    """What of `slowdowns` (see `due`) counts for what begins at `start` or later."""
    first = max(index for index, (at, _) in enumerate(slowdowns) if index == 0 or at <= start)
    return [*slowdowns[first:]]


def cpu_ceilings(devices: Mapping[str, float]) -> dict[str, float]:
    """The cores that each node's container may take at most while results are held back, not computed slowly.

    A node's training throughput over that of the fastest with a limit: at the automatic time scale, where the fastest
    takes HEADROOM of a core at most, a quarter above what any of them needs. At least LEAST_CEILING: starting PyTorch
    takes seconds of CPU time, which on a twentieth of a core would be a minute. At most the one core that a device is.
    """
    fastest = max((training for training in devices.values() if math.isfinite(training)), default=math.inf)
    return {
        name: min(1.0, max(LEAST_CEILING, training / fastest)) if math.isfinite(training) else 1.0
        for name, training in devices.items()
    }


def shares(devices: Mapping[str, float], core: float) -> dict[str, float]:
    """The `share` of each device at time scale 1; `devices` maps nodes to throughputs in FLOP/s."""
    return {name: share(training, core) for name, training in devices.items()}


def least_scale(needed: Mapping[str, float], cores: float) -> float:
    """The smallest time scale, at least 1, at which no device needs more than a core and all together fit the host.

    Two significant digits, rounded up.
    """
    exact = max([1.0, max(needed.values(), default=0.0) / HEADROOM, sum(needed.values()) / (HEADROOM * cores)])
    unit = 10.0 ** (math.floor(math.log10(exact)) - 1)
    return round(math.ceil(exact / unit - 1e-9) * unit, 6)


def check_scale(needed: Mapping[str, float], scale: float, cores: float) -> None:
    """Raises `InputError` when a device is faster than a core of this host at that time scale."""
    name, most = max(needed.items(), key=lambda item: item[1], default=("", 0.0))
    if most > scale:
        raise InputError(
            f"{name}: its device is {most / scale:.2g} times as fast as a core of this host at time scale {scale:g}: "
            f"set time_scale to {least_scale(needed, cores):g}, or to auto"
        )
