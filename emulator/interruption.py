"""What it costs a computation to be interrupted by a CPU quota: the model, and what it is fitted to. Times are seconds.

A quota of `q` CPU seconds in each period is not kept to the point: the kernel sees that it is used up when it looks
next, every `h` seconds, its tick. What was too much is missing in the periods that follow, so that the share of the
core is kept, but a computation gets more than `q` at a time, on average

    L = max(q, (q + h) / 2)

for where the quota is shorter than a tick it begins with anything up to `q` and ends half a tick after that, and where
it is longer, each period lacks what the one before had too much. (A quota of half its period and more may last over
the period's end: up to a quarter more.) Then it waits, at a share `s` of a core for `w = L / s - L`. Each time its core
slows down and has to fill its caches anew, the more so the longer it has waited: that costs `i(w)`, a straight line
over the logarithm of `w` (as measured from 3 to 65 ms), so that a call of `c` CPU seconds becomes one of
`c + (c' / L) i(w)`, that is `c' = c L / (L - i(w))`.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emulator import quota
from emulator.cgroup import Bandwidth
from emulator.errors import EdgebedError

UNDISTURBED = quota.bandwidth(1.0)
BRIEFLY, FOR_LONG = quota.bandwidth(0.75), quota.bandwidth(0.04)
"""Quotas that have a computation wait for 3 ms and, where the tick is 4 ms, for 60."""
LEAST_STEPS = 6
"""Under each of these, all of them between two without."""
FACTORS = 9
"""By how many the spread of calls is told."""


class Wait(BaseModel):
    """What it cost to be interrupted for so long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(gt=0)
    cost: float = Field(ge=0)
    """CPU seconds."""


class Interruption(BaseModel):
    """What a host's CPU quotas cost the computations of one workload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brief: Wait
    long: Wait
    tick: float = Field(ge=0)
    """Seconds from one look of the kernel at what is left of a quota to the next, by its own word."""
    spread: tuple[float, ...] = ()
    """What calls take under a quota: equally likely factors of median 1, rising; empty: not measured."""

    @model_validator(mode="after")
    def _leave_time(self) -> Self:
        dearest = max(self.brief.cost, self.long.cost)
        if dearest >= at_a_time(quota.LEAST_QUOTA, self.tick):
            raise ValueError(f"interruptions of {dearest:g} s leave no time to compute")
        if self.brief.seconds >= self.long.seconds:
            raise ValueError(f"the brief wait, {self.brief.seconds:g} s, is not shorter than the long one")
        return self

    def cost(self, wait: float) -> float:
        """CPU seconds of an interruption of `wait` seconds; beyond those that were measured, of the nearest of them."""
        longest = math.log(self.long.seconds / self.brief.seconds)
        place = math.log(min(max(wait, self.brief.seconds), self.long.seconds) / self.brief.seconds) / longest
        return self.brief.cost + place * (self.long.cost - self.brief.cost)

    def lengthened(self, cpu: float, bandwidth: Bandwidth | None) -> float:
        """CPU seconds of what takes `cpu` of them undisturbed, under that quota; None: without one."""
        if bandwidth is None:
            return cpu
        length = at_a_time(bandwidth.quota, self.tick)
        return cpu * length / (length - self.cost(waiting(bandwidth, self.tick)))


class Step(NamedTuple):
    """One computation: the cores of its quota, infinity without one, the CPU seconds that it took, and those that the
    probe took next to it."""

    cores: float
    cpu: float
    probe: float

    def under(self, bandwidth: Bandwidth) -> bool:
        """Whether that was its quota."""
        return abs(self.cores / bandwidth.cores - 1) <= quota.TOLERANCE


def at_a_time(allowed: float, tick: float) -> float:
    """CPU seconds that a computation gets before it has to wait, on average, under a quota of `allowed` of them."""
    return max(allowed, (allowed + tick) / 2)


def waiting(bandwidth: Bandwidth, tick: float) -> float:
    """Seconds that a computation waits each time, on average, before it goes on."""
    return at_a_time(bandwidth.quota, tick) * (1 / bandwidth.cores - 1)


def interruption(steps: list[Step], tick: float) -> Interruption:
    """Of steps under the quotas BRIEFLY and FOR_LONG, each turn of them between two of steps UNDISTURBED, where the
    kernel looks at quotas every `tick` seconds.

    Each is compared with those that come before and after it undisturbed, for a host's speed changes by the second, all
    of them by the probe's time (see `probe`).
    Raises `EdgebedError` where they are too few to say.
    """
    # A step may take seconds, of which the probe before it tells, too.
    beside = [math.sqrt(before.probe * step.probe) for before, step in zip(steps[:1] + steps, steps, strict=False)]
    steps = [step._replace(cpu=step.cpu / probe) for step, probe in zip(steps, beside, strict=True)]
    brief, long = _factors(steps, BRIEFLY), _factors(steps, FOR_LONG)
    usual = statistics.median(long)
    quantiles = statistics.quantiles(long, n=2 * FACTORS, method="inclusive")[::2]
    return Interruption(
        brief=_wait(BRIEFLY, tick, statistics.median(brief)),
        long=_wait(FOR_LONG, tick, usual),
        tick=tick,
        spread=tuple(quantile / usual for quantile in quantiles),
    )


def _factors(steps: Sequence[Step], bandwidth: Bandwidth) -> list[float]:
    """How many times as long as undisturbed each step under that quota took."""
    turns = [list(turn) for _, turn in groupby(steps, lambda step: step.cores)]
    factors = list[float]()
    for before, own, after in zip(turns, turns[1:], turns[2:], strict=False):
        if own[0].under(bandwidth) and before[0].under(UNDISTURBED) and after[0].under(UNDISTURBED):
            undisturbed = statistics.median(step.cpu for step in before + after)
            factors += [step.cpu / undisturbed for step in own]
    if len(factors) < LEAST_STEPS:
        raise EdgebedError(
            f"what a CPU quota's interruptions cost could not be measured: of computations under a quota of "
            f"{bandwidth} between others under one of {UNDISTURBED} there were {len(factors)}, {LEAST_STEPS} are "
            f"needed"
        )
    return factors


def _wait(bandwidth: Bandwidth, tick: float, factor: float) -> Wait:
    """Of a quota under which computations take `factor` times as long as undisturbed."""
    cost = max(0.0, at_a_time(bandwidth.quota, tick) * (1 - 1 / factor))
    return Wait(seconds=waiting(bandwidth, tick), cost=cost)
