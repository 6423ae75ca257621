"""How long the rounds of the current run took, from the spans as they come."""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.timeline import WAIT, Span

SETTLE_SECONDS = 1.0
"""How long after a round has been followed by another all its spans are here: nodes hand them in every 0.25 s."""


@dataclass
class _Round:
    start: float = math.inf
    end: float = -math.inf
    of_node: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    followed: float = math.inf
    """When a later round was first heard of, by this host's clock."""


class Rounds:
    """The rounds of one run; it remembers only the last ones."""

    def __init__(
        self,
        host_time: Callable[[], float] = time.monotonic,
        whole: Callable[[int, float], None] = lambda number, seconds: None,
    ) -> None:
        """`whole` is told of each round, in their order, and its latency, as soon as all of it is known."""
        self._host_time = host_time
        self._whole = whole
        self._told = 0
        self._rounds: dict[int, _Round] = {}
        self.current = 0
        """The latest round that was heard of."""

    def note(self, span: Span) -> None:
        """A span of the run."""
        number = span.round
        if span.off_clock or number < 1:
            return
        if number > self.current:
            if self.current in self._rounds:
                self._rounds[self.current].followed = self._host_time()
            self.current = number
            for one in self._tell()[:-1]:
                del self._rounds[one]
        elif number < min(self._rounds):
            return  # late news of a round that is forgotten
        if number not in self._rounds:
            self._rounds[number] = _Round(followed=math.inf if number == self.current else self._host_time())
        seen = self._rounds[number]
        seen.start, seen.end = min(seen.start, span.start), max(seen.end, span.end)
        if span.stage != WAIT:
            for node in filter(None, (span.node, span.peer)):
                seen.of_node[node].append((span.start, span.end))

    def finish(self) -> None:
        """The run is over: every span of it has been noted."""
        for seen in self._rounds.values():
            seen.followed = -math.inf
        self._tell()

    @property
    def last(self) -> int | None:
        """The last round of which all is known; None before there is one."""
        return max(self._settled(), default=None)

    def latency(self) -> float | None:
        """Seconds of the last round, from its first start to its last end."""
        last = self.last
        return None if last is None else self._rounds[last].end - self._rounds[last].start

    def busy(self) -> dict[str, float]:
        """Seconds of the last round in which each node computed, or a message of it or to it was on its way."""
        last = self.last
        return {} if last is None else {node: _covered(spans) for node, spans in self._rounds[last].of_node.items()}

    def _tell(self) -> list[int]:
        """Tell of the rounds of which all is known, and was not before; gives all such rounds in their order."""
        settled = sorted(self._settled())
        for number in settled:
            if number > self._told:
                self._told = number
                self._whole(number, self._rounds[number].end - self._rounds[number].start)
        return settled

    def _settled(self) -> list[int]:
        """The rounds of which all is known."""
        now = self._host_time()
        return [number for number, seen in self._rounds.items() if now - seen.followed >= SETTLE_SECONDS]


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of `spans`."""
    covered, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered
