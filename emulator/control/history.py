"""What a page that follows a running testbed shows beside its status: curves, the latest rounds, what happened."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.change import told
from emulator.critical_path import Step, critical_path
from emulator.event import is_event, placed
from emulator.lanes import view
from emulator.timeline import LEFT_OUT, Span, waited_for

POINTS = 400
"""Of one curve: beyond, every second one goes, for a page shows no more."""
ROUNDS = 3
"""What the timeline shows: the last whole round, and those after it."""
HAPPENED = 100
"""The events that are remembered."""
WARNINGS = {"failed", "silent", "refused", "bad frame", "unreceived", "not changed"}


@dataclass
class Curve:
    """A quantity by round, thinned as it grows."""

    points: list[tuple[int, float]] = field(default_factory=list)
    step: int = 1

    def add(self, number: int, value: float) -> None:
        """The value in round `number`; the last one given counts."""
        if self.points and self.points[-1][0] == number:
            self.points[-1] = (number, value)
        elif not self.points or number >= self.points[-1][0] + self.step:
            self.points.append((number, value))
            if len(self.points) > POINTS:
                self.points, self.step = self.points[::2], self.step * 2


class History:
    """Is told what `State` is told, and keeps a bounded part of it."""

    def __init__(
        self, nodes: Collection[str], servers: Collection[str], host_time: Callable[[], float] = time.time
    ) -> None:
        self._nodes = list(nodes)
        self._servers = servers
        self._host_time = host_time
        self._latency: dict[str, Curve] = {}
        self._accuracy: dict[str, Curve] = {}
        self._spans: dict[int, list[Span]] = {}
        self._last = 1
        self._paths: dict[int, tuple[int, Sequence[Step]]] = {}
        self._events: deque[Span] = deque(maxlen=HAPPENED)
        self._told: deque[tuple[str, str, str, str, float]] = deque(maxlen=HAPPENED)
        self._happened: deque[dict[str, Any]] = deque(maxlen=HAPPENED)
        self._number = 0

    # -- what it is told

    def begin(self, run: str) -> None:
        """A run begins."""
        self._latency[run], self._accuracy[run] = Curve(), Curve()
        self._spans, self._paths, self._last = {}, {}, 1
        self._events.clear()

    def span(self, span: Span) -> None:
        """A span of the current run."""
        if (not span.off_clock or span.stage == LEFT_OUT) and span.round >= self._last:
            self._spans.setdefault(span.round, []).append(span)
        if is_event(span):
            self._events.append(span)
            if span.detail:
                self._tell(span.node, span.stage, span.detail, span.run, span.round, span.start)

    def whole(self, run: str, number: int, seconds: float) -> None:
        """All is known of a round; those before it are not shown any more."""
        self._latency[run].add(number, seconds)
        self._last = number
        for earlier in [one for one in self._spans if one < number]:
            del self._spans[earlier]
            self._paths.pop(earlier, None)

    def accuracy(self, run: str, number: int, value: float) -> None:
        """The mean over those who have evaluated the round so far."""
        self._accuracy[run].add(number, value)

    def event(self, name: str, node: str, fields: dict[str, Any]) -> None:
        """Something happened."""
        if name == "changed":
            for stage, detail in fields["details"].items():
                self._tell(node, stage, detail, fields["run"], fields["round"], fields["at"])
        else:
            self._say(_line(name, node, fields), warning=name in WARNINGS)

    def _tell(self, node: str, stage: str, detail: str, run: str, number: int, at: float) -> None:
        """An event of the testbed: the hub tells of a change, and the timeline shows it as well."""
        key = (run, node, stage, detail, at)
        if key not in self._told:
            self._told.append(key)
            for line in told(node, {"details": {stage: detail}, "run": run, "round": number, "at": at}):
                self._say(line)

    def _say(self, line: str | None, *, warning: bool = False) -> None:
        if line is not None:
            self._number += 1
            self._happened.append({"number": self._number, "at": self._host_time(), "says": line, "warning": warning})

    # -- what it is asked

    def curves(self) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Of each run that has begun, seconds and accuracies by round."""
        return {
            run: {"latency": self._latency[run].points, "accuracy": self._accuracy[run].points} for run in self._latency
        }

    def happened(self) -> list[dict[str, Any]]:
        """The last events, the oldest first, numbered from the first one on; `at` is Unix time."""
        return list(self._happened)

    def timeline(self) -> dict[str, Any] | None:
        """The latest rounds as lanes (see `lanes.view`); None before there is a span.

        The critical path of a round that is not over yet is that to its latest end so far.
        """
        there = ((number, waited_for(self._spans[number])) for number in sorted(self._spans))
        shown = dict([(number, spans) for number, spans in there if spans][:ROUNDS])
        if not shown:
            return None
        starts, at = {}, 0.0
        for number, spans in shown.items():
            starts[number] = at
            at += _latency_of(spans)
        paths = {number: self._path(number, spans) for number, spans in shown.items()}
        made = view(shown, starts, self._nodes, self._servers, paths, placed(self._events, shown, starts))
        ends = [*starts.values(), at]
        return {**made, "rounds": [round(1e6 * seconds) for seconds in ends], "numbers": [*shown]}

    def _path(self, number: int, spans: Sequence[Span]) -> Sequence[Step]:
        """The critical path of a round of these spans, walked again only when there is news of it."""
        if number not in self._paths or self._paths[number][0] != len(spans):
            self._paths[number] = len(spans), critical_path(spans)
        return self._paths[number][1]

    def traffic(self, last: int | None) -> dict[str, dict[str, float]]:
        """Of each node, bit/s that it sent (`up`) and was sent (`down`) in the last whole round, in emulated time."""
        spans = waited_for(self._spans.get(last, [])) if last is not None else []
        seconds = _latency_of(spans)
        if seconds <= 0:
            return {}
        found: dict[str, dict[str, float]] = {name: {"up": 0.0, "down": 0.0} for name in self._nodes}
        for span in spans:
            if span.is_message:
                found[span.node]["up"] += 8 * span.bytes / seconds
                found[span.peer]["down"] += 8 * span.bytes / seconds
        return found


def _latency_of(spans: Iterable[Span]) -> float:
    kept = list(spans)
    return max(span.end for span in kept) - min(span.start for span in kept) if kept else 0.0


def _line(name: str, node: str, fields: dict[str, Any]) -> str | None:
    """An event in words; those of every node of every run in their common course are none."""
    match name:
        case "started":
            return f"run {fields['run']} has started"
        case "finished":
            return f"run {fields['run']} is over"
        case "failed":
            return f"{node} failed: {fields['error']}"
        case "silent":
            return f"{node} has been silent for {fields['seconds']:.0f} s"
        case "registered" | "ready" | "done":
            return None
        case _:
            return f"{node}: {name}{': ' + str(fields['reason']) if fields.get('reason') else ''}"
