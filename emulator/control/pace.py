"""How fast a run's rounds follow each other on this host, and so how long the run will take still."""

import time
from collections.abc import Callable


class Pace:
    """Is told of each round of one run when it is first heard of."""

    def __init__(self, host_time: Callable[[], float] = time.monotonic) -> None:
        self._host_time = host_time
        self._first: tuple[int, float] | None = None
        self._latest = (0, 0.0)

    def heard_of(self, number: int) -> None:
        """Round `number` goes on; it may have been heard of before."""
        if number > self._latest[0]:
            self._latest = number, self._host_time()
            self._first = self._first or self._latest

    def left(self, rounds: int) -> float | None:
        """Seconds of this host until round `rounds` has ended, about; None before a round has shown how long one takes,
        and where there are more than were planned."""
        if self._first is None:
            return None
        (first, began), (latest, since) = self._first, self._latest
        if latest == first or latest > rounds:
            return None
        each = (since - began) / (latest - first)
        return max(0.0, each * (rounds - latest + 1) - (self._host_time() - since))
