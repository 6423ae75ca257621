"""The shipped programs on real data over real sockets: training, in the smallest form."""

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.running import Finished, edgebed, read_result

TESTBED = {
    "nodes": [
        {"role": "server", "device": "jetson-nano", "link": "ethernet-1g"},
        {"role": "client", "device": "raspberry-pi-4", "link": "wifi-5"},
        {"role": "client", "device": "raspberry-pi-3", "link": "wifi-4-far"},
    ]
}
ROUNDS = 3
SET = ("--set", "workload.evaluate.every=1", "--set", "workload.evaluate.samples=60", "--set", "workload.batch_size=8")
SET += ("--set", "calibration=none")  # what is predicted is another test's business


@dataclass
class Demo:
    """A run, and the files it left."""

    command: Finished
    result: dict[str, Any]
    spans: list[dict[str, Any]]
    metrics: list[dict[str, str]]


def demo(folder: Path, *options: str) -> Demo:
    (folder / "few.yaml").write_text(yaml.safe_dump(TESTBED))
    command = edgebed(
        "run", "demo", "--testbed", "few.yaml", "--rounds", ROUNDS, "--out", "out", *SET, *options, cwd=folder
    )
    assert command.status in (0, 3), command.err
    out = folder / "out"
    return Demo(
        command,
        read_result(out),
        [json.loads(line) for line in (out / "timeline.jsonl").read_text().splitlines()],
        list(csv.DictReader((out / "metrics.csv").read_text().splitlines())),
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return demo(tmp_path_factory.mktemp("demo"), "--algorithm", "gapsl", "--algorithm", "psl")


def test_both_algorithms_are_in_the_table_and_in_the_result(both: Demo) -> None:
    assert list(both.result["algorithms"]) == ["gapsl", "psl"]
    for name, one in both.result["algorithms"].items():
        assert f"\n{name} " in both.command.out
        assert one["rounds"] == ROUNDS
        assert 0 < one["round_latency_s"]["median"] < one["emulated_s"]
        assert set(one["stages_s"]) == {"client_forward", "uplink", "server_step", "downlink", "client_backward"}


def test_gapsl_puts_psls_bytes_on_the_wire_round_by_round(both: Demo) -> None:
    sent: dict[str, Counter[tuple[int, str, str]]] = {"gapsl": Counter(), "psl": Counter()}
    for span in both.spans:
        if span.get("peer") and not span.get("off_clock"):
            sent[span["run"]][span["round"], span["node"], span["peer"]] += span["bytes"]
    assert sent["gapsl"] == sent["psl"]
    clients = ("client-1", "client-2")
    ways = [("server", client) for client in clients] + [(client, "server") for client in clients]
    assert set(sent["psl"]) == {(number, *way) for number in range(1, ROUNDS + 1) for way in ways}
    assert both.result["algorithms"]["gapsl"]["bytes"] == both.result["algorithms"]["psl"]["bytes"]


def test_metrics_have_the_accuracy_of_every_round(both: Demo) -> None:
    rows = [(row["algorithm"], int(row["round"])) for row in both.metrics]
    assert rows == [(name, number) for name in ("gapsl", "psl") for number in range(1, ROUNDS + 1)]
    for row in both.metrics:
        assert 0 <= float(row["accuracy_min"]) <= float(row["accuracy"]) <= float(row["accuracy_max"]) <= 1
        assert float(row["emulated_s"]) > 0


def test_the_same_seed_gives_the_same_accuracy(both: Demo, tmp_path: Path) -> None:
    again = demo(tmp_path, "--algorithm", "psl")
    learnt = ("round", "accuracy", "accuracy_min", "accuracy_max", "loss")
    first = [[row[name] for name in learnt] for row in both.metrics if row["algorithm"] == "psl"]
    assert [[row[name] for name in learnt] for row in again.metrics] == first
