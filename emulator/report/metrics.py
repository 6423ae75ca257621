"""What the programs recorded, as one table: a row for each run, round and node, a column for each metric."""

import csv
import io
from collections.abc import Iterable, Mapping

from emulator.timeline import Metric

KEYS = ("algorithm", "round", "emulated_s", "node")
FIRST = ("accuracy", "accuracy_min", "accuracy_max", "loss")  # where recorded; the others follow by name


def metrics_csv(metrics: Iterable[Metric], elapsed: Mapping[str, Mapping[int, float]]) -> str:
    """The text of `metrics.csv`, rows and runs in order of appearance; a cell without a value is empty.

    `elapsed` gives for each run the emulated seconds at the end of each round (`timeline.elapsed_at`). Of a metric
    recorded twice in one round the last value counts. `ValueError` if a metric's round has no timing, or its name is
    one of the table's own columns.
    """
    rows: dict[tuple[str, int, str], dict[str, float]] = {}
    names: set[str] = set()
    for metric in metrics:
        if metric.name in KEYS:
            raise ValueError(f"metric '{metric.name}' of {metric.node} has the name of a column: rename it")
        names.add(metric.name)
        rows.setdefault((metric.run, metric.round, metric.node), {})[metric.name] = metric.value
    columns = [name for name in FIRST if name in names] + sorted(names.difference(FIRST))

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*KEYS, *columns])
    for (run, number, node), values in rows.items():
        if number not in elapsed.get(run, {}):
            raise ValueError(f"no timing: {node} recorded metrics in round {number} of run '{run}'")
        table.writerow([run, number, elapsed[run][number], node, *(values.get(name, "") for name in columns)])
    return text.getvalue()
