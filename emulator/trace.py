"""A rate that changes over time: pieces of constant rate, repeated for ever.

Pure: no files (see `tracefile`), no clock. Times in seconds, rates in bit/s, sizes in bytes.
"""

import copy
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

BITS = 8
GOLDEN = (math.sqrt(5) - 1) / 2
MILLISECOND = 1000
"""To the second: starts are told in whole ones."""


class Trace:
    """`rates[i]` holds from `times[i]` to `times[i + 1]`, the last one until `period`; then it begins anew.

    `times` begin with 0 and rise, `period` is above the last; rates are finite, and at least one is above 0. Raises
    ValueError otherwise.
    """

    def __init__(self, times: Sequence[float], rates: Sequence[float], period: float) -> None:
        if not times or len(times) != len(rates):
            raise ValueError("a trace needs as many times as rates, and at least one")
        if times[0] != 0:
            raise ValueError(f"a trace begins at 0 s, not at {times[0]:g} s")
        if not all(begin < end for begin, end in zip(times, [*times[1:], period], strict=True)) or period == math.inf:
            raise ValueError("the times of a trace rise, and end before its period")
        self._times = tuple(times)
        self._phase = 0.0  # where in its pieces it begins
        self.period = period
        self._carry(rates)

    def _carry(self, rates: Sequence[float]) -> None:
        if not all(0 <= rate < math.inf for rate in rates) or not any(rates):
            raise ValueError("the rates of a trace are finite and at least 0, and one is above 0")
        ends = (*self._times[1:], self.period)
        pieces = (rate * (end - begin) / BITS for rate, begin, end in zip(rates, self._times, ends, strict=True))
        self._rates = tuple(rates)
        self._carried = (0.0, *accumulate(pieces))  # bytes by the begin of each piece, and by the end of the last

    @property
    def times(self) -> tuple[float, ...]:
        """When each piece begins, in seconds; the first at 0."""
        if self._phase == 0:
            return self._times
        cut = bisect_right(self._times, self._phase)
        later = (time - self._phase for time in self._times[cut:])
        earlier = (time + self.period - self._phase for time in self._times[:cut])
        return (0.0, *later, *(time for time in earlier if time < self.period))

    @property
    def rates(self) -> tuple[float, ...]:
        """What each piece carries, in bit/s."""
        cut = bisect_right(self._times, self._phase)
        return (self._rates[cut - 1 :] + self._rates[:cut])[: len(self.times)]

    @property
    def mean(self) -> float:
        """Bit/s over a whole period."""
        return self._carried[-1] * BITS / self.period

    def rate(self, at: float) -> float:
        """Bit/s at the time `at`."""
        return self._rates[bisect_right(self._times, (at + self._phase) % self.period) - 1]

    def carried(self, since: float, until: float) -> float:
        """Bytes that go through from `since` to `until`."""
        return self._by(until) - self._by(since)

    def finish(self, start: float, nbytes: float) -> float:
        """When the last of `nbytes` begun at `start` is through; `start` for none."""
        if nbytes <= 0:
            return start
        laps, left = divmod(self._by(start) + nbytes, self._carried[-1])
        if left == 0:  # through with the last byte of a period, not when the next one carries something
            laps, left = laps - 1, self._carried[-1]
        piece = bisect_left(self._carried, left) - 1
        within = self._times[piece] + (left - self._carried[piece]) * BITS / self._rates[piece]
        return max(start, laps * self.period + within - self._phase)

    def shifted(self, offset: float) -> "Trace":
        """The same, begun `offset` seconds into it: at time 0 it is where this one is at `offset`.

        Shares its pieces with this one, so that many nodes may follow one long trace.
        """
        return self._with_phase((self._phase + offset) % self.period)

    def capped(self, rate: float) -> "Trace":
        """The same, never above `rate` (bit/s, above 0)."""
        return self if rate >= max(self._rates) else self.mapped(lambda own: min(own, rate))

    def scaled(self, factor: float) -> "Trace":
        """The same at `factor` (above 0) times its rates."""
        return self if factor == 1 else self.mapped(lambda own: own * factor)

    def mapped(self, change: Callable[[float], float]) -> "Trace":
        """The same with `change` applied to each rate (bit/s); raises ValueError as a new one would."""
        other = copy.copy(self)
        known = {rate: change(rate) for rate in set(self._rates)}
        other._carry([known[rate] for rate in self._rates])
        return other

    def _with_phase(self, phase: float) -> "Trace":
        other = copy.copy(self)
        other._phase = phase if phase < self.period else 0.0
        return other

    def _by(self, time: float) -> float:
        """Bytes by `time`, since the pieces' own time 0."""
        laps, within = divmod(time + self._phase, self.period)
        piece = bisect_right(self._times, within) - 1
        carried = self._carried[piece] + self._rates[piece] * (within - self._times[piece]) / BITS
        return laps * self._carried[-1] + carried


def spread(place: int, period: float) -> float:
    """Where in a trace of `period` seconds the node at `place` (from 0) of its testbed begins, to the millisecond.

    Steps of the golden ratio's share of the period: whatever the number of nodes, no two of them are closer than about
    0.38 of an even share (Knuth, TAOCP 3, section 6.4, theorem S), and a node's place is the same however many follow.
    """
    return math.floor(place * GOLDEN % 1.0 * period * MILLISECOND) / MILLISECOND
