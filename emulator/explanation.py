"""Why a run's rounds take as long as they do: stages, stragglers, resources, all along the critical paths."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from emulator import timeline
from emulator.bottleneck import Bottlenecks
from emulator.critical_path import OVERHEAD, Step, breakdown, critical_path
from emulator.plan import SERVER_ROLES, Plan
from emulator.profiles import DIRECTIONS
from emulator.timeline import FOR_OTHERS, WAIT, Span

NOTHING = "nothing"
LATE = "late nodes"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One run. Seconds are of the mean round."""

    run: str
    rounds: int
    mean: float
    median: float
    stages: Mapping[str, float]  # seconds by stage, and `overhead`
    stragglers: Mapping[str, float]  # share of the rounds in which the node has most of the critical path
    resources: Mapping[str, float]  # seconds by what was waited for: "client-1 compute", "segment cell up link"
    path: Sequence[Step]  # of the round nearest the median

    @property
    def bottleneck(self) -> str:
        """What most of the time is spent waiting for."""
        return max(self.resources, key=lambda name: self.resources[name])


def explain(spans: Sequence[Span], plan: Plan) -> Explanation:
    """The explanation of one run of `plan`. `ValueError` if timing is missing.

    A message waits for one of the links it crosses, be it a node's or a segment's: see `bottleneck`. The straggler is
    the client with the longest part of the round's critical path: its own computations, and the messages it sends and
    receives.
    """
    servers = {name for role in SERVER_ROLES for name in plan.peers.get(role, ())}
    bottlenecks = Bottlenecks((span for span in spans if span.is_message and not span.off_clock), plan.way)
    segments = {f"{name} {way}" for name in plan.segments for way in DIRECTIONS}
    by_round = timeline.rounds(spans)
    latencies = timeline.latencies(spans)
    stages: defaultdict[str, float] = defaultdict(float)
    resources: defaultdict[str, float] = defaultdict(float)
    stragglers: Counter[str] = Counter()
    for of_round in by_round.values():
        for stage, seconds in breakdown(of_round).items():
            stages[stage] += seconds / len(by_round)
        own: defaultdict[str, float] = defaultdict(float)
        for step in critical_path(of_round):
            resources[_resource(step.span, bottlenecks, segments)] += step.seconds / len(by_round)
            for node in {step.span.node, step.span.ends_at} - servers:
                own[node] += step.seconds
        if own:
            stragglers[max(own, key=lambda node: own[node])] += 1
    median = statistics.median(latencies.values())
    typical = min(latencies, key=lambda number: abs(latencies[number] - median))
    return Explanation(
        run=spans[0].run,
        rounds=len(by_round),
        mean=statistics.fmean(latencies.values()),
        median=median,
        stages=dict(stages),
        stragglers={node: count / len(by_round) for node, count in stragglers.most_common()},
        resources=dict(sorted(resources.items(), key=lambda item: -item[1])) or {NOTHING: 0.0},
        path=critical_path(by_round[typical]),
    )


def shares(explanation: Explanation) -> dict[str, float]:
    """The share of the mean round that each stage has, the largest first; gaps only where there are any."""
    parts = {stage: seconds for stage, seconds in explanation.stages.items() if stage != OVERHEAD or seconds > 0}
    return {stage: seconds / explanation.mean for stage, seconds in sorted(parts.items(), key=lambda item: -item[1])}


def _resource(span: Span, bottlenecks: Bottlenecks, segments: Collection[str]) -> str:
    if span.detail == FOR_OTHERS:
        return LATE
    if span.stage == WAIT:
        return f"{span.node} up link"
    if not span.is_message:
        return f"{span.node} compute"
    link = bottlenecks.of(span)
    return f"segment {link} link" if link in segments else f"{link} link"
