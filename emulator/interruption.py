"""What it costs a computation to be interrupted by a CPU quota: the model, and what it is fitted to. Times are seconds.

A quota of `q` CPU seconds in each period is not kept to the point: the kernel sees that it is used up when it looks
next, every `h` seconds, its tick. What was too much is missing in the periods that follow, so that the share of the
core is kept, but a computation gets more than `q` at a time, on average

    L = max(q, (q + h) / 2)

for where the quota is shorter than a tick it begins with anything up to `q` and ends half a tick after that, and where
it is longer, each period lacks what the one before had too much. (A quota of half its period and more may last over
the period's end: up to a tenth more.) Each time the core's caches have to be filled anew, which takes `i` more: a call
of `c` CPU seconds becomes one of `c + (c' / L) i`, that is `c' = c L / (L - i)`.
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
INTERRUPTED = quota.bandwidth(quota.LEAST_QUOTA / quota.PERIOD)
LEAST_STEPS = 8
"""Under a quota, each between two without."""
FACTORS = 9
"""By how many the spread of calls is told."""


class Interruption(BaseModel):
    """What a host's CPU quotas cost the computations of one workload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(ge=0)
    """CPU seconds of each."""
    tick: float = Field(ge=0)
    """Seconds from one look of the kernel at what is left of a quota to the next."""
    spread: tuple[float, ...] = ()
    """What calls take under a quota: equally likely factors of median 1, rising; empty: not measured."""

    @model_validator(mode="after")
    def _leave_time(self) -> Self:
        if self.seconds >= at_a_time(quota.LEAST_QUOTA, self.tick):
            raise ValueError(f"interruptions of {self.seconds:g} s leave no time to compute")
        return self

    def lengthened(self, cpu: float, allowed: float) -> float:
        """CPU seconds of what takes `cpu` of them undisturbed, under a quota that allows so many in each period."""
        if math.isinf(allowed):
            return cpu
        length = at_a_time(allowed, self.tick)
        return cpu * length / (length - self.seconds)


class Step(NamedTuple):
    """One computation: the cores of its quota, infinity without one, the CPU seconds that it took, and how often it was
    interrupted."""

    cores: float
    cpu: float
    interruptions: int

    def under(self, bandwidth: Bandwidth) -> bool:
        """Whether that was its quota."""
        return abs(self.cores / bandwidth.cores - 1) <= quota.TOLERANCE


def at_a_time(allowed: float, tick: float) -> float:
    """CPU seconds that a computation gets before it has to wait, on average, under a quota of `allowed` of them."""
    return max(allowed, (allowed + tick) / 2)


def interruption(steps: Sequence[Step]) -> Interruption:
    """Of steps under the two quotas, INTERRUPTED and UNDISTURBED, in turn.

    Each is compared with those that come before and after it undisturbed, for a host's speed changes by the second.
    Raises `EdgebedError` where they are too few to say.
    """
    turns = [list(turn) for _, turn in groupby(steps, lambda step: step.cores)]
    interrupted, factors = list[Step](), list[float]()
    for before, own, after in zip(turns, turns[1:], turns[2:], strict=False):
        if own[0].under(INTERRUPTED) and before[0].under(UNDISTURBED) and after[0].under(UNDISTURBED):
            undisturbed = statistics.median(step.cpu for step in before + after)
            interrupted += own
            factors += [step.cpu / undisturbed for step in own]
    if len(interrupted) < LEAST_STEPS:
        raise EdgebedError(
            f"what a CPU quota's interruptions cost could not be measured: of computations under a quota of "
            f"{INTERRUPTED} between others under one of {UNDISTURBED} there were {len(interrupted)}, {LEAST_STEPS} are "
            f"needed"
        )
    usual = statistics.median(factors)
    allowed = INTERRUPTED.quota
    length = max(allowed, statistics.median(step.cpu / max(1, step.interruptions) for step in interrupted))
    quantiles = statistics.quantiles(factors, n=2 * FACTORS, method="inclusive")[::2]
    return Interruption(
        seconds=max(0.0, length * (1 - 1 / usual)),
        tick=2 * length - allowed,
        spread=tuple(quantile / usual for quantile in quantiles),
    )
