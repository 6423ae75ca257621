"""Prediction beside measurement: the shipped programs in virtual time, and as processes."""

import csv
import json
import re
import shutil
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator import host
from emulator.control.found import Testbed, running
from tests.integration.running import Command, Finished, read_result, write_experiment
from tests.tolerance import assert_close

TESTBED = {
    "nodes": [
        {"role": "server", "device": "jetson-nano", "link": "ethernet-1g"},
        {"role": "client", "device": "raspberry-pi-4", "link": "wifi-5"},
        {"role": "client", "device": "raspberry-pi-3", "link": "wifi-4-far"},
    ]
}
ROUNDS = 12
ALGORITHMS = ("gapsl", "sfl")
EXPERIMENT = (
    "demo", "--testbed", "few.yaml", "--rounds", ROUNDS, "--algorithm", "gapsl", "--algorithm", "sfl",
    "--set", "workload.evaluate.every=4", "--set", "workload.evaluate.samples=60",
    "--set", "workload.algorithms.sfl.interval=5",
)  # fmt: skip
PATIENCE = 280.0
"""Seconds for a command that calibrates first, however busy the machine is."""

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]


def edgebed(*arguments: object, cwd: Path) -> Finished:
    """Run a command that may calibrate first: that takes longer than most."""
    command = Command(*arguments, cwd=cwd)
    try:
        out, err = command.process.communicate(timeout=PATIENCE)
    finally:
        if command.process.poll() is None:
            command.process.terminate()
            command.process.communicate()
    assert not command.processes()
    assert "Traceback" not in out + err, err
    return Finished(command.process.returncode, out, err)


