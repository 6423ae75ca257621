"""A rate that changes over time: pieces of constant rate, repeated for ever.

Pure: no files (see `tracefile`), no clock. Times in seconds, rates in bit/s, sizes in bytes.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from emulator.profiles import Channel

BITS = 8


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
        ends = [*times[1:], period]
        if not all(begin < end for begin, end in zip(times, ends, strict=True)) or not math.isfinite(period):
            raise ValueError("the times of a trace rise, and end before its period")
        if not all(0 <= rate < math.inf for rate in rates) or not any(rates):
            raise ValueError("the rates of a trace are finite and at least 0, and one is above 0")
        self.times = tuple(times)
        self.rates = tuple(rates)
        self.period = period
        pieces = (rate * (end - begin) / BITS for rate, begin, end in zip(rates, times, ends, strict=True))
        self._carried = (0.0, *accumulate(pieces))  # bytes by the begin of each piece, and by the end of the last

    @property
    def mean(self) -> float:
        """Bit/s over a whole period."""
        return self._carried[-1] * BITS / self.period

    def rate(self, at: float) -> float:
        """Bit/s at the time `at`."""
        return self.rates[bisect_right(self.times, at % self.period) - 1]

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
        within = self.times[piece] + (left - self._carried[piece]) * BITS / self.rates[piece]
        return max(start, laps * self.period + within)

    def _by(self, time: float) -> float:
        """Bytes by `time`, since time 0."""
        laps, within = divmod(time, self.period)
        piece = bisect_right(self.times, within) - 1
        return laps * self._carried[-1] + self._carried[piece] + self.rates[piece] * (within - self.times[piece]) / BITS


def of_channel(channel: Channel) -> Trace | None:
    """The trace that the rate of `channel` follows, in the run's emulated time. None: its rate is constant."""
    return None
