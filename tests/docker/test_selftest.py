"""The self-test in containers, whoever starts them: what it finds of links, devices, memory and clocks there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from emulator.host import CORE_FLOPS
from tests.docker.project import Project, write
from tests.integration.running import edgebed

SPEED = "10000000000"
"""FLOP/s of a core, whatever this host's: what the nodes' shares of it are is known."""
SHARE = 0.2
SMALL = {"name": "small", "training": "2 GFLOP/s", "memory": "256 MiB", "source": "a test"}
LINK = {
    "source": "a test",
    "up": {"rate": "8 Mbit/s", "delay": "6 ms", "jitter": "2 ms", "loss": "0.1 %"},
    "down": {"rate": "40 Mbit/s", "delay": "2 ms"},
}
WIRE = {"source": "a test", "up": {"rate": "100 Mbit/s"}, "down": {"rate": "100 Mbit/s"}}
NODES = [
    {"role": "server", "device": SMALL, "link": WIRE},
    {"role": "client", "name": "near", "device": SMALL, "link": WIRE},
    {"role": "client", "name": "far", "device": SMALL, "link": LINK},
]
EVERYBODY = {"server", "near", "far"}
WAYS = {"near up", "near down", "far up", "far down"}


def in_docker(folder: Path, _: Callable[[Path], Project]) -> Path:
    """Under CPU quotas."""
    quota = ("--runtime", "docker", "--set", "compute=quota", "--out", "out")
    done = edgebed("selftest", "--testbed", "three.yaml", *quota, cwd=folder)
    _check_end(done.status, done.out, folder / "out", "testbed three, docker runtime")
    shares = ", ".join(f"{node['name']} {SHARE}" for node in ({"name": "server"}, *NODES[1:]))
    assert f"note: CPU quotas in cores, read back by each node: {shares}" in done.err
    return folder / "out"


def in_compose(folder: Path, project: Callable[[Path], Project]) -> Path:
    write(folder, "three.yaml", "--selftest", "--set", "time_scale=1", speed=SPEED)
    status, output = project(folder).run("up", "--exit-code-from", "testbed", "testbed")
    _check_end(status, output, folder / "runs/selftest-1", "testbed three, compose runtime")
    return folder / "runs/selftest-1"


def _check_end(status: int, said: str, folder: Path, what: str) -> None:
    assert status in (0, 3), said
    verdict = json.loads((folder / "selftest.json").read_text())["verdict"]
    assert status == (0 if verdict["valid"] else 3)
    assert what in said
    assert all(check["ok"] or check["reason"] for check in verdict["checks"]), verdict


@pytest.mark.parametrize("run", [in_docker, in_compose])
def test_in_containers_everything_is_checked_and_memory_beyond_a_devices_kills_who_takes_it(
    docker_engine: docker.DockerClient,
    here: Path,
    project: Callable[[Path], Project],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Path, Callable[[Path], Project]], Path],
) -> None:
    monkeypatch.setenv(CORE_FLOPS, SPEED)
    (here / "three.yaml").write_text(yaml.safe_dump({"nodes": NODES}))
    result = json.loads((run(here, project) / "selftest.json").read_text())

    def figures(name: str) -> dict[str, dict[str, Any]]:
        found = {figure["of"]: figure for figure in result["figures"] if figure["name"] == name}
        assert all(figure["achieved"] is not None for figure in found.values()), name
        return found

    for name in ("rate_error", "delay_error", "together_lateness"):
        assert figures(name).keys() == WAYS, name
    assert figures("jitter_distance").keys() == figures("loss_effect").keys() == {"far up"}
    assert figures("unfairness").keys() == {"server up", "server down"}
    assert figures("timer_overshoot").keys() == EVERYBODY
    assert all(abs(figure["achieved"]) < 1e-6 for figure in figures("promise_error").values())
    assert figures("clock_offset").keys() == EVERYBODY
    assert all(figure["error"] == 0 for figure in figures("clock_offset").values())

    memory = figures("memory_limit")
    assert memory.keys() == EVERYBODY
    assert all(figure["ok"] and figure["note"] == "refused" for figure in memory.values()), memory

    for name in ("cpu_share", "cpu_share_together"):
        assert figures(name).keys() == EVERYBODY
        for share in figures(name).values():
            assert share["configured"] == pytest.approx(SHARE)
            # Never more, be it by the kernel's quota or by holding back; less only as far as other work has its cores.
            assert 0.5 * SHARE < share["achieved"] < 1.02 * SHARE, share
