"""The table at the end of a run: what each algorithm reached, how long its rounds took, and on what.

A cell has two lines where two things belong together, as the head says; so the usual table fits a terminal of 80
columns.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.comparison import Comparison
from emulator.critical_path import OVERHEAD
from emulator.report import text
from emulator.report.summary import Summary
from emulator.verdict import Verdict

# The stages of split learning, by the column that they are shown in. A workload's own stages have their own column.
GROUPS = {
    "client": ("client_forward", "client_backward"),
    "uplink": ("uplink",),
    "server": ("server_step",),
    "down-\nlink": ("downlink",),
    "model": ("model_up", "aggregate", "model_down", "handover"),
}
MAX_STAGES = len(GROUPS) + 1  # what 100 columns have room for; the rest is summed under 'other'

GAPS = "gaps"
PIPED_WIDTH = 120


def console(file: IO[str]) -> Console:
    """A console on `file`: as wide as the terminal, or wide enough for the table where there is none."""
    return Console(file=file, width=None if file.isatty() else PIPED_WIDTH)


def table(
    summaries: Sequence[Summary],
    verdict: Verdict,
    *,
    testbed: str,
    runtime: str,
    time_scale: float,
    predicted: Mapping[str, Comparison] | None = None,
) -> Table:
    """The final table, one row a run; `verdict` is the one on all of them (`verdict.combine`).

    What was `predicted` takes the place of the gaps, which the verdict speaks of, too.
    """
    predicted = predicted or {}
    stages = _stage_columns(summaries)
    if predicted:
        stages.remove((GAPS, (OVERHEAD,)))
    targets = sorted({summary.target for summary in summaries if summary.target is not None})
    accuracies = any(summary.accuracy is not None for summary in summaries)
    losing = any(summary.client_rounds is not None for summary in summaries)

    # Without padding, for one space between the columns: every character counts.
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False, caption_justify="left")
    made.caption = _caption(verdict, testbed, runtime, time_scale, bool(targets), bool(predicted), losing)
    made.caption_style = ""
    made.add_column("run\nverdict", overflow="fold")
    if accuracies:
        made.add_column("accuracy\nmin-max", justify="right")
    made.add_column("round\np95", justify="right")
    if predicted:
        made.add_column("pre-\ndicted", justify="right")
    for name, _ in stages:
        made.add_column(Text(name), justify="right")
    if targets:
        shown = "/".join(f"{100 * target:g}" for target in targets)
        made.add_column(f"to\n{shown} %", justify="right")
    if losing:
        made.add_column("lost\nof", justify="right")
    made.add_column("up\ndown", justify="right")

    for summary in summaries:
        # Texts: brackets in a name are no markup.
        word = Text(summary.verdict.word, "green" if summary.verdict.valid else "bold red")
        row: list[Text | str] = [Text(summary.run).append("\n").append_text(word)]
        if accuracies:
            row.append(_accuracy(summary))
        row.append(f"{text.seconds(summary.latency.median)}\n{text.seconds(summary.latency.p95)}")
        if predicted:
            row.append(_predicted(predicted.get(summary.run)))
        row += [_stage(summary, parts) for _, parts in stages]
        if targets:
            row.append(_time_to_target(summary))
        if losing:
            row.append(_lost(summary))
        row.append(f"{text.size(summary.traffic.up)}\n{text.size(summary.traffic.down)}")
        made.add_row(*row)
    return made


def _stage_columns(summaries: Iterable[Summary]) -> list[tuple[str, tuple[str, ...]]]:
    """The columns of the breakdown: a title, and the stages that are summed under it."""
    seen = list(dict.fromkeys(stage for summary in summaries for stage in summary.breakdown))
    grouped = {stage for stages in GROUPS.values() for stage in stages}
    columns = [(name, stages) for name, stages in GROUPS.items() if any(stage in seen for stage in stages)]
    columns += [(stage, (stage,)) for stage in seen if stage not in grouped and stage != OVERHEAD]
    if len(columns) > MAX_STAGES:
        rest = tuple(stage for _, stages in columns[MAX_STAGES - 1 :] for stage in stages)
        columns = [*columns[: MAX_STAGES - 1], ("other", rest)]
    return [*columns, (GAPS, (OVERHEAD,))]


def _stage(summary: Summary, stages: Iterable[str]) -> str:
    present = [summary.breakdown[stage] for stage in stages if stage in summary.breakdown]
    return text.seconds(math.fsum(present)) if present else "-"


def _accuracy(summary: Summary) -> str:
    if summary.accuracy is None:
        return "-"
    low, high = (f"{100 * value:.0f}" for value in (summary.accuracy.min, summary.accuracy.max))
    return f"{text.share(summary.accuracy.mean)}\n{low}-{high}"


def _predicted(comparison: Comparison | None) -> str:
    if comparison is None:
        return "-"
    error = 100 * comparison.latency.error
    return f"{text.seconds(comparison.latency.predicted_median)}\n{error:+.{1 if abs(error) < 9.95 else 0}f} %"


def _lost(summary: Summary) -> str:
    counted = summary.client_rounds
    return "-" if counted is None else f"{counted.lost}\n{counted.planned}"


def _time_to_target(summary: Summary) -> str:
    if summary.target is None:
        return "-"
    return "never" if summary.time_to_target is None else text.seconds(summary.time_to_target)


def _caption(
    verdict: Verdict, testbed: str, runtime: str, time_scale: float, targets: bool, predicted: bool, losing: bool
) -> Text:
    return Text(
        f"testbed {testbed}, {runtime} runtime, time scale {time_scale:g}. {verdict.summary()}\n"
        "Emulated times: a round's median and 95th percentile; "
        + ("its predicted median, and the error of the predicted mean; " if predicted else "")
        + "what its mean consists of, along its critical path"
        + ("; time until the test accuracy (mean over clients) reaches the target" if targets else "")
        + ("; client rounds lost to lateness, of those planned" if losing else "")
        + ". Bytes over the clients' links, headers included."
    )