@dataclass
class Both:
    """The same experiment as processes and in virtual time, in one folder."""

    folder: Path
    local: Finished
    virtual: Finished

    def result(self, name: str) -> dict[str, Any]:
        return read_result(self.folder / name)

    def spans(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name / "timeline.jsonl").read_text().splitlines()]

    def metrics(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((self.folder / name / "metrics.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own, with this host's speed in it."""
    host.this_host()
    measured, folder = host.cache_file(), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder))
        host.cache_file().parent.mkdir(parents=True)
        shutil.copy(measured, host.cache_file())
        yield folder / "edgebed"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Both:
    folder = tmp_path_factory.mktemp("both")
    (folder / "few.yaml").write_text(yaml.safe_dump(TESTBED))
    options = ("--testbed", "few.yaml", "--algorithm", "gapsl", "--algorithm", "sfl", "--seconds", 3)
    made = edgebed("calibrate", "demo", *options, cwd=folder)
    assert made.status == 0, made.err
    local = edgebed("run", *EXPERIMENT, "--out", "local", cwd=folder)
    virtual = edgebed("run", *EXPERIMENT, "--runtime", "virtual", "--out", "virtual", cwd=folder)
    assert local.status in (0, 3), local.err
    assert virtual.status == 0, virtual.err
    return Both(folder, local, virtual)


def test_accuracies_and_losses_are_the_local_runtimes_to_the_last_bit(both: Both) -> None:
    learnt = ("algorithm", "round", "accuracy", "accuracy_min", "accuracy_max", "loss")
    local, virtual = ([[row[name] for name in learnt] for row in both.metrics(name)] for name in ("local", "virtual"))
    assert len(local) == len(ALGORITHMS) * ROUNDS
    assert local == virtual


def test_the_same_messages_of_the_same_bytes_cross_the_links(both: Both) -> None:
    def messages(name: str) -> Counter[tuple[Any, ...]]:
        keys = ("run", "round", "node", "peer", "stage", "bytes")
        return Counter(tuple(span[key] for key in keys) for span in both.spans(name) if span.get("peer"))

    assert messages("local") == messages("virtual")


def test_a_prediction_stands_beside_every_measured_run(both: Both) -> None:
    assert "dicted" in both.local.out
    for one in both.result("local")["algorithms"].values():
        predicted = one["predicted"]
        assert predicted["error"] == pytest.approx(
            predicted["round_latency_s"]["mean"] / one["round_latency_s"]["mean"] - 1
        )
        assert predicted["stages_s"].keys() == one["stages_s"].keys()
    rows = list(csv.DictReader((both.folder / "local" / "prediction.csv").read_text().splitlines()))
    clocked = [span for span in both.spans("local") if not span.get("off_clock")]
    assert len(rows) == len(clocked)
    assert all(row["measured_s"] and row["predicted_s"] for row in rows if row["stage"] != "wait")


def test_the_virtual_run_is_what_was_predicted_but_for_the_speed_of_the_cores(both: Both) -> None:
    """Without its probes it is predicted at the speed at which the host was calibrated, as a virtual run is."""
    shutil.copytree(both.folder / "local", both.folder / "unprobed")
    spans = [{name: value for name, value in span.items() if name != "probe"} for span in both.spans("local")]
    (both.folder / "unprobed" / "timeline.jsonl").write_text("".join(json.dumps(span) + "\n" for span in spans))
    told = edgebed("predict", "unprobed", "--json", cwd=both.folder)
    assert told.status == 0, told.err
    virtual, runs = both.result("virtual")["algorithms"], json.loads(told.out)["runs"]
    for name in ALGORITHMS:
        assert virtual[name]["predicted"] is None
        assert_close(
            virtual[name]["round_latency_s"]["mean"],
            runs[name]["agreement"]["round_latency_s"]["mean"],
            what=f"mean round of {name}",
        )


def test_next_to_each_computation_its_core_was_probed(both: Both) -> None:
    computed = [span for span in both.spans("local") if span.get("mode")]
    assert computed
    assert all(span["probe"] > 0 for span in computed)
    assert not any("probe" in span for span in both.spans("virtual"))
    for one in both.result("local")["algorithms"].values():
        assert 0.4 < one["predicted"]["slower"] < 2.5  # what else the host does


def test_the_prediction_agrees_with_what_links_and_devices_promised(both: Both) -> None:
    # Beside what was promised, not what came: a host that others use is late, and the verdict says so.
    ratios: dict[tuple[str, str], float] = {}
    durations: dict[str, dict[tuple[str, str], list[float]]] = {"local": {}, "virtual": {}}
    for name, found in durations.items():
        for span in both.spans(name):
            if span["round"] > 1 and span.get("due") is not None and not span.get("off_clock"):
                found.setdefault((span["run"], span["stage"]), []).append(span["due"] - span["start"])
    assert durations["local"].keys() == durations["virtual"].keys()
    for key, promised in durations["local"].items():
        ratios[key] = statistics.median(durations["virtual"][key]) / statistics.median(promised)
    for (run, stage), ratio in ratios.items():
        if stage in ("uplink", "downlink", "model_up", "model_down"):
            assert_close(ratio, 1.0, relative=0.05, what=f"predicted over promised {stage} of {run}")
        else:
            # What a stage takes this host's core changes with what else the host does.
            assert 0.4 < ratio < 2.5, f"predicted over promised {stage} of {run}: {ratio:.2f}"


def test_the_ranking_of_the_clients_is_the_measured_one(both: Both) -> None:
    def slowest_first(name: str) -> list[str]:
        taken: defaultdict[str, float] = defaultdict(float)
        for span in both.spans(name):
            if span.get("due") is not None and not span.get("off_clock") and span["node"] != "server":
                taken[span["node"]] += span["due"] - span["start"]
        return sorted(taken, key=lambda node: -taken[node])

    assert slowest_first("local") == slowest_first("virtual") == ["client-2", "client-1"]


def test_a_valid_run_takes_what_was_predicted(both: Both) -> None:
    result = both.result("local")
    if not result["verdict"]["valid"]:
        pytest.skip("the host was busy: the run itself is INVALID")
    for name, one in result["algorithms"].items():
        ratio = 1 + one["predicted"]["error"]
        assert_close(ratio, 1.0, relative=0.20, what=f"predicted over measured round of {name}")


def test_a_virtual_run_is_the_same_byte_for_byte(both: Both) -> None:
    again = edgebed("run", *EXPERIMENT, "--runtime", "virtual", "--out", "again", cwd=both.folder)
    assert again.status == 0
    first, second = ((both.folder / name / "timeline.jsonl").read_bytes() for name in ("virtual", "again"))
    assert first == second


def test_latencies_alone_need_no_training(both: Both) -> None:
    rehearsed = edgebed(
        "run", *EXPERIMENT, "--runtime", "virtual", "--set", "training=false", "--out", "rehearsed", cwd=both.folder
    )
    assert rehearsed.status == 0, rehearsed.err
    assert "accuracy" not in rehearsed.out.splitlines()[0]
    rehearsal, training = ((both.folder / name / "timeline.jsonl").read_bytes() for name in ("rehearsed", "virtual"))
    assert rehearsal == training
    assert all(one["accuracy"] is None for one in both.result("rehearsed")["algorithms"].values())


def test_a_calibration_was_kept_and_is_explained_by_predict(both: Both, cache: Path) -> None:
    assert len(list((cache / "calibrations").glob("digits-vgg*.json"))) == 1
    told = edgebed("predict", "local", cwd=both.folder)
    assert told.status == 0, told.err
    for words in ("gapsl: a round takes", "measured", "straggler       client-2", "bottleneck", "critical path"):
        assert words in told.out
    runs = json.loads(edgebed("predict", "local", "--json", cwd=both.folder).out)["runs"]
    for name, one in both.result("local")["algorithms"].items():
        assert_close(runs[name]["agreement"]["error"], one["predicted"]["error"], what="the error of the run")
        # With the CPU times that were measured, all that is left is what the host was late by.
        assert runs[name]["replayed"]["round_latency_s"]["mean"] <= 1.02 * one["round_latency_s"]["mean"]
        if both.result("local")["verdict"]["valid"]:
            assert_close(1 + runs[name]["replayed"]["error"], 1.0, relative=0.10, what=f"replayed over measured {name}")


def test_a_run_is_retimed_for_another_testbed(both: Both) -> None:
    other = {**TESTBED, "nodes": [{**node, "link": "ethernet-1g"} for node in TESTBED["nodes"]]}
    (both.folder / "wired.yaml").write_text(yaml.safe_dump(other))
    told = edgebed("predict", "local", "--testbed", "wired.yaml", "--curves", "curves.csv", "--json", cwd=both.folder)
    assert told.status == 0, told.err
    rows = list(csv.DictReader((both.folder / "curves.csv").read_text().splitlines()))
    accuracies = [(row["algorithm"], row["round"], row["accuracy"]) for row in both.metrics("local") if row["accuracy"]]
    assert [(row["algorithm"], row["round"], row["accuracy"]) for row in rows] == accuracies
    assert all(float(row["emulated_s"]) < float(row["recorded_s"]) for row in rows)


def test_what_a_calibration_is_off_by_is_told_from_what_links_and_protocol_are(both: Both, cache: Path) -> None:
    (kept,) = (cache / "calibrations").glob("*.json")
    calibration = json.loads(kept.read_text())
    for stage in calibration["cost"]["stages"]:
        stage |= {key: stage[key] / 3 for key in ("overhead", "first", "cold")}
        stage["efficiency"] = stage["efficiency"] and 3 * stage["efficiency"]
    (both.folder / "off.json").write_text(json.dumps(calibration))
    done = edgebed("run", *EXPERIMENT, "--rounds", 4, "--set", "calibration=off.json", "--out", "off", cwd=both.folder)
    assert done.status in (0, 3), done.err
    for name, one in read_result(both.folder / "off")["algorithms"].items():
        note = re.search(rf"{name}: its computations took ([\d.]+) times .* by (\S+) % at the CPU time", done.err)
        assert note, done.err
        ratio, rest = map(float, note.groups())
        assert ratio > 1.5, f"{name}: {ratio}"
        assert abs(rest) / 100 < abs(one["predicted"]["error"]) / 2, f"{name}: {rest} % of {one['predicted']['error']}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["predict", "local", "--rounds", "3"], "--rounds: local is as it was run"),
        (["predict", "demo", "--target", "50 %"], "what is not trained has no accuracy"),
        (["predict", "local", "--testbed", "demo"], "4 nodes of role 'client' cannot take the place of 2"),
        (["predict", "local", "--algorithm", "gaspl"], "local has no such run: did you mean 'gapsl'?"),
        (["predict", "."], "no folder of a finished run"),
        (["run", *EXPERIMENT, "--set", "training=false"], "training: false measures nothing: add --runtime virtual"),
        (["run", *EXPERIMENT, "--set", "calibration=no.json"], "no.json: cannot be read"),
        (
            ["run", *EXPERIMENT, "--set", "workload.model.cut=relu2", "--set", "calibration=kept.json"],
            "is a calibration of digits-vgg with 9 layers on the client; 2 client, 1 server, and this experiment is",
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_line(
    both: Both, cache: Path, arguments: list[Any], reason: str
) -> None:
    (kept,) = (cache / "calibrations").glob("*.json")
    shutil.copy(kept, both.folder / "kept.json")
    done = edgebed(*arguments, cwd=both.folder)
    assert done.status == 2
    assert reason in done.line


def test_a_program_that_says_nothing_of_its_work_is_measured_without_a_prediction(tmp_path: Path, cache: Path) -> None:
    done = edgebed("run", write_experiment(tmp_path), "--out", "out", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert read_result(tmp_path / "out")["algorithms"]["tiny"]["predicted"] is None


def test_once_calibrated_such_a_program_is_predicted_too(tmp_path: Path, cache: Path) -> None:
    experiment = write_experiment(tmp_path)
    calibrating, announced = Command("calibrate", experiment, cwd=tmp_path), list[Testbed]()
    while calibrating.process.poll() is None:
        announced += [one for one in running() if one.pid == calibrating.process.pid]
        time.sleep(0.02)
    made = calibrating.finish()
    assert made.status == 0, made.err
    assert not announced, "what calibrates is nobody's testbed"
    assert "think" in made.out
    told = edgebed("predict", experiment, cwd=tmp_path)
    assert told.status == 0, told.err
    assert "tiny: a round takes" in told.out
    done = edgebed("run", experiment, "--out", "out", cwd=tmp_path)
    assert read_result(tmp_path / "out")["algorithms"]["tiny"]["predicted"] is not None, done.err
