"""A run's folder, read back: whatever is there, whatever became of the run."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import timeline
from emulator.errors import InputError, refusals
from emulator.library import load_experiment
from emulator.plan import SERVER_ROLES
from emulator.profiles import Experiment, Testbed
from emulator.report import files, result
from emulator.report.metrics import KEYS
from emulator.timeline import Metric, Span
from emulator.verdict import UNJUDGED, Verdict


@dataclass(frozen=True)
class Folder:
    """What a run left. Of a run that did not come to its end there is no `result`; `spans` may be of some runs only."""

    path: Path
    experiment: Experiment  # resolved
    result: Mapping[str, Any] | None
    failure: str | None  # the line that the command ended with
    spans: Mapping[str, Sequence[Span]]  # of each run, in order of appearance
    metrics: Mapping[str, Sequence[Metric]]
    predicted: Mapping[str, Sequence[Span]]  # of each run; times count from their round's first start

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def testbed(self) -> Testbed:
        assert isinstance(self.experiment.testbed, Testbed)
        return self.experiment.testbed

    @property
    def servers(self) -> set[str]:
        return {str(node.name) for node in self.testbed.nodes if node.role in SERVER_ROLES}

    @property
    def verdict(self) -> Verdict:
        return UNJUDGED if self.result is None else result.read_verdict(self.result["verdict"])

    @property
    def word(self) -> str:
        """What became of the run: VALID, INVALID, FAILED, EMPTY (no round was run) or UNFINISHED."""
        if self.failure is not None:
            return "FAILED"
        if self.result is not None:
            return self.verdict.word
        return "UNFINISHED" if any(self.spans.values()) else "EMPTY"


def read(path: Path) -> Folder:
    """What the folder holds.

    Of a run that broke off, the round that each algorithm's timeline ends in is left out unless a later algorithm
    began: it may not be whole. `InputError` names the file that is missing, or that cannot be what it should be.
    """
    if not (path / files.EXPERIMENT).is_file():
        raise InputError(f"{path}: not a run's folder: it has no {files.EXPERIMENT}")
    experiment, _ = load_experiment(str(path / files.EXPERIMENT))
    outcome = _result(path / files.RESULT)
    failure = path / files.FAILURE
    spans = timeline.runs(files.read_timeline(path / files.TIMELINE) if (path / files.TIMELINE).exists() else ())
    if outcome is None and spans:
        last = list(spans)[-1]
        spans[last] = _whole_rounds(spans[last])
    metrics = _metrics(path / files.METRICS)
    with refusals("read", failure):
        said = failure.read_text(encoding="utf-8").strip() if failure.exists() else None
    return Folder(path, experiment, outcome, said, spans, metrics, _predicted(path / files.PREDICTION))


def _result(path: Path) -> Mapping[str, Any] | None:
    if not path.exists():
        return None
    with refusals("read", path):
        text = path.read_bytes()
    try:
        read_back = json.loads(text)
        schema = read_back["schema"]
        result.read_verdict(read_back["verdict"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the result of a run ({type(error).__name__}: {error})") from error
    if schema != result.SCHEMA:
        raise InputError(f"{path}: schema {schema} is unknown to this version of edgebed, which reads {result.SCHEMA}")
    return dict(read_back)


def _whole_rounds(spans: Sequence[Span]) -> list[Span]:
    last = max(span.round for span in spans)
    return [span for span in spans if span.round < last]


def _metrics(path: Path) -> dict[str, list[Metric]]:
    """The metrics of each run: what `metrics_csv` wrote."""
    found: dict[str, list[Metric]] = {}
    for where, row in _rows(path, KEYS):
        with _placed(where):
            run, number, node = row["algorithm"], int(row["round"]), row["node"]
            found.setdefault(run, []).extend(
                Metric(run, number, node, name, float(value))
                for name, value in row.items()
                if name not in KEYS and value
            )
    return found


def _predicted(path: Path) -> dict[str, list[Span]]:
    """What was predicted of each run, span by span."""
    found: dict[str, list[Span]] = {}
    for where, row in _rows(path, ("algorithm", "round", "node", "stage", "peer")):
        with _placed(where):
            if row["predicted_s"]:
                run, start = row["algorithm"], float(row["predicted_start_s"])
                end = start + float(row["predicted_s"])
                span = Span(run, int(row["round"]), row["node"], row["stage"], start, end, "modelled", peer=row["peer"])
                found.setdefault(run, []).append(span)
    return found


def _rows(path: Path, first: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table whose columns begin with `first`, and where each stands; none where there is no file."""
    if not path.exists():
        return
    with refusals("read", path), path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, restval="")
        if tuple(table.fieldnames or ())[: len(first)] != first:
            raise InputError(f"{path}:1: the columns {', '.join(first)} should come first")
        for row in table:
            yield f"{path}:{table.line_num}", row


@contextmanager
def _placed(where: str) -> Iterator[None]:
    """Turn a cell that cannot be into one line that says where it stands."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise InputError(f"{where}: {error}") from error
