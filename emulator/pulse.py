"""How punctually a process comes to its timers, and how busy it is: late, it is saturated or else starved of CPU.

Sans-IO: times come in as parameters (seconds of any clock). The hub takes its own pulse while a run lasts, so that a
verdict can tell the one from the other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PERIOD = 0.020
"""Seconds between two moments at which a timer is due; few enough to cost nothing."""
BIN = 1e-4
"""Seconds: lateness is counted in steps of a timer's own precision."""
SAMPLE = 1.0
"""Seconds over which it is looked how busy a thread is."""
LEAST_SAMPLE = 0.2
"""What is shorter says nothing about that."""
MOST_MISSED = 100_000
"""Moments that a process which slept through them accounts for at once: a host may have been suspended for hours."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What became of a process's timers over some time. Seconds are the host's."""

    late_p95: float
    """How late a timer due at any moment would have been, 95th percentile of all moments."""
    cpu: float
    """Cores that the process took, all its threads together."""
    busiest: float
    """The share of a core that its event loop's thread, or all others together, took in the busiest second."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Pulse":
        """What `Taken.fields` gave."""
        return cls(float(fields["late_p95"]), float(fields["cpu"]), float(fields["busiest"]))


class Taken:
    """A pulse as it is taken, from `now` on.

    `thread` is always the CPU seconds of the event loop's thread, `process` those of all threads.
    """

    def __init__(self, now: float, thread: float, process: float) -> None:
        self.due = now + PERIOD
        """When the next beat is due."""
        self._began, self._process = now, process
        self._sampled, self._spent = now, (thread, process - thread)
        self._lateness: Counter[int] = Counter()
        self._busiest = 0.0

    def beat(self, now: float, thread: float, process: float) -> None:
        """The timer of `due` has come at `now`; those that would have been due since are as much too late."""
        missed = min(int((now - self.due) / PERIOD), MOST_MISSED)
        for number in range(missed + 1):
            self._lateness[max(0, int((now - self.due - number * PERIOD) / BIN))] += 1
        self.due = max(self.due + (missed + 1) * PERIOD, now)
        if now - self._sampled >= SAMPLE:
            self._sample(now, thread, process)

    def fields(self, now: float, thread: float, process: float) -> dict[str, float]:
        """The pulse until `now`, as plain values for a message."""
        if now - self._sampled >= LEAST_SAMPLE:
            self._sample(now, thread, process)
        left = 0.05 * self._lateness.total()
        late = 0
        for late in sorted(self._lateness, reverse=True):
            left -= self._lateness[late]
            if left < 0:
                break
        cpu = (process - self._process) / max(now - self._began, PERIOD)
        return {"late_p95": late * BIN, "cpu": cpu, "busiest": self._busiest}

    def _sample(self, now: float, thread: float, process: float) -> None:
        spent = thread, process - thread
        most = max(after - before for before, after in zip(self._spent, spent, strict=True))
        self._busiest = max(self._busiest, most / (now - self._sampled))
        self._sampled, self._spent = now, spent
