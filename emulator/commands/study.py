"""What `edgebed run` does with a study."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from emulator import study
from emulator.errors import refusals
from emulator.library import load_experiment
from emulator.report import files
from emulator.report.table import console

ROWS = {
    "accuracy": ("accuracy, all labels", 100),
    "accuracy_own": ("own mix", 100),
    "accuracy_ensemble": ("ensemble", 100),
    "converged_round": ("round converged", 1),
}
"""What the table says of each metric, and in which unit: percent, or rounds."""


def is_study(reference: str, overrides: Mapping[str, Any]) -> bool:
    """Whether the experiment is one in many variations."""
    return load_experiment(reference, overrides)[0].study is not None


def run_study(
    reference: str, overrides: dict[str, Any], size: str | None, jobs: int | None, out: Path | None, as_json: bool
) -> None:
    """Run it, or what is left of it, and print its figures."""
    if "seed" in overrides:
        overrides["study.seeds"] = [overrides.pop("seed")]
    planned = study.cells(reference, overrides, size)
    folder = out or files.RUNS / "-".join(filter(None, (Path(reference).stem, size)))
    with refusals("create", folder):
        folder.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        if line:
            click.echo(line, err=True)

    figures = study.run(reference, planned, folder, jobs or len(os.sched_getaffinity(0)), say)
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
        return
    console(sys.stdout).print(_table(figures))
    click.echo(f"results: {folder}")


def _table(figures: Mapping[str, Any]) -> Table:
    """Mean and standard deviation over the seeds, accuracies in percent: a row for each case and metric."""
    algorithms = list(dict.fromkeys(name for case in figures["cases"].values() for name in case))
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("case", "", *algorithms):
        made.add_column(head)
    for case, by_algorithm in figures["cases"].items():
        for metric, (words, unit) in ROWS.items():
            row = [_spread(by_algorithm.get(name, {}).get(metric), unit) for name in algorithms]
            made.add_row(case if metric == "accuracy" else "", words, *row)
    return made


def _spread(figure: Mapping[str, Any] | None, unit: float) -> str:
    if figure is None:
        return "-"
    digits = 1 if unit > 1 else 0
    spread = "" if figure["sd"] is None else f" ± {unit * figure['sd']:.{digits}f}"
    return f"{unit * figure['mean']:.{digits}f}{spread}"
