"""What a round's latency consists of: the chain of spans from its first start to its last end."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulator.timeline import TOLERANCE, WAIT, Span

OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True)
class Step:
    """A span on a critical path, and the part of the latency it stands for."""

    span: Span
    gap: float  # seconds from when the step before was settled (or the round's start) to this one's start
    seconds: float  # its own part of the latency: until it was settled; of the last step, until its end

    @property
    def lateness(self) -> float | None:
        return self.span.lateness


def critical_path(spans_of_round: Sequence[Span]) -> list[Step]:
    """The chain of spans that the round's latency consists of, first step first.

    It is walked backwards from the span that ends last. What held a span up is whatever ended last, before its
    start, at the node where it starts: a computation ends at its node, a message at its receiver. A message sent
    behind another to the same receiver was held up by that one, and counts from when it was there. A span has ended
    when it was settled. Gaps and steps add up to the round's latency. `ValueError` if there are no spans.
    """
    if not spans_of_round:
        raise ValueError("no timing: the round has no span")
    last = max(spans_of_round, key=lambda span: (span.end, span.stage != WAIT, span.start))
    ended = _Ended(spans_of_round, last)
    steps: list[Step] = []
    span: Span | None = last
    reached = last.end  # everything after this moment is attributed
    while span is not None:
        end = span.end if span is last else min(span.settled, reached)
        before = ended.ahead_of(span)
        if before is not None:
            start, gap = min(before.settled, end), 0.0
        else:
            start = min(span.start, end)
            before = ended.last_at(span.node, start)
            gap = max(0.0, start - before.settled) if before else 0.0
        steps.append(Step(span, gap, seconds=end - start))
        span, reached = before, start
    first = steps[-1]
    steps[-1] = Step(first.span, reached - min(span.start for span in spans_of_round), first.seconds)
    return steps[::-1]


def breakdown(spans_of_round: Sequence[Span]) -> dict[str, float]:
    """Seconds of the round's latency by stage, along its critical path; `overhead` is what no span accounts for."""
    return by_stage(critical_path(spans_of_round))


def by_stage(path: Iterable[Step]) -> dict[str, float]:
    """Seconds of a critical path by stage, and its gaps as `overhead`."""
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for step in path:
        shares[step.span.stage].append(step.seconds)
        shares[OVERHEAD].append(step.gap)
    return {stage: math.fsum(parts) for stage, parts in shares.items()}


class _Ended:
    """What has ended at each node, to be asked for ever earlier moments.

    Because the moments only go back, what is too late once stays too late and is thrown away: a walk takes as long
    as sorting, gives each span at most once, and so ends even where spans have no length.
    """

    def __init__(self, spans: Iterable[Span], last: Span) -> None:
        self._work: defaultdict[str, list[Span]] = defaultdict(list)
        self._waits: defaultdict[str, list[Span]] = defaultdict(list)
        self._given = {id(last)}
        self._ahead: dict[int, Span] = {}
        latest: dict[tuple[str, str], Span] = {}  # of the messages from one node to another
        for span in sorted(spans, key=lambda span: (span.settled, span.start)):
            if span.is_message:
                ahead = latest.get((span.node, span.peer))
                if ahead is not None and ahead.start <= span.start < ahead.settled:
                    self._ahead[id(span)] = ahead
                latest[span.node, span.peer] = span
            if span is not last:
                (self._waits if span.stage == WAIT else self._work)[span.ends_at].append(span)

    def ahead_of(self, message: Span) -> Span | None:
        """The message that was in transit between the same two nodes when this one was sent, if there was one."""
        ahead = self._ahead.get(id(message))
        return None if ahead is None or id(ahead) in self._given else self._give(ahead)

    def last_at(self, node: str, moment: float) -> Span | None:
        """What ended last at the node, up to the moment."""
        work = self._top(self._work[node], moment)
        wait = self._top(self._waits[node], moment)
        # A wait that ended with something (a message that was waited for) is no cause: what came is. One that ended
        # with nothing is (for a full link to take a message), whatever else came while it lasted.
        if wait is not None and (work is None or wait.end > work.settled + TOLERANCE):
            return self._give(wait)
        return None if work is None else self._give(work)

    def _give(self, span: Span) -> Span:
        self._given.add(id(span))
        return span

    def _top(self, ended: list[Span], moment: float) -> Span | None:
        while ended and (ended[-1].settled > moment + TOLERANCE or id(ended[-1]) in self._given):
            ended.pop()
        return ended[-1] if ended else None
