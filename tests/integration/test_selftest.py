"""`edgebed selftest`, by the command that users type, over real sockets and in real processes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.running import Edgebed, Finished, edgebed

LINK = {
    "source": "a test",
    "up": {"rate": "8 Mbit/s", "delay": "20 ms", "jitter": "4 ms", "loss": "0.1 %"},
    "down": {"rate": "40 Mbit/s", "delay": "10 ms"},
}
WIRE = {"source": "a test", "up": {"rate": "1 Gbit/s"}, "down": {"rate": "1 Gbit/s"}}
NODES = [
    {"role": "server", "device": "raspberry-pi-4", "link": WIRE},
    {"role": "client", "name": "near", "device": "raspberry-pi-3", "link": WIRE},
    {"role": "client", "name": "far", "device": "raspberry-pi-3", "link": LINK},
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    folder = tmp_path_factory.mktemp("selftest")
    (folder / "three.yaml").write_text(yaml.safe_dump({"nodes": NODES}))
    return edgebed("selftest", "--testbed", "three.yaml", cwd=folder), folder / "runs/selftest-1"


@pytest.fixture
def result(done: tuple[Finished, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done[1] / "selftest.json").read_text())
    return found


def figures(result: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {figure["of"]: figure for figure in result["figures"] if figure["name"] == name}


def test_every_link_and_device_has_its_figures(result: dict[str, Any]) -> None:
    ways = {"near up", "near down", "far up", "far down"}
    for name in ("rate_error", "delay_error", "promise_error", "together_lateness"):
        assert figures(result, name).keys() == ways, name
    assert figures(result, "jitter_distance").keys() == {"far up"}
    assert figures(result, "loss_effect").keys() == {"far up"}
    assert figures(result, "unfairness").keys() == {"server up", "server down"}
    for name in ("cpu_share", "cpu_share_together", "timer_overshoot", "memory_limit", "clock_offset"):
        assert figures(result, name).keys() == {"server", "near", "far"}, name


def test_the_links_are_what_the_profiles_say_however_busy_the_host_is(result: dict[str, Any]) -> None:
    for figure in figures(result, "promise_error").values():
        assert abs(figure["achieved"]) < 1e-6
    rate = figures(result, "rate_error")["far up"]
    assert rate["configured"] == 8e6
    # Never above the link's rate by more than one late message explains; below it as far as the host is busy.
    assert 0.5 * rate["configured"] < rate["achieved"] < 1.1 * rate["configured"]
    assert figures(result, "delay_error")["far up"]["achieved"] >= 0.020


def test_memory_beyond_the_devices_is_refused(result: dict[str, Any]) -> None:
    for figure in figures(result, "memory_limit").values():
        assert figure["ok"], figure
        assert figure["note"] == "refused"
        assert math.isclose(figure["achieved"], figure["configured"], rel_tol=0.01)


def test_one_host_has_one_clock(result: dict[str, Any]) -> None:
    for figure in figures(result, "clock_offset").values():
        assert figure["error"] == 0, figure


def test_the_exit_status_is_that_of_the_verdict_and_failures_name_their_cause(
    done: tuple[Finished, Path], result: dict[str, Any]
) -> None:
    finished, _ = done
    assert finished.status == (0 if result["verdict"]["valid"] else 3)
    assert ("INVALID" in finished.out) is (finished.status == 3)
    assert "testbed three, local runtime" in finished.out
    assert "far up" in finished.out
    for check in result["verdict"]["checks"]:
        assert check["ok"] or check["reason"], check


def test_it_leaves_a_folder_from_which_it_runs_again(done: tuple[Finished, Path]) -> None:
    _, folder = done
    assert {path.name for path in folder.iterdir()} == {
        "experiment.yaml", "timeline.jsonl", "metrics.csv", "selftest.json", "logs"
    }  # fmt: skip
    again = yaml.safe_load((folder / "experiment.yaml").read_text())
    assert again["programs"] == dict.fromkeys(("server", "client"), "emulator.selftest:node")
    assert again["rounds"] == len(again["workload"]["phases"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--time-scale", "0"), "--time-scale: '0' is no time scale: write a number above 0 and at most 1e6, or auto"),
        (("--time-scale", "fast"), "--time-scale: 'fast' is no time scale: write a number above 0"),
        (("--testbed", "dmeo"), "unknown testbed 'dmeo': did you mean 'demo'?"),
        (("--runtime", "virtual"), "Invalid value for '--runtime'"),
        (("--runtime", "compose"), "--runtime compose is what runs in the service 'testbed': write a file"),
        (("--set", "rounds=3"), "--set rounds: the self-test has no such key: choose one of bus, compute, "),
        (("--set", "links=kernel"), "--set links: the self-test has no such key: "),
        (("--set", "compute=half"), "selftest with compute set on the command line: compute: Input should be "),
        (("--set", "compute=quota"), "compute: quota needs nodes in containers: add --runtime docker, or leave "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...], line: str, command: Edgebed) -> None:
    refused = command("selftest", *arguments)
    assert refused.status == 2
    assert refused.line.startswith(line)
