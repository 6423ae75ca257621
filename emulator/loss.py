"""Which packets are lost: independently, or in bursts (Gilbert, 1960; Elliott, 1963).

A chain of two states, good and bad, that makes a step with each packet; each state loses its share of them. Shares are
fractions of 1; a pair of numbers or of weights is of the good state and the bad one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.profiles import Burst

Pair = NDArray[np.float64]
DOUBLINGS = 6
"""Of a retransmission timeout, until it stays at 64 times its first (RFC 6298 leaves the bound open; Padhye et al.,
SIGCOMM 1998, have the same)."""


@dataclass(frozen=True)
class Losses:
    """A share of `good` is lost of the packets in the good state, of `bad` in the bad one."""

    enter: float
    leave: float
    good: float
    bad: float

    @classmethod
    def of(cls, loss: float, burst: Burst | None) -> "Losses":
        """Of a channel with a share `loss` outside its bursts; without any, each packet's loss is its own."""
        if burst is None:
            return cls(0.5, 0.5, loss, loss)
        return cls(burst.enter, burst.leave, loss, burst.loss)

    @property
    def mean(self) -> float:
        """Share of all packets lost."""
        return (self.leave * self.good + self.enter * self.bad) / (self.leave + self.enter)

    def event(self, window: float) -> tuple[float, Pair]:
        """The loss event rate: events a packet, where all losses within `window` packets of the first are one event
        (RFC 5348, section 5.2, with `window` the packets of a round trip); and in which state events begin.

        Between the first packet of an event and that of the next one lie `window` packets, then those up to the next
        loss. How many these are depends on the state by then, the state of the next event's first packet on the same:
        its distribution is the fixed point.
        """
        memory = max(0.0, 1 - self.enter - self.leave) ** window
        usual_bad = self.enter / (self.enter + self.leave)
        # From each state: packets before the next one lost, and how likely that one is lost in the bad state. Two
        # linear equations each, solved by hand: where losses are rare nothing may cancel out.
        kept, kept_bad = 1 - self.good, 1 - self.bad
        soon, soon_bad = self.good + self.enter * kept, self.bad + self.leave * kept_bad
        determinant = self.good * soon_bad + self.enter * kept * self.bad
        waits = kept * (soon_bad + self.enter * kept_bad) / determinant
        waits_bad = kept_bad * (soon + self.leave * kept) / determinant
        ends_bad = self.enter * kept * self.bad / determinant
        change = self.bad * soon / determinant - ends_bad
        bad = (ends_bad + change * usual_bad * (1 - memory)) / (1 - change * memory)
        later = usual_bad + (bad - usual_bad) * memory
        return 1 / (window + (1 - later) * waits + later * waits_bad), np.array([1 - bad, bad])

    def timeouts(self, begun: Pair, window: float) -> float:
        """Mean time spent in timeouts after a loss in the states `begun`, in first timeouts.

        There is one when all but the last three of the `window` packets that follow are lost too, fewer than a fast
        retransmission takes; each further packet lost then costs the double, up to DOUBLINGS times.
        """
        after = begun @ np.linalg.matrix_power(self._all_lost, max(0, round(window) - 3))
        return self._doubled(after)

    def repairs(self) -> tuple[float, float]:
        """How likely a packet is lost, and the mean of the timeouts, in first ones, until a repair of it comes through
        when the first one is lost, too."""
        first = self._usual * self._lost
        return float(first.sum()), self._doubled(first @ self._all_lost)

    def _doubled(self, waiting: Pair) -> float:
        """The sum over k of 2^k, at most 2^DOUBLINGS, times how likely k packets are lost from `waiting` on."""
        total = 0.0
        for times in range(DOUBLINGS):
            total += 2**times * float(waiting.sum())
            waiting = waiting @ self._all_lost
        # However long it lasts: the sum of all powers of `_all_lost`, as above.
        kept, kept_bad = 1 - self.good, 1 - self.bad
        found, found_bad = kept + self.enter * self.good, kept_bad + self.leave * self.bad
        determinant = kept * found_bad + self.enter * self.good * kept_bad
        ever = np.array([found_bad + self.enter * self.bad, found + self.leave * self.good]) / determinant
        return total + float(2**DOUBLINGS * (waiting @ ever))

    @property
    def _lost(self) -> Pair:
        return np.array([self.good, self.bad])

    @property
    def _step(self) -> Pair:
        return np.array([[1 - self.enter, self.enter], [self.leave, 1 - self.leave]])

    @property
    def _usual(self) -> Pair:
        """How often each state is met."""
        return np.array([self.leave, self.enter]) / (self.enter + self.leave)

    @property
    def _all_lost(self) -> Pair:
        """A step to a packet that is lost."""
        return self._step * self._lost
