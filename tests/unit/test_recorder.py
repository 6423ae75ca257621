import io
from pathlib import Path

import pytest
from rich.console import Console

from emulator.recorder import Recorder
from emulator.report import files
from emulator.report.progress import Progress
from emulator.timeline import Span
from tests.unit.virtual_world import plan

PREDICTED = 1.0
"""Seconds of every computation."""


def said_of(folder: Path, took: dict[str, float], slower: dict[str, float] | None = None) -> list[str]:
    """What the reader is told where each run's computations took so many times what was predicted, which was so many
    times what it would have been at the speed at which the host was calibrated."""
    made = plan(algorithms=list(took))
    (client,) = (node for node in made.nodes if node.name == "client-1")
    with files.TimelineWriter(folder / files.TIMELINE) as writer:
        recorder = Recorder(folder, writer, made, Progress(Console(file=io.StringIO())))
        predicted = []
        for run, ratio in took.items():
            cpu = ratio * PREDICTED / client.slowdown
            recorder.entry(Span(run, 1, "client-1", "think", 0.0, ratio, cpu=cpu, mode="stretched"))
            recorder.finished(run, 1.0)
            predicted.append(Span(run, 1, "client-1", "think", 0.0, PREDICTED))
        return recorder.drifts(predicted, made, slower or {})


@pytest.mark.parametrize("took", [{"psl": 1.0, "sl": 1.0}, {"psl": 0.98, "sl": 1.05}, {"psl": 1.09}])
def test_small_differences_of_the_hosts_speed_are_not_worth_a_line(tmp_path: Path, took: dict[str, float]) -> None:
    assert said_of(tmp_path, took) == []


def test_runs_between_which_the_hosts_speed_changed_are_named(tmp_path: Path) -> None:
    (line,) = said_of(tmp_path, {"psl": 0.94, "gapsl": 1.0, "sl": 1.07})
    assert line.startswith("sl and psl: beside what this host was calibrated at")
    assert "took 1.14 times the CPU time" in line


def test_a_host_that_is_slower_in_all_runs_is_so_in_each_and_not_between_them(tmp_path: Path) -> None:
    lines = said_of(tmp_path, {"psl": 1.2, "sl": 1.25})
    assert [line.split(" the CPU")[0] for line in lines] == [
        "psl: its computations took 1.20 times",
        "sl: its computations took 1.25 times",
    ]


def test_a_host_whose_cores_were_slow_is_named_though_the_prediction_knows_it(tmp_path: Path) -> None:
    slow, between = said_of(tmp_path, {"psl": 1.0, "sl": 1.05}, {"psl": 1.3, "sl": 1.06})
    assert slow.startswith("psl: by the probe next to each, its computations took 1.30 times the CPU time")
    assert between.startswith("psl and sl: beside what this host was calibrated at")
    assert "took 1.17 times the CPU time" in between  # 1.3 / (1.05 * 1.06)
