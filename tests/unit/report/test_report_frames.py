import json
import sys
from pathlib import Path

import pytest

import edgebed
from emulator.errors import EdgebedError, InputError
from emulator.report import files
from tests.made_runs import make_run
from tests.tolerance import assert_close

pytest.importorskip("pandas")


def test_a_run_is_loaded_as_tidy_frames(tmp_path: Path) -> None:
    make_run(tmp_path, rounds=5, every=2)
    result = json.loads((tmp_path / files.RESULT).read_text())["algorithms"]
    loaded = edgebed.load(tmp_path)
    assert loaded.verdict == "VALID"
    assert list(loaded.algorithms["algorithm"]) == ["gapsl", "psl"]
    psl = loaded.algorithms.set_index("algorithm").loc["psl"]
    assert psl["latency_mean_s"] == result["psl"]["round_latency_s"]["mean"]
    assert psl["bytes_up"] == result["psl"]["bytes"]["up"]
    assert psl["straggler"] == "client-1"

    assert len(loaded.rounds) == 10
    of_psl = loaded.rounds[loaded.rounds["algorithm"] == "psl"]
    assert_close(of_psl["latency_s"].sum(), result["psl"]["emulated_s"])
    assert of_psl["accuracy"].notna().sum() == 3
    assert_close(float(loaded.stages["seconds"].sum()), float(loaded.rounds["latency_s"].sum()))


def test_every_recorded_number_and_every_span_is_there(tmp_path: Path) -> None:
    loaded = edgebed.load(str(make_run(tmp_path, rounds=3)))
    lines = (tmp_path / files.TIMELINE).read_text().splitlines()
    assert len(loaded.spans) == len(lines)
    assert set(loaded.spans["stage"]) == {json.loads(line)["stage"] for line in lines}
    angle = loaded.metrics[loaded.metrics["metric"] == "mean_angle"]
    assert list(angle["algorithm"].unique()) == ["gapsl"]
    assert len(angle) == 3
    assert angle["emulated_s"].is_monotonic_increasing


def test_an_empty_run_gives_empty_frames_with_their_columns(tmp_path: Path) -> None:
    make_run(tmp_path)
    for name in (files.TIMELINE, files.METRICS, files.RESULT):
        (tmp_path / name).unlink()
    loaded = edgebed.load(tmp_path)
    assert loaded.verdict == "EMPTY"
    assert loaded.rounds.empty
    assert "latency_s" in loaded.rounds.columns


def test_a_folder_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run's folder"):
        edgebed.load(tmp_path)


def test_without_pandas_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EdgebedError, match=r"needs pandas: pip install 'edgebed\[pandas\]'"):
        edgebed.load(make_run(tmp_path))
