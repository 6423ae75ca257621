import io
from pathlib import Path

import pytest
from rich.console import Console

from emulator.report import files, plain
from emulator.report.folder import read
from tests.made_runs import make_run


def shown(folder: Path, width: int = 100) -> str:
    file = io.StringIO()
    plain.show([read(folder)], Console(file=file, width=width, force_terminal=False))
    return file.getvalue()


def test_the_report_as_text_has_verdict_answer_table_and_charts(tmp_path: Path) -> None:
    text = shown(make_run(tmp_path, rounds=10))
    lines = text.splitlines()
    assert lines[0] == f"{tmp_path.name}: VALID"
    assert any(line.startswith("psl was first to 60 % accuracy") for line in lines)
    assert "test accuracy against emulated time" in text
    assert any(line.startswith("gapsl") and "\u2588" in line for line in lines)
    assert "f client forward  u uplink  s server step  d downlink  b client backward" in text
    assert "client-1, on the critical path of 100 % of the rounds" in text


def test_a_bar_is_as_long_as_its_stages(tmp_path: Path) -> None:
    text = shown(make_run(tmp_path, algorithms=("psl", "sl"), rounds=3))
    psl, sl = (line.split()[1] for line in text.splitlines() if line.startswith(("psl  f", "sl  ")) and "fu" in line)
    assert len(psl) < len(sl) <= plain.CURVE + len(set(sl))
    assert list(dict.fromkeys(psl)) == sorted(set(psl), key="fusdbmhg".index)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_any_width_will_do(tmp_path: Path, width: int) -> None:
    assert all(len(line) <= width for line in shown(make_run(tmp_path), width).splitlines())


def test_a_failed_and_an_empty_run_say_so(tmp_path: Path) -> None:
    make_run(tmp_path, finished=False)
    (tmp_path / files.FAILURE).write_text("psl: client-1 [red]failed\n")
    assert f"{tmp_path.name}: FAILED" in shown(tmp_path)
    assert "psl: client-1 [red]failed" in shown(tmp_path)
    for name in (files.TIMELINE, files.METRICS, files.FAILURE):
        (tmp_path / name).unlink()
    assert "EMPTY" in shown(tmp_path)
