"""A prediction beside a measurement: two timelines of the same runs, joined span by span.

The n-th span of a stage, from one node and to one peer, in one round of one run stands beside its like. Errors are
`predicted / measured - 1`. Times are seconds.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from emulator import timeline
from emulator.timeline import LEFT_OUT, WAIT, Span


class Key(NamedTuple):
    """What two spans have in common that stand for the same event."""

    run: str
    round: int
    node: str
    stage: str
    peer: str
    number: int  # of those with all the above in common, from 0 in order of their start


@dataclass(frozen=True, slots=True)
class Pair:
    """One event: its measured and its predicted span. None: it is in the other timeline alone."""

    key: Key
    measured: Span | None
    predicted: Span | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a number was predicted, from its mean and its median over what was joined."""

    measured_mean: float
    predicted_mean: float
    measured_median: float
    predicted_median: float

    @property
    def error(self) -> float:
        """Of the mean."""
        return self.predicted_mean / self.measured_mean - 1

    @property
    def median_error(self) -> float:
        return self.predicted_median / self.measured_median - 1


@dataclass(frozen=True, slots=True)
class StageAgreement:
    """How well one stage was predicted.

    The median of unlike nodes lies between what two of them take: one late message of a hundred may move it from one to
    the other. So each node is compared with itself.
    """

    together: Agreement  # of all of it
    apart: Mapping[str, Agreement]
    """By node, `a>b` where it is between two."""

    @property
    def furthest(self) -> tuple[str, float]:
        """Whose median is off by most, and by how much."""
        errors = {where: agreement.median_error for where, agreement in self.apart.items()}
        where = max(errors, key=lambda name: abs(errors[name]))
        return where, errors[where]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run's prediction."""

    latency: Agreement  # of a round
    stages: Mapping[str, StageAgreement]


def join(measured: Iterable[Span], predicted: Iterable[Span]) -> list[Pair]:
    """All events of both, on the clock and in rounds 1 to N; those measured in their order, then the others."""
    left, right = _keyed(measured), _keyed(predicted)
    pairs = [Pair(key, span, right.get(key)) for key, span in left.items()]
    return pairs + [Pair(key, None, span) for key, span in right.items() if key not in left]


def compare(measured: Sequence[Span], predicted: Sequence[Span], scale: float) -> Comparison:
    """How one run's prediction agrees with its measurement, at a time scale of `scale`.

    An event took until what follows it could begin (see `Span.took`): that the host was late to it is the verdict's
    to judge, and in the latencies where it was not made up for.
    Raises `ValueError` where the two are not the same run: where one has a round or an event that the other lacks.
    A sender's wait for its link is in a timeline only where there was one; and where nodes are left out of rounds, who
    was may differ, and with it what happened: then what is in both is compared. What takes a node no time has no error.
    """
    there, said = timeline.latencies(measured), timeline.latencies(predicted)
    if there.keys() != said.keys():
        raise ValueError(f"{len(there)} rounds were measured and {len(said)} predicted: they are not of the same run")
    stages: defaultdict[str, defaultdict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    some_left_out = any(span.stage == LEFT_OUT for spans in (measured, predicted) for span in spans)
    for pair in join(measured, predicted):
        if pair.measured is None or pair.predicted is None:
            if pair.key.stage == WAIT or some_left_out:
                continue
            only = "measured" if pair.predicted is None else "predicted"
            key = pair.key
            raise ValueError(f"'{key.stage}' of {key.node} in round {key.round} was only {only}")
        stages[pair.key.stage][_where(pair.key)].append((pair.measured.took(scale), pair.predicted.duration))
    return Comparison(
        _agreement([(there[number], said[number]) for number in there]),
        {stage: agreed for stage, nodes in stages.items() if (agreed := _stage_agreement(nodes)).apart},
    )


def drift(measured: Iterable[Span], predicted: Iterable[Span], slowdowns: Mapping[str, float]) -> float | None:
    """CPU seconds that the computations took the host, over those they were predicted to take it; None without any.

    `slowdowns`: seconds of each node's device for a CPU second of the host. What links and protocol do has no part in
    it: where it is not 1, the host was quicker or slower than when it was calibrated.
    """
    took: list[float] = []
    expected: list[float] = []
    for pair in join(measured, predicted):
        if pair.measured is not None and pair.predicted is not None and pair.measured.cpu is not None:
            took.append(pair.measured.cpu)
            expected.append(pair.predicted.duration / slowdowns[pair.key.node])
    return math.fsum(took) / math.fsum(expected) if math.fsum(expected) > 0 else None


def _agreement(times: Sequence[tuple[float, float]]) -> Agreement:
    measured, predicted = [time for time, _ in times], [time for _, time in times]
    return Agreement(
        statistics.fmean(measured),
        statistics.fmean(predicted),
        statistics.median(measured),
        statistics.median(predicted),
    )


def _stage_agreement(nodes: Mapping[str, Sequence[tuple[float, float]]]) -> StageAgreement:
    apart = {where: _agreement(times) for where, times in nodes.items()}
    return StageAgreement(
        _agreement(list(chain.from_iterable(nodes.values()))),
        {where: agreed for where, agreed in apart.items() if agreed.measured_median > 0},
    )


def _where(key: Key) -> str:
    return f"{key.node}>{key.peer}" if key.peer else key.node


def _keyed(spans: Iterable[Span]) -> dict[Key, Span]:
    found: dict[Key, Span] = {}
    counted: defaultdict[tuple[str, int, str, str, str], int] = defaultdict(int)
    for span in sorted((s for s in spans if s.round >= 1 and not s.off_clock), key=lambda s: (s.round, s.start)):
        event = span.run, span.round, span.node, span.stage, span.peer
        found[Key(*event, counted[event])] = span
        counted[event] += 1
    return found
