"""How punctually a process comes to its timers, and whether it is late for being busy itself or for want of a core.

Sans-IO: times come in as parameters (seconds of any clock). The hub takes its own pulse while a run lasts, so that a
verdict can tell a hub that is starved of CPU from one that has more to do than it can.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PERIOD = 0.020
"""Seconds between two moments at which a timer is due; few enough to cost nothing."""
BIN = 1e-4
"""Seconds: lateness is counted in steps of a timer's own precision."""
LATE = 1e-3
"""Seconds from which on a timer is late, and the reason is of interest."""
MOST_MISSED = 100_000
"""Moments that a process which slept through them accounts for at once: a host may have been suspended for hours."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What became of a process's timers over some time. Seconds are the host's."""

    late_p95: float
    """How late a timer due at any moment would have been, 95th percentile of all moments."""
    cpu: float
    """Cores that the process took, all its threads together."""
    busy: float
    """Of the time before late timers, the share in which the thread was computing itself; 0 where none was late."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Pulse":
        """What `Taken.fields` gave."""
        return cls(float(fields["late_p95"]), float(fields["cpu"]), float(fields["busy"]))


class Taken:
    """A pulse as it is taken, from `now` on; `thread` and `process` are CPU seconds."""

    def __init__(self, now: float, thread: float, process: float) -> None:
        self.due = now + PERIOD
        """When the next beat is due."""
        self._began, self._process = now, process
        self._last, self._thread = now, thread
        self._lateness: Counter[int] = Counter()
        self._late_seconds = 0.0
        self._late_cpu = 0.0

    def beat(self, now: float, thread: float) -> None:
        """The timer of `due` has come at `now`; those that would have been due since are as much too late."""
        if now - self.due > LATE:
            self._late_seconds += now - self._last
            self._late_cpu += thread - self._thread
        missed = min(int((now - self.due) / PERIOD), MOST_MISSED)
        for number in range(missed + 1):
            self._lateness[max(0, int((now - self.due - number * PERIOD) / BIN))] += 1
        self.due = max(self.due + (missed + 1) * PERIOD, now)
        self._last, self._thread = now, thread

    def fields(self, now: float, process: float) -> dict[str, float]:
        """The pulse until `now`, as plain values for a message."""
        left = 0.05 * self._lateness.total()
        late = 0
        for late in sorted(self._lateness, reverse=True):
            left -= self._lateness[late]
            if left < 0:
                break
        return {
            "late_p95": late * BIN,
            "cpu": (process - self._process) / max(now - self._began, PERIOD),
            "busy": self._late_cpu / self._late_seconds if self._late_seconds else 0.0,
        }
