"""Emulated devices: how long one takes for what this host computes, and whether this host can keep up.

A device is given by its sustained training throughput in FLOP/s, the host by that of one of its cores, measured by the
same kind of work (see `host`). A stage runs at full speed on one core and is held until the device would have ended.
"""

import math
from collections.abc import Mapping

from emulator.errors import InputError

HEADROOM = 0.8
"""The share of the host's cores that emulated devices may ask for when the time scale is chosen for them: the rest is
for the hub, the event loops, and what else the host does."""


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
