"""A study: one experiment in many variations and with several seeds, each run in virtual time and in a process of its
own.

Every run leaves its folder, `<case>/<algorithm>/seed-<n>`, and one that is there is not run again: a study that was
interrupted goes on where it stopped. What a run gives depends on its settings and seed alone, not on how many
processes there are or on what else they do.
"""

import contextlib
import csv
import json
import multiprocessing
import os
import re
import shutil
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from emulator import experiment as experiments
from emulator.errors import EdgebedError, InputError, nearest
from emulator.host import this_host
from emulator.library import load_experiment
from emulator.profiles import Experiment
from emulator.report import files, text
from emulator.report.progress import Progress
from emulator.system import die_with_parent, single_threaded, uninterrupted

STUDY = "study.json"
RUNTIME = "virtual"
METRICS = ("accuracy", "accuracy_own", "accuracy_ensemble")
CONVERGED = 0.01
"""A run has converged at the first evaluation that comes within this of its best accuracy."""


@dataclass(frozen=True)
class Cell:
    """One run of a study: `overrides` make it of the study's experiment."""

    case: str
    algorithm: str
    seed: int
    overrides: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where its results are, within the study's folder."""
        return Path(re.sub(r"[^\w.-]+", "-", self.case)) / self.algorithm / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.case}, {self.algorithm}, seed {self.seed}"


def cells(reference: str, overrides: Mapping[str, Any], size: str | None = None) -> list[Cell]:
    """All runs of the study that `reference` means, at one of its sizes (by default its first), checked.

    What a case sets comes first, then what the size sets, then `overrides`. Raises `InputError`.
    """
    study = load_experiment(reference, overrides)[0].study
    if study is None:
        raise InputError(f"{reference} is no study: it has no key 'study'")
    if size is not None and size not in study.sizes:
        raise InputError(f"{reference} has no size '{size}'{nearest(size, study.sizes)}")
    of_size = study.sizes[size or next(iter(study.sizes))].set if study.sizes else {}
    own = {key: value for key, value in overrides.items() if not key.startswith("study")}
    found = []
    for case in study.cases:
        settings = {**case.set, **of_size, **own, "study": None}
        wanted = load_experiment(reference, settings)[0].algorithms
        for algorithm in wanted:
            for seed in study.seeds:
                one = {**settings, "algorithms": [algorithm], "seed": seed}
                experiments.check(reference, one)
                found.append(Cell(case.name, algorithm, seed, one))
    folders = Counter(cell.folder for cell in found)
    if len(folders) < len(found):
        twice, _ = folders.most_common(1)[0]
        raise InputError(
            f"{reference}: two runs would share the folder {twice}: give the cases other names, and each seed once"
        )
    return found


def run(reference: str, planned: Sequence[Cell], out: Path, jobs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run what is not there yet, `jobs` at a time; the study's figures, which also stand in `out`/study.json.

    `say` is told of each run that ends. Raises `InputError` where a folder has results of other settings, and
    `EdgebedError`, when all others are done, if any run failed.
    """
    left = [cell for cell in planned if not _is_there(reference, cell, out)]
    say(f"{len(planned) - len(left)} of {len(planned)} runs are there already" if len(left) < len(planned) else "")
    failures: list[str] = []
    if left:
        for cell in left:  # the data once, before anyone wants them
            _prepare(reference, cell)
        this_host()
        os.environ.update(single_threaded())
        with _processes(jobs) as pool:
            with uninterrupted():
                waiting: dict[Future[None], Cell] = {pool.submit(_run_one, reference, cell, out): cell for cell in left}
            for done, future in enumerate(as_completed(waiting), start=1):
                cell = waiting[future]
                try:
                    future.result()
                    reached = text.share(_figures(out / cell.folder)["accuracy"])
                    say(f"{done}/{len(left)} {cell}: {reached}")
                except (EdgebedError, BrokenProcessPool) as error:
                    failures.append(f"{cell}: {error}")
                    say(f"{done}/{len(left)} {cell}: failed: {error}")
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise EdgebedError(f"{failures[0]}{more}; the runs that were done are in {out}: run it again to go on")
    figures = summary(planned, out)
    files.write(out / STUDY, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return figures


def summary(planned: Sequence[Cell], out: Path) -> dict[str, Any]:
    """By case, algorithm and metric: mean, standard deviation over the seeds (of the sample), and each run's figure."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in planned:
        figures = found.setdefault(cell.case, {}).setdefault(cell.algorithm, {"seeds": []})
        figures["seeds"].append(cell.seed)
        for metric, value in _figures(out / cell.folder).items():
            figures.setdefault(metric, {"runs": []})["runs"].append(value)
    for by_algorithm in found.values():
        for figures in by_algorithm.values():
            for metric, one in figures.items():
                if metric != "seeds":
                    runs = one["runs"]
                    one["mean"] = statistics.fmean(runs)
                    one["sd"] = statistics.stdev(runs) if len(runs) > 1 else None
    return {"cases": found}


@contextlib.contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes. When interrupted, what has not begun never does, and nobody waits for what has."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=die_with_parent) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _prepare(reference: str, cell: Cell) -> None:
    try:
        experiments.check(reference, cell.overrides, prepare=True)
    except InputError as error:
        raise InputError(f"{cell}: {error}") from None


def _run_one(reference: str, cell: Cell, out: Path) -> None:
    """In a process of its own."""
    folder = out / cell.folder
    shutil.rmtree(folder, ignore_errors=True)  # of a run that did not end
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    prepared = experiments.check(reference, cell.overrides)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, Progress(Console(file=nowhere)) as progress:
        # Drawing a page takes seconds, and nobody opens sixty of them.
        experiments.run(prepared, RUNTIME, this_host(), unfinished, progress, page=False)
    unfinished.rename(folder)


def _is_there(reference: str, cell: Cell, out: Path) -> bool:
    """Whether this very run is done."""
    folder = out / cell.folder
    if not (folder / files.RESULT).exists():
        return False
    kept = Experiment.model_validate(yaml.safe_load((folder / files.EXPERIMENT).read_text(encoding="utf-8")))
    wanted = experiments.check(reference, cell.overrides)
    if kept.model_copy(update={"time_scale": wanted.time_scale}) != wanted:
        raise InputError(f"{folder} has a run with other settings: name another folder with --out, or remove it")
    return True


def _figures(folder: Path) -> dict[str, float]:
    """Of a finished run: the last accuracies, in three views, and the round in which it had converged."""
    with (folder / files.METRICS).open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("accuracy")]
    if not rows:
        raise EdgebedError(f"{folder}: no accuracy was recorded")
    figures = {metric: float(rows[-1][metric]) for metric in METRICS if rows[-1].get(metric)}
    best = max(float(row["accuracy"]) for row in rows)
    figures["converged_round"] = next(int(row["round"]) for row in rows if float(row["accuracy"]) >= best - CONVERGED)
    return figures
