"""How what a computation takes follows the speed of its core at the moment, of which probes tell.

The speed of a shared host's cores changes from one second to the next (see `probe`), and computations follow it, but
not in proportion: what waits for memory follows less. As measured, where the probe took up to 1.6 times its usual time,

    c(p) = c (p / p0)^b

CPU seconds where the probe takes `p`, `c` of them where it takes its usual `p0`. `b` is the same for all computations
of a workload. The probe right after a call is a noisy witness of how fast its core was: the line through the logarithms
of both comes out too flat, by a half where computations take a second. What other probes tell of the same moment is an
instrument for that (Durbin, Rev. Int. Stat. Inst. 22, 1954): with the logarithms of CPU time, own probe and others'
probes, each less what is usual beside computations of its kind, `c`, `p` and `z`,

    b = sum(c z) / sum(p z)
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

STRONG = 10.0
"""The least F statistic of an instrument that tells something (Staiger and Stock, Econometrica 65, 1997). With less, a
host was steady, and nothing is known of what computations make of its speed."""
FURTHEST = math.log(1.6)
"""From the middle: calls that are further off count as if they were no further, for they have another reason."""


class Call(NamedTuple):
    """A computation. All are CPU seconds; None: there was no such probe."""

    cpu: float
    probe: float | None
    """What the probe took the host meanwhile (see `speeds`)."""
    own: float | None = None
    """What it took right after this computation, on its core."""
    others: float | None = None
    """What it took next to others at about that time."""


class Response(BaseModel):
    """What a workload's computations make of the speed of their core."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usual: float = Field(gt=0)
    """CPU seconds of the probe where a computation takes what it is said to."""
    slope: float = Field(ge=0, le=1)
    """0: it takes the same at any speed; 1: as much longer as the probe does."""

    @classmethod
    def of(cls, kinds: Iterable[Sequence[Call]]) -> Self | None:
        """Of calls of several kinds, each compared with its own; None where none has a probe."""
        known = list(kinds)
        probes = [call.probe for calls in known for call in calls if call.probe is not None]
        return cls(usual=statistics.median(probes), slope=_slope(known)) if probes else None

    def factor(self, probe: float) -> float:
        """How many times as long a computation takes where the probe takes `probe` CPU seconds."""
        return math.pow(probe / self.usual, self.slope)

    def at_usual(self, call: Call) -> float:
        """CPU seconds that it would have taken at the usual speed."""
        return call.cpu if call.probe is None else call.cpu / self.factor(call.probe)

    def over(self, calls: Iterable[Call]) -> float | None:
        """How many times as long `calls` took, all together, as they would have at the usual speed; None where none has
        a probe."""
        known = [call for call in calls if call.probe is not None]
        usual = math.fsum(self.at_usual(call) for call in known)
        return math.fsum(call.cpu for call in known) / usual if usual > 0 else None


def _slope(kinds: Iterable[Sequence[Call]]) -> float:
    told: list[tuple[float, float, float]] = []
    for calls in kinds:
        known = [(c.cpu, c.own, c.others) for c in calls if c.cpu > 0 and c.own is not None and c.others is not None]
        if known:
            cpu, own, others = ([math.log(value) for value in column] for column in zip(*known, strict=True))
            middle, usual, around = statistics.median(cpu), statistics.fmean(own), statistics.fmean(others)
            told += [
                (min(max(c - middle, -FURTHEST), FURTHEST), p - usual, z - around)
                for c, p, z in zip(cpu, own, others, strict=True)
            ]
    both = math.fsum(p * z for _, p, z in told)
    alone = math.sqrt(math.fsum(p**2 for _, p, _ in told) * math.fsum(z**2 for *_, z in told))
    if both <= 0 or _f_statistic(both / alone, len(told)) < STRONG:
        return 0.0
    return min(max(math.fsum(c * z for c, _, z in told) / both, 0.0), 1.0)


def _f_statistic(correlation: float, count: int) -> float:
    """Of a regression of `count` points on one instrument."""
    free, unexplained = count - 2, 1 - correlation**2
    if free <= 0:
        return 0.0
    return math.inf if unexplained <= 0 else correlation**2 / unexplained * free
