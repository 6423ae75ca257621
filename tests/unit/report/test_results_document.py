"""docs/results.md names every column there is, and none that there is not."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from emulator.report import files, frames
from emulator.report.metrics import FIRST, KEYS
from emulator.timeline import Span
from nodes.evaluate import Evaluation, Spread

TEXT = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(table: str) -> set[str]:
    return {name for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)}


def test_every_field_of_a_span_is_documented() -> None:
    assert first_cells(section("`timeline.jsonl`")) == {field.name for field in fields(Span)}


def test_every_column_of_metrics_is_documented() -> None:
    gapsl = (Path(__file__).parents[3] / "nodes" / "algorithms" / "gapsl.py").read_text(encoding="utf-8")
    recorded = set(re.findall(r'^ +"(\w+)": ', gapsl.split("def _metrics(")[1], re.MULTILINE))
    assert recorded >= {"mean_angle", "leaders"}
    timed = (Path(__file__).parents[3] / "nodes" / "timed_server.py").read_text(encoding="utf-8")
    left_out = set(re.findall(r'record\("(\w+)"', timed)) | set(re.findall(r'"(evaluated)"', timed))
    assert left_out == {"participants", "lost_rounds", "loss", "evaluated"}
    evaluated = Evaluation(everyone=Spread(0.5, 0.4, 0.6), own=Spread(0.5, 0.4, 0.6), ensemble=0.5).metrics()
    assert first_cells(section("`metrics.csv`")) == {*KEYS, *FIRST, *evaluated} | recorded | left_out


def test_every_file_is_documented() -> None:
    names = {files.REPORT, files.RESULT, files.METRICS, files.TIMELINE, files.EXPERIMENT, files.FAILURE}
    assert names <= set(re.findall(r"`([\w.]+)`", TEXT))


@pytest.mark.parametrize("frame", ["algorithms", "rounds", "stages", "metrics"])
def test_every_column_of_a_frame_is_documented(frame: str) -> None:
    (row,) = re.findall(rf"^\| `{frame}` \| [^|]* \| (.*) \|$", TEXT, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", row)) == getattr(frames, frame.upper())
