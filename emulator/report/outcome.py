"""What one algorithm's run came to, for those who look closer than its summary: each round, each client."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emulator import timeline
from emulator.critical_path import Step, critical_path
from emulator.errors import InputError
from emulator.event import Placed, is_event, placed
from emulator.report import result
from emulator.report.folder import Folder
from emulator.report.summary import Accuracy, Summary, accuracies_by_round, summarise
from emulator.timeline import WAIT, Metric, Span
from emulator.verdict import UNJUDGED


@dataclass(frozen=True, slots=True)
class Client:
    """One client's part in the mean round. Times are in seconds a round."""

    name: str
    stages: Mapping[str, float]  # of its own computations, and of the messages over its link
    waiting: float  # while none of these went on; with them the mean round
    critical: float  # that the round's critical path spent on this client's stages
    held_up: float  # the share of the rounds in whose critical path it had a part


@dataclass(frozen=True)
class Outcome:
    """One run. `rounds` are its spans by round; `latencies`, `elapsed` in emulated seconds; `paths` are critical."""

    folder: Folder
    label: str  # unique in a report
    summary: Summary
    rounds: Mapping[int, Sequence[Span]]
    latencies: Mapping[int, float]
    elapsed: Mapping[int, float]
    paths: Mapping[int, Sequence[Step]]
    accuracies: Mapping[int, Accuracy]
    metrics: Sequence[Metric]
    clients: Sequence[Client]
    events: Sequence[Placed]  # what happened to the testbed while the run went on, such as a change by its user
    predicted: Mapping[str, float] | None  # seconds of a round: mean, median; and `error` of the mean

    @property
    def straggler(self) -> Client | None:
        """The client on which the critical path spent most; None where there is nobody to wait for it."""
        return max(self.clients, key=lambda client: client.critical) if len(self.clients) > 1 else None

    @property
    def starts(self) -> Mapping[int, float]:
        """Emulated seconds of the rounds before each round."""
        return _starts(self.elapsed)

    @property
    def rounds_to_target(self) -> int | None:
        """The round whose end is the time to the target."""
        reached = self.summary.time_to_target
        return next((number for number, seconds in self.elapsed.items() if seconds == reached), None)


def outcomes(folders: Sequence[Folder]) -> list[Outcome]:
    """Of each run of each folder that has a whole round. `InputError` where a timeline cannot be a run's."""
    return [
        _outcome(folder, run, run if len(folders) == 1 else f"{folder.name} {run}")
        for folder in folders
        for run, spans in folder.spans.items()
        if any(span.round >= 1 and not span.off_clock for span in spans)
    ]


def _outcome(folder: Folder, run: str, label: str) -> Outcome:
    fields = folder.result["algorithms"].get(run) if folder.result else None
    try:
        rounds = timeline.rounds(folder.spans[run])
        latencies = {number: timeline.round_latency(spans) for number, spans in rounds.items()}
        metrics = [metric for metric in folder.metrics.get(run, ()) if metric.round <= len(rounds)]
        paths = {number: critical_path(spans) for number, spans in rounds.items()}
        summary = summarise(
            [span for spans in rounds.values() for span in spans],
            metrics,
            servers=folder.servers,
            wall=fields["wall_s"] if fields else math.nan,
            target=folder.experiment.target_accuracy,
            verdict=result.read_verdict(fields["verdict"]) if fields and "verdict" in fields else UNJUDGED,
            paths=paths,
        )
    except ValueError as error:
        raise InputError(f"{folder.path}: {run}: {error}") from error
    named = [str(node.name) for node in folder.testbed.nodes if node.name not in folder.servers]
    elapsed = timeline.elapsed_at(latencies)
    return Outcome(
        folder=folder,
        label=label,
        summary=summary,
        rounds=rounds,
        latencies=latencies,
        elapsed=elapsed,
        paths=paths,
        accuracies=accuracies_by_round(metrics),
        metrics=metrics,
        clients=_clients(named, rounds, latencies, paths, folder.servers),
        events=list(placed(filter(is_event, folder.spans[run]), rounds, _starts(elapsed))),
        predicted=_predicted(fields),
    )


def _starts(elapsed: Mapping[int, float]) -> dict[int, float]:
    return {number: elapsed[number - 1] for number in elapsed if number >= 1}


def whose(span: Span, servers: Collection[str]) -> str:
    """The node whose device or link a span is about: of a message to or from a server, the other side."""
    return span.peer if span.is_message and span.node in servers else span.node


def _clients(
    names: Iterable[str],
    rounds: Mapping[int, Sequence[Span]],
    latencies: Mapping[int, float],
    paths: Mapping[int, Sequence[Step]],
    servers: Collection[str],
) -> list[Client]:
    stages: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    critical: defaultdict[str, float] = defaultdict(float)
    held_up: defaultdict[str, int] = defaultdict(int)
    for number, spans in rounds.items():
        of_round: defaultdict[str, list[Span]] = defaultdict(list)
        for span in spans:
            if span.stage != WAIT:
                of_round[whose(span, servers)].append(span)
        for name, own in of_round.items():
            for span, seconds in _one_at_a_time(own):
                stages[name][span.stage] += seconds
        for step in paths[number]:
            critical[whose(step.span, servers)] += step.seconds
        for name in {whose(step.span, servers) for step in paths[number]}:
            held_up[name] += 1
    total, count = math.fsum(latencies.values()), len(rounds)
    return [
        Client(
            name=name,
            stages={stage: seconds / count for stage, seconds in stages[name].items()},
            waiting=max(0.0, total - math.fsum(stages[name].values())) / count,
            critical=critical[name] / count,
            held_up=held_up[name] / count,
        )
        for name in names
    ]


def _one_at_a_time(spans: Iterable[Span]) -> Iterator[tuple[Span, float]]:
    """Each span with its seconds; where several go on at once, the time is that of the one that began first."""
    until = -math.inf
    for span in sorted(spans, key=lambda span: span.start):
        yield span, max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)


def _predicted(fields: Mapping[str, object] | None) -> Mapping[str, float] | None:
    """What the result says of a prediction: a round's `mean` and `median` in seconds, and the `error` of the mean."""
    found = fields.get("predicted") if fields else None
    if not isinstance(found, Mapping):
        return None
    return {**found["round_latency_s"], "error": found["error"]}
