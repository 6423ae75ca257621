"""A run's results as pandas DataFrames, tidy: one observation a row, SI units, columns named as in the files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.critical_path import by_stage
from emulator.errors import EdgebedError
from emulator.report.folder import read
from emulator.report.outcome import Outcome, outcomes
from emulator.timeline import Span

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Frames:
    """The results of one run.

    `algorithms`: one row an algorithm. `rounds`: one row a round. `stages`: one row a round and stage of its critical
    path. `metrics`: one row a recorded number. `spans`: one row a line of `timeline.jsonl`. Times are in emulated
    seconds; `verdict` is VALID, INVALID, FAILED, UNFINISHED or EMPTY: look at it first.
    """

    verdict: str
    algorithms: "DataFrame"
    rounds: "DataFrame"
    stages: "DataFrame"
    metrics: "DataFrame"
    spans: "DataFrame"


def load(run_dir: str | Path) -> Frames:
    """The results in the folder of a run. `InputError` if it is none; `EdgebedError` if pandas is not installed."""
    folder = read(Path(run_dir))
    found = outcomes([folder])
    elapsed = {outcome.summary.run: outcome.elapsed for outcome in found}
    return Frames(
        verdict=folder.word,
        algorithms=_frame(ALGORITHMS, [_algorithm(outcome) for outcome in found]),
        rounds=_frame(ROUNDS, [row for outcome in found for row in _rounds(outcome)]),
        stages=_frame(STAGES, [row for outcome in found for row in _stages(outcome)]),
        metrics=_frame(
            METRICS,
            [
                {
                    "algorithm": run,
                    "round": metric.round,
                    "emulated_s": elapsed.get(run, {}).get(metric.round),
                    "node": metric.node,
                    "metric": metric.name,
                    "value": metric.value,
                }
                for run, metrics in folder.metrics.items()
                for metric in metrics
            ],
        ),
        spans=_frame(SPANS, [_span(span) for spans in folder.spans.values() for span in spans]),
    )


ALGORITHMS = (
    "algorithm", "verdict", "rounds", "emulated_s", "wall_s", "latency_mean_s", "latency_median_s", "latency_p95_s",
    "accuracy", "accuracy_min", "accuracy_max", "target_accuracy", "time_to_accuracy_s", "bytes_up", "bytes_down",
    "predicted_latency_mean_s", "straggler",
)  # fmt: skip
ROUNDS = ("algorithm", "round", "emulated_s", "latency_s", "accuracy", "accuracy_min", "accuracy_max")
STAGES = ("algorithm", "round", "stage", "seconds")
METRICS = ("algorithm", "round", "emulated_s", "node", "metric", "value")
SPANS = tuple("algorithm" if field.name == "run" else field.name for field in fields(Span))


def _frame(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> "DataFrame":
    try:
        from pandas import DataFrame
    except ImportError:
        raise EdgebedError("edgebed.load needs pandas: pip install 'edgebed[pandas]'") from None
    return DataFrame(rows, columns=list(columns))


def _algorithm(outcome: Outcome) -> dict[str, Any]:
    summary = outcome.summary
    accuracy, straggler = summary.accuracy, outcome.straggler
    return {
        "algorithm": summary.run,
        "verdict": summary.verdict.word,
        "rounds": summary.rounds,
        "emulated_s": summary.emulated,
        "wall_s": summary.wall,
        "latency_mean_s": summary.latency.mean,
        "latency_median_s": summary.latency.median,
        "latency_p95_s": summary.latency.p95,
        "accuracy": None if accuracy is None else accuracy.mean,
        "accuracy_min": None if accuracy is None else accuracy.min,
        "accuracy_max": None if accuracy is None else accuracy.max,
        "target_accuracy": summary.target,
        "time_to_accuracy_s": summary.time_to_target,
        "bytes_up": summary.traffic.up,
        "bytes_down": summary.traffic.down,
        "predicted_latency_mean_s": None if outcome.predicted is None else outcome.predicted["mean"],
        "straggler": None if straggler is None else straggler.name,
    }


def _rounds(outcome: Outcome) -> list[dict[str, Any]]:
    rows = []
    for number, seconds in outcome.latencies.items():
        row = {"algorithm": outcome.summary.run, "round": number, "emulated_s": outcome.elapsed[number]}
        accuracy = outcome.accuracies.get(number)
        if accuracy is not None:
            row |= {"accuracy": accuracy.mean, "accuracy_min": accuracy.min, "accuracy_max": accuracy.max}
        rows.append({**row, "latency_s": seconds})
    return rows


def _stages(outcome: Outcome) -> list[dict[str, Any]]:
    run = outcome.summary.run
    return [
        {"algorithm": run, "round": number, "stage": stage, "seconds": seconds}
        for number, path in outcome.paths.items()
        for stage, seconds in by_stage(path).items()
    ]


def _span(span: Span) -> dict[str, Any]:
    row = asdict(span)
    return {"algorithm": row.pop("run"), **row}
