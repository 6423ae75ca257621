"""Studies: real processes, virtual time."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from emulator import study
from emulator.errors import InputError

STUDY = {
    "testbed": "demo",
    "programs": {"server": "nodes.server:main", "client": "nodes.client:main"},
    "algorithms": ["psl", "gapsl"],
    "rounds": 3,
    "time_scale": "auto",
    "calibration": "none",  # made anew meanwhile, as other tests may, it would change the latencies
    "workload": {
        "data": {"name": "digits", "alpha": 0.5, "test_samples": 50},
        "model": {"name": "digits-cnn", "cut": "relu1"},
        "evaluate": {"every": 2},
    },
    "study": {
        "seeds": [1, 2],
        "sizes": {"long": {}, "short": {"set": {"rounds": 2}}},
        "cases": [
            {"name": "IID", "set": {"workload.data.partition": "iid"}},
            {"name": "a b", "set": {"algorithms": ["psl"]}},
        ],
    },
}


@pytest.fixture
def reference(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return str(path)


def edgebed(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulator.cli", "run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def test_a_study_is_every_case_with_every_algorithm_and_seed_at_one_size(reference: str) -> None:
    planned = study.cells(reference, {})
    assert [str(cell) for cell in planned] == [
        f"{case}, {algorithm}, seed {seed}"
        for case, algorithms in (("IID", ["psl", "gapsl"]), ("a b", ["psl"]))
        for algorithm in algorithms
        for seed in (1, 2)
    ]
    assert planned[-1].folder == Path("a-b/psl/seed-2")
    assert "rounds" not in planned[0].overrides
    assert study.cells(reference, {}, "short")[0].overrides["rounds"] == 2
    assert study.cells(reference, {"rounds": 7}, "short")[0].overrides["rounds"] == 7
    with pytest.raises(InputError, match="no size 'shrot': did you mean 'short'"):
        study.cells(reference, {}, "shrot")
    with pytest.raises(InputError, match="is no study"):
        study.cells("demo", {})
    with pytest.raises(InputError, match="two runs would share the folder IID/psl/seed-2"):
        study.cells(reference, {"study.seeds": [1, 2, 2]})
    with pytest.raises(InputError, match="two runs would share the folder a-b/psl/seed-1"):
        study.cells(reference, {"study.cases": [{"name": "a b"}, {"name": "a-b"}]})
    with pytest.raises(InputError, match="eta"):
        study.cells(reference, {"workload.algorithms.gapsl.eta": "much"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A study, and the folder that it left."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    done = edgebed(path, "--size", "short", "--jobs", 1, "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\d/6 ", done.stderr, re.MULTILINE)) == 6
    assert re.search(r"a b +accuracy, all labels +\d+\.\d ± \d+\.\d +-", done.stdout)
    assert re.search(r"round converged +2 ± 0 +-", done.stdout)
    return str(path), folder / "out"


def test_a_study_says_mean_spread_and_every_run(finished: tuple[str, Path]) -> None:
    psl = json.loads((finished[1] / "study.json").read_text())["cases"]["IID"]["psl"]
    assert psl["seeds"] == [1, 2]
    assert psl["accuracy"]["mean"] == pytest.approx(sum(psl["accuracy"]["runs"]) / 2)
    assert set(psl) >= {"accuracy", "accuracy_own", "accuracy_ensemble", "converged_round"}


def test_a_study_gives_the_same_whatever_the_processes(finished: tuple[str, Path], tmp_path: Path) -> None:
    reference, out = finished
    again = edgebed(reference, "--size", "short", "--jobs", 2, "--out", tmp_path / "again", "--json")
    assert json.loads(again.stdout) == json.loads((out / "study.json").read_text())
    for metrics in out.rglob("metrics.csv"):
        assert (tmp_path / "again" / metrics.relative_to(out)).read_bytes() == metrics.read_bytes()


def test_a_study_goes_on_where_it_stopped_but_not_with_other_settings(finished: tuple[str, Path]) -> None:
    reference, out = finished
    figures = (out / "study.json").read_text()
    kept = out / "IID" / "psl" / "seed-1" / "result.json"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(out / "IID" / "gapsl" / "seed-2")
    resumed = edgebed(reference, "--size", "short", "--out", out)
    assert resumed.returncode == 0, resumed.stderr
    assert "5 of 6 runs are there already" in resumed.stderr
    assert kept.stat().st_mtime_ns == before
    assert (out / "study.json").read_text() == figures

    other = edgebed(reference, "--size", "short", "--out", out, "--set", "workload.batch_size=8")
    assert other.returncode == 2
    assert "has a run with other settings: name another folder" in other.stderr


def test_a_run_that_fails_leaves_the_others_and_is_named(reference: str, tmp_path: Path) -> None:
    ruin = "workload.algorithms.gapsl={server_rate: 1.0e+30}"
    done = edgebed(reference, "--seed", 1, "--set", ruin, "--out", tmp_path / "out", "--rounds", 5)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("edgebed: IID, gapsl, seed 1: ")
    assert re.search(r"round \d: the .* of client-\d is (nan|inf)", last)
    assert "run it again to go on" in last
    assert (tmp_path / "out" / "a-b" / "psl" / "seed-1" / "result.json").exists()


@pytest.mark.parametrize("whom", ["the command", "all its processes, as Ctrl-C does"])
def test_an_interrupted_study_stops_at_once_and_keeps_what_was_done(reference: str, tmp_path: Path, whom: str) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "emulator.cli", "run", reference, "--rounds", "100", "--jobs", "1", "--out", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        first = next(line for line in process.stderr if line.startswith("1/6"))
        if whom == "the command":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGINT)
        _, last = process.communicate(timeout=60)
    assert "IID, psl, seed 1" in first
    assert process.returncode == 1
    assert last.strip() == "edgebed: interrupted: every process it started has been stopped"
    assert len(list(out.rglob("result.json"))) < 3  # of six: what had not begun never did


def test_a_draw_that_leaves_a_client_nothing_is_refused_before_the_first_run(reference: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = edgebed(reference, "--set", "workload.data.alpha=0.001", "--set", "workload.batch_size=200", "--out", out)
    assert done.returncode == 2
    assert re.match(r"edgebed: a b, psl, seed 1: .*alpha 0.001 leaves client \d of 4 ", done.stderr)
    assert not list(out.iterdir())


def test_a_study_runs_in_virtual_time_alone(reference: str) -> None:
    done = edgebed(reference, "--runtime", "local")
    assert done.returncode == 2
    assert "is a study, which runs in virtual time: leave --runtime out" in done.stderr


def test_a_folder_that_cannot_be_is_one_line(reference: str) -> None:
    done = edgebed(reference, "--out", reference)
    assert done.returncode == 2
    assert done.stderr.strip() == f"edgebed: cannot create {reference}: File exists"


def test_a_size_is_for_studies() -> None:
    done = edgebed("demo", "--size", "short")
    assert done.returncode == 2
    assert "--size is for studies, and demo is none" in done.stderr
