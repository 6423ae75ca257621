"""What happened in a run, and what its latencies are made of.

A timeline is a list of spans. Times are emulated seconds since the run began, whatever its time scale. A round's
latency runs from its first start to its last end; rounds are separated by an ideal barrier, so the emulated time of a
run is the sum of its rounds, and whatever happens between them (evaluation, instrumentation) costs nothing. Missing
timing is an error, never 0: it raises `ValueError`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from emulator.fields import Form, a_count, a_flag, a_number, a_text, one_of, optional

Source = Literal["measured", "modelled"]

WAIT = "wait"
FOR_OTHERS = "for others"
"""The detail of a wait that was for other nodes, and not for room in a link."""
LEFT_OUT = "left_out"
"""Marks the moment at which the others went on without a node in a round; off the clock, and without length."""

CARRY_SECONDS = 0.010
"""How much lateness of this host, in its seconds, a node carries over to its next deadline. More than a timer and a
busy scheduler explain is the program's own doing, or a host that cannot keep up, and shows as a gap in the timeline."""

# Two clocks are read on the two sides of a socket, and the times are divided by the time scale: an effect may seem
# to begin this much before its cause has ended (seconds).
TOLERANCE = 1e-4


@dataclass(slots=True, unsafe_hash=True)
class Span:
    """A stretch of time in which one node computed, sent or waited. Not to be changed: it is not frozen because there
    are millions of them, and a frozen one takes three times as long to make.

    `ValueError` if a time is not finite, the end lies before the start, or a count is negative.
    """

    run: str  # the algorithm, or the experiment's name for a workload without algorithms
    round: int  # 0: before the first round
    node: str  # who computed, or who sent
    stage: str
    start: float
    end: float
    source: Source = "measured"
    bytes: int = 0  # on the wire, headers included (messages only)
    peer: str = ""  # the receiver (messages only)
    due: float | None = None  # when the emulated device or link should have ended it; None: nothing is promised
    cpu: float | None = None  # CPU seconds of the host (compute only)
    probe: float | None = None  # CPU seconds of the probe next to it (measured compute only; see `probe`)
    mode: str = ""  # stretched, quota or modelled (compute only)
    throttled: int | None = None  # periods in which its node's CPU quota was used up (compute under a quota only)
    flops: float | None = None
    off_clock: bool = False  # instrumentation: no part of any latency
    detail: str = ""  # for the reader (changes and waits only)

    def __post_init__(self) -> None:
        # All at once: there are millions of spans, and next to none is refused.
        if not (
            -math.inf < self.start <= self.end < math.inf
            and self.round >= 0
            and self.bytes >= 0
            and (self.due is None or -math.inf < self.due < math.inf)
            and (self.cpu is None or 0 <= self.cpu < math.inf)
            and (self.probe is None or 0 < self.probe < math.inf)
            and (self.throttled is None or self.throttled >= 0)
            and (self.flops is None or 0 <= self.flops < math.inf)
        ):
            raise ValueError(f"{self.stage} of {self.node} in round {self.round}: {self._fault()}")

    def _fault(self) -> str:
        for name in ("start", "end", "due", "cpu", "probe", "flops"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                return f"{name} is {value}"
        if self.end < self.start:
            return f"it ends at {self.end:g} s, before its start at {self.start:g} s"
        if self.probe == 0:
            return "probe is 0"
        names = ("round", "bytes", "cpu", "probe", "throttled", "flops")
        values = {name: getattr(self, name) for name in names}
        return next(
            f"{name} is negative ({value})" for name, value in values.items() if value is not None and value < 0
        )

    @property
    def duration(self) -> float:
        return self.end - self.start

    @property
    def is_message(self) -> bool:
        return bool(self.peer)

    @property
    def ends_at(self) -> str:
        """The node where its end is felt: the receiver of a message, else the node itself."""
        return self.peer or self.node

    @property
    def lateness(self) -> float | None:
        """Seconds past its due time, negative if early; None where nothing is promised."""
        return None if self.due is None else self.end - self.due

    @property
    def settled(self) -> float:
        """When it was over for what follows: its due time where it has one, for a node carries the host's lateness
        over to the next deadline instead of adding it up; else its end."""
        return self.end if self.due is None else max(self.start, min(self.end, self.due))

    def took(self, scale: float) -> float:
        """Emulated seconds, of which `scale` of the host's are one, after which what follows could begin: lateness that
        was carried over is none of its."""
        late = (self.end - self.settled) * scale
        return (self.settled if late <= CARRY_SECONDS else self.end) - self.start

    def to_fields(self) -> dict[str, Any]:
        """Plain values for msgpack or JSON, those at their default left out."""
        return _SPAN.write(self)

    @classmethod
    def from_fields(cls, values: object) -> "Span":
        """The span that `to_fields` gave. `ValueError` names the field that is unknown, missing or impossible."""
        return _SPAN.read(values)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that a program recorded, such as the accuracy after a round. `ValueError` if it is not finite."""

    run: str
    round: int  # 0: before the first round
    node: str
    name: str
    value: float

    def __post_init__(self) -> None:
        if self.round < 0:
            raise ValueError(f"metric {self.name} of {self.node}: round is negative ({self.round})")
        if not math.isfinite(self.value):
            raise ValueError(f"metric {self.name} of {self.node} in round {self.round} is {self.value}")

    def to_fields(self) -> dict[str, Any]:
        """Plain values for msgpack or JSON."""
        return _METRIC.write(self)

    @classmethod
    def from_fields(cls, values: object) -> "Metric":
        """The metric that `to_fields` gave. `ValueError` names the field that is unknown, missing or impossible."""
        return _METRIC.read(values)


Entry: TypeAlias = Span | Metric
"""What a node notes."""

_SPAN = Form(
    "span",
    Span,
    {
        "run": a_text, "round": a_count, "node": a_text, "stage": a_text, "start": a_number, "end": a_number,
        "source": one_of(Source), "bytes": a_count, "peer": a_text, "due": optional(a_number),
        "cpu": optional(a_number), "probe": optional(a_number), "mode": a_text, "throttled": optional(a_count),
        "flops": optional(a_number), "off_clock": a_flag, "detail": a_text,
    },
)  # fmt: skip
_METRIC = Form("metric", Metric, {"run": a_text, "round": a_count, "node": a_text, "name": a_text, "value": a_number})


def entry(values: Mapping[str, Any]) -> Entry:
    """The span or metric that `to_fields` gave. Raises as `from_fields` does."""
    return Span.from_fields(values) if "stage" in values else Metric.from_fields(values)


class Traffic(NamedTuple):
    """Bytes over the clients' links: `up` away from the clients, `down` towards them."""

    up: int
    down: int


def runs(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """The spans of each run, in order of appearance."""
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.run].append(span)
    return dict(found)


def rounds(spans: Iterable[Span]) -> dict[int, list[Span]]:
    """The spans on the clock of rounds 1 to N of one run, without those of a node that was left out of a round.

    `ValueError` if there are none, if a round between the first and the last has none, or if runs are mixed.
    """
    found: defaultdict[int, list[Span]] = defaultdict(list)
    names: set[str] = set()
    noted = list(spans)
    for span in noted:
        names.add(span.run)
    for span in waited_for(noted):
        if span.round >= 1:
            found[span.round].append(span)
    if len(names) > 1:
        raise ValueError(f"spans of several runs are mixed: {', '.join(sorted(names))}")
    if not found:
        raise ValueError(f"no timing: {_of(names)}has no span in any round")
    missing = [number for number in range(1, max(found)) if number not in found]
    if missing:
        raise ValueError(f"no timing: {_of(names)}has no span in round {missing[0]} of {max(found)}")
    return {number: found[number] for number in sorted(found)}


def waited_for(spans: Iterable[Span]) -> list[Span]:
    """The spans on the clock of one run, without those that nobody waited for: whatever a node that was left out of a
    round did or sent in it, or was sent, and that ended after it had been left out."""
    counted: list[Span] = []
    left: dict[tuple[int, str], float] = {}
    for span in spans:
        if span.stage == LEFT_OUT:
            left[span.round, span.node] = min(span.start, left.get((span.round, span.node), span.start))
        elif not span.off_clock:
            counted.append(span)
    if not left:
        return counted
    return [
        span
        for span in counted
        if not any(span.end > left.get((span.round, node), math.inf) for node in (span.node, span.peer))
    ]


def round_latency(spans_of_round: Sequence[Span]) -> float:
    """Seconds from the first start to the last end. `ValueError` if there are no spans."""
    if not spans_of_round:
        raise ValueError("no timing: the round has no span")
    return max(span.end for span in spans_of_round) - min(span.start for span in spans_of_round)


def latencies(spans: Iterable[Span]) -> dict[int, float]:
    """The latency of each round, in seconds. Raises as `rounds` does."""
    return {number: round_latency(of_round) for number, of_round in rounds(spans).items()}


def emulated_time(spans: Iterable[Span]) -> float:
    """Seconds of a run's rounds, one after the other. Raises as `rounds` does."""
    return math.fsum(latencies(spans).values())


def elapsed_at(latencies: Mapping[int, float]) -> dict[int, float]:
    """Emulated seconds at the end of each round; 0 for round 0, before training. `ValueError` if one is missing."""
    elapsed = {0: 0.0}
    for number in range(1, len(latencies) + 1):
        if number not in latencies:
            raise ValueError(f"no timing: round {number} has no latency")
        elapsed[number] = elapsed[number - 1] + latencies[number]
    return elapsed


def stage_times(spans: Iterable[Span]) -> dict[str, list[float]]:
    """The durations of each stage's spans in rounds 1 to N, in seconds. Raises as `rounds` does."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for of_round in rounds(spans).values():
        for span in of_round:
            found[span.stage].append(span.duration)
    return dict(found)


def bytes_sent(spans: Iterable[Span]) -> dict[str, int]:
    """Bytes that each node sent, headers included; instrumentation does not count."""
    return _bytes_by(spans, lambda span: span.node)


def bytes_received(spans: Iterable[Span]) -> dict[str, int]:
    """Bytes that each node was sent, headers included; instrumentation does not count."""
    return _bytes_by(spans, lambda span: span.peer)


def totals(spans: Sequence[Span], server_names: Collection[str]) -> Traffic:
    """Bytes over the clients' links.

    A message between clients counts as both up and down: it crosses the sender's up link and the receiver's down
    link. One between servers crosses neither.
    """
    return Traffic(
        up=sum(count for node, count in bytes_sent(spans).items() if node not in server_names),
        down=sum(count for node, count in bytes_received(spans).items() if node not in server_names),
    )


def _bytes_by(spans: Iterable[Span], key: Callable[[Span], str]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for span in spans:
        if span.is_message and not span.off_clock:
            found[key(span)] += span.bytes
    return dict(found)


def _of(names: Collection[str]) -> str:
    return f"run '{next(iter(names))}' " if names else "an empty timeline "
