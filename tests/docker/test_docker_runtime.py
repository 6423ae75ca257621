"""A testbed in containers: what a run leaves, what its containers may do, and that it measures what processes do."""

import json
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError

from emulator.errors import EdgebedError
from emulator.experiment import SLEEPY
from emulator.runtime.containers import Containers
from emulator.runtime.engine import Engine
from tests.docker.testbed import Run
from tests.integration.bus_world import on_loop
from tests.integration.running import PING_PONG, edgebed, read_result, sleepy_host, write_experiment
from tests.tolerance import assert_close


def test_a_run_leaves_a_folder_and_nothing_in_the_engine(docker_engine: docker.DockerClient, here: Path) -> None:
    program = PING_PONG.replace("async def client(node):", "async def client(node):\n    print('hello', flush=True)", 1)
    finished = Run(docker_engine, write_experiment(here, program, algorithms=["one", "two"]), "--out", "out").finish()
    result = read_result(here / "out")
    assert finished.status == (0 if result["verdict"]["valid"] else 3), finished.err
    assert result["runtime"] == "docker"
    assert list(result["algorithms"]) == ["one", "two"]
    assert result["host"]["hub_priority"] is None  # it is raised in its container, whoever runs the command
    assert {path.name for path in (here / "out/logs").iterdir()} == {"hub.log", "server.log", "client.log"}
    assert (here / "out/logs/client.log").read_text() == "hello\nhello\n"
    spans = [json.loads(line) for line in (here / "out/timeline.jsonl").read_text().splitlines()]
    assert {span["stage"] for span in spans} >= {"think", "ping", "pong"}


LOOKS_AROUND = """
import errno, os, pathlib, sys
import emulator

def refused(write):
    try:
        write()
    except OSError as error:
        return errno.errorcode[error.errno]

async def look(node):
    print("root" if os.getuid() == 0 else "a user")
    print("folder", refused(lambda: pathlib.Path("made-here").touch()))
    print("system", refused(lambda: pathlib.Path("/opt/made-here").touch()))
    pathlib.Path("/tmp/scratch").write_text("is the container's own")
    print("rights", [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))])
    print("code of the image", not emulator.__file__.startswith(os.getcwd()))
    print("reads", pathlib.Path("data.txt").read_text())
    print("has started", flush=True)
    await node.receive()

server = client = look
"""


def test_nodes_have_the_limits_of_their_devices_and_few_rights(docker_engine: docker.DockerClient, here: Path) -> None:
    (here / "data.txt").write_text("the user's own data")
    (here / "emulator").mkdir()  # a checkout, say
    devices = [
        {"name": "fast", "training": "8 GFLOP/s", "memory": "unlimited", "source": "a test"},
        {"name": "slow", "training": "6 GFLOP/s", "memory": "300 MiB", "source": "a test"},
    ]
    nodes = [
        {"role": role, "device": device, "link": "lan-unlimited"}
        for role, device in zip(("server", "client"), devices, strict=True)
    ]
    run = Run(docker_engine, write_experiment(here, LOOKS_AROUND, testbed={"name": "two", "nodes": nodes}))
    containers = run.wait_until_started()
    limits = {name: container.attrs["HostConfig"] for name, container in containers.items()}
    assert limits["client"]["Memory"] == limits["client"]["MemorySwap"] == 300 * 2**20
    assert limits["server"]["Memory"] == 0
    assert_close(limits["client"]["CpuQuota"] / limits["client"]["CpuPeriod"], 0.75, what="cores of the slow one")
    assert limits["server"]["CpuQuota"] == 0
    assert limits["hub"]["CapAdd"] == ["SYS_NICE"]
    assert all(container.labels["edgebed"] == "1" for container in containers.values())
    said = containers["client"].logs().decode().splitlines()
    run.process.terminate()
    run.finish()
    assert said == [
        "a user",
        "folder EROFS",
        "system EROFS",
        "rights ['0000000000000000', '0000000000000000']",
        "code of the image True",
        "reads the user's own data",
        "has started",
    ]
    assert not (here / "made-here").exists()


@pytest.mark.alone
def test_containers_measure_what_processes_do(docker_engine: docker.DockerClient, here: Path) -> None:
    device = {"name": "a-board", "training": "4 GFLOP/s", "memory": "1 GiB", "source": "a test"}
    experiment = write_experiment(here, BUSY, device=device, rounds=12)
    assert edgebed("run", experiment, "--out", "local", cwd=here).status in (0, 3)
    assert Run(docker_engine, experiment, "--out", "docker").finish().status in (0, 3)
    local, inside = (read_result(here / name)["algorithms"]["tiny"]["round_latency_s"] for name in ("local", "docker"))
    assert_close(inside["median"], local["median"], relative=0.10, what="seconds of a round")


@pytest.mark.alone
def test_cores_sleep_beside_containers_and_the_result_says_so(
    docker_engine: docker.DockerClient, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "cache").mkdir()
    for key, value in sleepy_host(here / "cache").items():
        monkeypatch.setenv(key, value)
    assert Run(docker_engine, write_experiment(here), "--out", "out").finish().status in (0, 3)
    host = read_result(here / "out")["host"]
    assert host["kept_awake"] is False
    assert SLEEPY in host["notes"]


BUSY = """
import time

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.receive("ping")
        await node.send("client", "pong")

async def client(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", lambda: burn(0.01))
        await node.send("server", "ping")
        await node.receive("pong")
"""


@on_loop
async def test_a_name_that_is_taken_is_one_line(docker_engine: docker.DockerClient, tmp_path: Path) -> None:
    engine = await Engine.connect()
    image = docker_engine.images.list("edgebed")[0].tags[0]
    command: tuple[Any, ...] = ("client", ["sleep", "600"], {})
    async with Containers(engine, image, "one-name", tmp_path / "first") as first:
        await first.open()
        await first.start(*command)
        second = Containers(engine, image, "one-name", tmp_path / "second")
        with pytest.raises(EdgebedError, match="cannot make a network: its name is taken"):
            await second.open()
        with pytest.raises(EdgebedError, match="cannot make the container of client: its name is taken"):
            await second.start(*command)
    with pytest.raises(APIError, match="No such container"):
        docker_engine.containers.get("edgebed-one-name-client")
