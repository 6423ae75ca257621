"""How far another host's clock is ahead, from the times of a few questions and answers.

Asked at `asked` and answered at `answered` by this clock, the other host read `there` in between: its clock is ahead by
`there - (asked + answered) / 2`, give or take half the time between (RFC 5905, section 8). The question that was
answered soonest says most, until the clocks may have drifted further than a later one is uncertain.
"""

import math
from dataclasses import dataclass

DRIFT = 50e-6
"""Seconds per second by which two quartz clocks may run apart: twice the 25 ppm of a common oscillator."""


@dataclass(frozen=True)
class Estimate:
    """The other clock is ahead by `offset` seconds, give or take `error`."""

    offset: float
    error: float
    at: float
    """When that was measured, by this clock."""
    drift: float = DRIFT

    def proven(self, now: float) -> float:
        """Seconds by which the clocks are off each other at least, whatever the estimate may be off by."""
        return max(0.0, abs(self.offset) - self.error_at(now))

    def error_at(self, now: float) -> float:
        """Seconds that the estimate may be off by at `now`."""
        return self.error + self.drift * abs(now - self.at)


@dataclass(frozen=True)
class Standing:
    """How a node's clock stood to the hub's. Seconds of the host."""

    error: float
    """By which the node's times may have been off."""
    offset: float | None = None
    """By which the hub's was found to be ahead; None: never measured."""
    within: float | None = None
    """Give or take so much."""


NOTHING_KNOWN = Estimate(0.0, math.inf, 0.0)
ONE_CLOCK = Estimate(0.0, 0.0, 0.0, drift=0.0)


def measured(asked: float, there: float, answered: float) -> Estimate:
    """What one question tells. `ValueError` if the answer came before the question."""
    if answered < asked:
        raise ValueError(f"answered at {answered:g} s, before it was asked at {asked:g} s")
    return Estimate(there - (asked + answered) / 2, (answered - asked) / 2, answered)


def better(known: Estimate, new: Estimate) -> Estimate:
    """The one that says more at the time of `new`, the later of the two."""
    return new if new.error <= known.error_at(new.at) else known
