"""What one run comes to: the numbers of the table and of `result.json`, from its timeline and metrics alone."""

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emulator import timeline
from emulator.critical_path import Step, by_stage, critical_path
from emulator.timeline import Metric, Span, Traffic
from emulator.verdict import Verdict

ACCURACY = "accuracy"
TOOK_PART, LOST = "participants", "lost_rounds"
"""Of a round whose late clients are left out: how many clients' work counted, and how many's did not."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of durations, in seconds."""

    mean: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Over the clients, as fractions of 1."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class ClientRounds:
    """Each client's part in each round counts as one."""

    lost: int
    planned: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One run (an algorithm, or a workload without algorithms). Times are in seconds, emulated but for `wall`."""

    run: str
    rounds: int
    emulated: float
    wall: float
    latency: Distribution  # of a round
    stages: Mapping[str, Distribution]  # of a stage's spans, on the critical path or not
    breakdown: Mapping[str, float]  # the mean round's latency by stage of its critical path, and `overhead`
    traffic: Traffic  # of the rounds
    accuracy: Accuracy | None  # in the last round that was evaluated; None: the workload records none
    target: float | None
    time_to_target: float | None  # None: never reached, or no target
    verdict: Verdict
    client_rounds: ClientRounds | None = None  # None: every round waits for every client


def summarise(
    spans: Sequence[Span],
    metrics: Iterable[Metric],
    *,
    servers: Collection[str],
    wall: float,
    target: float | None,
    verdict: Verdict,
    paths: Mapping[int, Sequence[Step]] | None = None,
) -> Summary:
    """The summary of one run; `paths` are its rounds' critical paths where they are known.

    `ValueError` if timing is missing, or an accuracy was recorded in an untimed round.
    """
    by_round = timeline.rounds(spans)
    counted = [span for of_round in by_round.values() for span in of_round]
    latencies = timeline.latencies(counted)
    metrics = list(metrics)
    accuracies = accuracies_by_round(metrics)
    return Summary(
        run=counted[0].run,
        rounds=len(by_round),
        emulated=timeline.emulated_time(counted),
        wall=wall,
        latency=_distribution(list(latencies.values())),
        stages={stage: _distribution(times) for stage, times in timeline.stage_times(counted).items()},
        breakdown=_mean_breakdown(paths or {number: critical_path(of_round) for number, of_round in by_round.items()}),
        traffic=timeline.totals(counted, servers),
        accuracy=accuracies[max(accuracies)] if accuracies else None,
        target=target,
        time_to_target=_time_to(target, accuracies, timeline.elapsed_at(latencies)),
        verdict=verdict,
        client_rounds=_client_rounds(metrics),
    )


def _distribution(seconds: Sequence[float]) -> Distribution:
    return Distribution(statistics.fmean(seconds), statistics.median(seconds), float(np.percentile(seconds, 95)))


def _mean_breakdown(paths: Mapping[int, Sequence[Step]]) -> dict[str, float]:
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for path in paths.values():
        for stage, seconds in by_stage(path).items():
            parts[stage].append(seconds)
    return {stage: math.fsum(seconds) / len(paths) for stage, seconds in parts.items()}


def accuracies_by_round(metrics: Iterable[Metric]) -> dict[int, Accuracy]:
    """The accuracy of each evaluated round.

    A server records `accuracy` with its range over the clients; where each client records its own, they are put
    together here.
    """
    recorded: defaultdict[int, defaultdict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for metric in metrics:
        recorded[metric.round][metric.name][metric.node] = metric.value
    found = {}
    for number in sorted(recorded):
        means = recorded[number][ACCURACY]
        if means:
            lowest = recorded[number]["accuracy_min"] or means
            highest = recorded[number]["accuracy_max"] or means
            found[number] = Accuracy(statistics.fmean(means.values()), min(lowest.values()), max(highest.values()))
    return found


def _client_rounds(metrics: Sequence[Metric]) -> ClientRounds | None:
    lost = [metric.value for metric in metrics if metric.name == LOST]
    took_part = [metric.value for metric in metrics if metric.name == TOOK_PART]
    return ClientRounds(round(sum(lost)), round(sum(lost) + sum(took_part))) if lost else None


def _time_to(target: float | None, accuracies: Mapping[int, Accuracy], elapsed: Mapping[int, float]) -> float | None:
    for number, accuracy in accuracies.items():
        if number not in elapsed:
            raise ValueError(f"no timing: an accuracy was recorded in round {number}")
        if target is not None and accuracy.mean >= target:
            return elapsed[number]
    return None
