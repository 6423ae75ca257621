"""How near the hub is to the end of its strength: what it takes of a core, and how late it comes to what is due."""

import time
from collections import deque
from collections.abc import Callable

import numpy as np

LEAST_SECONDS = 0.2
"""What is shorter says nothing about how busy a thread is."""
KEPT = 2**14
"""So many of the latest timers count."""


def _threads() -> tuple[float, float]:
    """CPU seconds of this thread, and of all others of its process: of ZeroMQ's, which does the input and output."""
    own = time.thread_time()
    return own, time.process_time() - own


class Load:
    """Of one run; `sample` it about every second, from the thread of the event loop."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        threads: Callable[[], tuple[float, ...]] = _threads,
    ) -> None:
        self._now = now
        self._threads = threads
        self._since, self._spent = now(), threads()
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._busiest = 0.0

    def sample(self) -> None:
        """Look how busy it was since the last look."""
        now, spent = self._now(), self._threads()
        if now - self._since < LEAST_SECONDS:
            return
        most = max(after - before for before, after in zip(self._spent, spent, strict=True))
        self._busiest = max(self._busiest, most / (now - self._since))
        self._since, self._spent = now, spent

    def late(self, seconds: float) -> None:
        """A timer came so much later than it should."""
        self._lags.append(max(0.0, seconds))

    def fields(self) -> dict[str, float]:
        """`busy`: the share of a core that the busier of its threads took in its busiest second. `lag`: the seconds by
        which at most one timer in twenty was later, 0 without any."""
        self.sample()
        return {"busy": self._busiest, "lag": float(np.percentile(self._lags, 95)) if self._lags else 0.0}
