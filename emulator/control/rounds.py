"""How long the rounds of the current run took, from the spans as they come."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from emulator.timeline import LEFT_OUT, WAIT, Span

SETTLE_SECONDS = 1.0
"""How long after a round has been followed by another all its spans are here: nodes hand them in every 0.25 s."""


@dataclass
class _Round:
    spans: list[Span] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    """When nodes were left out of it: what they ended later is no part of it."""
    followed: float = math.inf
    """When a later round was first heard of, by this host's clock."""

    def counted(self) -> Iterator[Span]:
        """Its spans; nodes hand them in when they like, so who was left out may be known last."""
        for span in self.spans:
            if not any(span.end > self.left.get(node, math.inf) for node in (span.node, span.peer or "")):
                yield span

    @property
    def latency(self) -> float:
        times = [(span.start, span.end) for span in self.counted()]
        return max(end for _, end in times) - min(start for start, _ in times) if times else 0.0


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
        left_out = span.stage == LEFT_OUT
        if (span.off_clock and not left_out) or number < 1:
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
        if left_out:
            seen.left[span.node] = min(span.start, seen.left.get(span.node, math.inf))
        else:
            seen.spans.append(span)

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
        return None if last is None else self._rounds[last].latency

    def busy(self) -> dict[str, float]:
        """Seconds of the last round in which each node computed, or a message of it or to it was on its way."""
        last = self.last
        of_node: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for span in self._rounds[last].counted() if last is not None else ():
            if span.stage != WAIT:
                for node in filter(None, (span.node, span.peer)):
                    of_node[node].append((span.start, span.end))
        return {node: _covered(spans) for node, spans in of_node.items()}

    def _tell(self) -> list[int]:
        """Tell of the rounds of which all is known, and was not before; gives all such rounds in their order."""
        settled = sorted(self._settled())
        for number in settled:
            if number > self._told:
                self._told = number
                self._whole(number, self._rounds[number].latency)
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
