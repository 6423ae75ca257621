"""Rounds that go on without late clients, with real processes."""

import csv
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.integration.running import Command, edgebed, read_result

DEVICE = {"name": "board", "training": "10 GFLOP/s", "memory": "8 GiB", "source": "a test"}
USUAL, SLOW = "20 Mbit/s", "20 kbit/s"
WORKLOAD = {
    "data": {"name": "digits", "partition": "iid"},
    "model": {"name": "digits-cnn", "cut": "relu1"},
    "evaluate": {"every": 5, "samples": 100},
}


def link(rate: str) -> dict[str, Any]:
    return {"source": "a test", "up": {"rate": rate, "delay": "5 ms"}, "down": {"rate": rate, "delay": "5 ms"}}


def write(
    folder: Path,
    algorithms: list[str],
    rounds: int,
    participation: Mapping[str, Any],
    rate: str = USUAL,
) -> Path:
    """A server and three clients, the second of which has a link of its own `rate`."""
    rates = {"server": USUAL, "client-1": USUAL, "client-2": rate, "client-3": USUAL}
    nodes = [
        {"role": name.split("-")[0], "name": name, "device": DEVICE, "link": link(of)} for name, of in rates.items()
    ]
    content = {
        "testbed": {"name": "three", "nodes": nodes},
        "programs": {"server": "nodes.server:main", "client": "nodes.client:main"},
        "algorithms": algorithms,
        "rounds": rounds,
        "time_scale": 1.0,
        "calibration": "none",
        "workload": {**WORKLOAD, "participation": dict(participation)},
    }
    path = folder / "late.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def lost(folder: Path) -> dict[str, list[int]]:
    """Of each algorithm, how many clients each round went on without."""
    with (folder / "metrics.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["node"] == "server" and int(row["round"]) > 0]
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["algorithm"], []).append(int(float(row["lost_rounds"])))
    return found


def test_a_client_that_is_never_in_time_is_left_out_as_predicted(tmp_path: Path) -> None:
    # Its upload takes client-2 three seconds, and a model half a second, the others some milliseconds.
    path = write(tmp_path, ["psl", "sfl", "sl"], 4, {"deadline": "500 ms"}, rate=SLOW)
    done = edgebed("run", path, "--out", tmp_path / "measured", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert "lost" in done.out
    measured, result = lost(tmp_path / "measured"), read_result(tmp_path / "measured")
    assert measured == {"psl": [1] * 4, "sfl": [1] * 4, "sl": [1] * 4}
    for algorithm in measured:
        assert result["algorithms"][algorithm]["lost_client_rounds"] == 4
        assert result["algorithms"][algorithm]["rounds"] == 4
        assert result["algorithms"][algorithm]["accuracy"] is not None

    done = edgebed("run", path, "--runtime", "virtual", "--out", tmp_path / "virtual", cwd=tmp_path)
    assert done.status == 0, done.err
    assert lost(tmp_path / "virtual") == measured


def test_a_paused_process_is_late_and_comes_back(tmp_path: Path) -> None:
    rounds = 150  # some seconds: on a busy machine what has happened may be in the file as much later
    path = write(tmp_path, ["psl"], rounds, {"deadline": "500 ms"})
    command = Command("run", path, "--out", tmp_path / "paused", cwd=tmp_path)
    timeline = tmp_path / "paused" / "timeline.jsonl"

    def text() -> str:
        return timeline.read_text() if timeline.exists() else ""

    command.wait_for(lambda: '"round":5' in text(), "round 5")
    process = command.processes()["client-3"]
    process.send_signal(signal.SIGSTOP)
    try:
        command.wait_for(lambda: '"left_out"' in text(), "client-3 being left out")
    finally:
        process.send_signal(signal.SIGCONT)
    done = command.finish()
    assert done.status in (0, 3), done.err
    (counts,) = lost(tmp_path / "paused").values()
    assert len(counts) == rounds
    assert 1 <= sum(counts) < rounds - 10
    assert counts[-1] == 0  # back long since


def test_a_process_that_dies_is_lost_for_good_and_ends_no_run(tmp_path: Path) -> None:
    path = write(tmp_path, ["psl", "sl"], 40, {"deadline": "500 ms"})
    command = Command("run", path, "--out", tmp_path / "died", cwd=tmp_path)
    timeline = tmp_path / "died" / "timeline.jsonl"
    command.wait_for(lambda: timeline.exists() and '"round":5' in timeline.read_text(), "round 5")
    command.processes()["client-2"].kill()
    done = command.finish()
    assert done.status in (0, 3), done.err
    assert "client-2 died: killed by SIGKILL" in done.out + done.err
    counts = lost(tmp_path / "died")
    assert [len(of_run) for of_run in counts.values()] == [40, 40]
    assert counts["psl"][-1] == 1
    assert counts["sl"] == [1] * 40
    assert read_result(tmp_path / "died")["algorithms"]["sl"]["accuracy"] is not None


def test_a_process_that_is_silent_for_too_long_is_lost_for_good(tmp_path: Path) -> None:
    path = write(tmp_path, ["psl"], 220, {"deadline": "500 ms"})
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "deadlines": {"silence": "3 s"}}))
    command = Command("run", path, "--out", tmp_path / "silent", cwd=tmp_path)
    timeline = tmp_path / "silent" / "timeline.jsonl"
    command.wait_for(lambda: timeline.exists() and '"round":5' in timeline.read_text(), "round 5")
    process = command.processes()["client-2"]
    process.suspend()
    time.sleep(6)  # the hub looks each second; the rounds take twice as long
    process.resume()
    done = command.finish()
    assert done.status in (0, 3), done.err
    assert re.search(r"client-2 has been silent for \d s: stopped, or starved of CPU \(deadlines.silence\)", done.err)
    assert "the others have gone on without it for good" in (tmp_path / "silent/logs/client-2.log").read_text()
    (counts,) = lost(tmp_path / "silent").values()
    assert len(counts) == 220
    assert counts[-1] == 1


def test_without_a_deadline_a_process_that_dies_ends_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, ["psl"], 40, {"deadline": "500 ms"})
    content = yaml.safe_load(path.read_text())
    del content["workload"]["participation"]
    path.write_text(yaml.safe_dump(content))
    command = Command("run", path, "--out", tmp_path / "died", cwd=tmp_path)
    timeline = tmp_path / "died" / "timeline.jsonl"
    command.wait_for(lambda: timeline.exists() and '"round":5' in timeline.read_text(), "round 5")
    command.processes()["client-2"].kill()
    done = command.finish()
    assert done.status == 1
    assert "client-2 died: killed by SIGKILL" in done.err
