"""`prediction.csv`: what was predicted beside what was measured, a row for each computation and message."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from emulator.comparison import Comparison, Pair

COLUMNS = (
    "algorithm", "round", "node", "stage", "peer",
    "measured_start_s", "predicted_start_s", "measured_s", "predicted_s", "error",
)  # fmt: skip


def prediction_csv(pairs: Iterable[Pair], scale: float) -> str:
    """The text of the file, rows in the order of `pairs`, measured at a time scale of `scale`.

    Starts count from the round's first; `measured_s` is how long until what follows could begin (see `Span.took`), and
    `error` predicted over measured, less 1. A cell is empty where only the other was there, or nothing can be divided.
    """
    pairs = list(pairs)
    begins: dict[tuple[str, int, bool], float] = {}
    for pair in pairs:
        for span, which in ((pair.measured, True), (pair.predicted, False)):
            if span is not None:
                key = pair.key.run, pair.key.round, which
                begins[key] = min(begins.get(key, span.start), span.start)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for pair in pairs:
        one, other = pair.measured, pair.predicted
        at = pair.key.run, pair.key.round
        took = None if one is None else one.took(scale)
        table.writerow(
            [
                *at, pair.key.node, pair.key.stage, pair.key.peer,
                "" if one is None else one.start - begins[*at, True],
                "" if other is None else other.start - begins[*at, False],
                "" if took is None else took,
                "" if other is None else other.duration,
                other.duration / took - 1 if took and other is not None else "",
            ]
        )  # fmt: skip
    return text.getvalue()


def fields(comparison: Comparison) -> dict[str, Any]:
    """The entry `predicted` of an algorithm in `result.json`."""
    latency = comparison.latency
    return {
        "round_latency_s": {"mean": latency.predicted_mean, "median": latency.predicted_median},
        "error": latency.error,
        "stages_s": {
            stage: {
                "median": agreed.together.predicted_median,
                "error": agreed.furthest[1],
                "errors": {where: each.median_error for where, each in agreed.apart.items()},
            }
            for stage, agreed in comparison.stages.items()
        },
    }
