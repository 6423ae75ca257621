"""The testbed under Docker Compose and Docker Swarm, as users start it."""

import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import yaml

from emulator import library
from emulator.compose import TESTBED
from emulator.experiment import SLEEPY
from emulator.profiles import DeviceProfile
from tests.docker.checkout import copy_checkout
from tests.docker.project import OVERRIDE, SECONDS, Project, killed_at_last, known_speed, override, wait_for, write
from tests.integration.running import read_result, write_experiment

OWNER = 12345
SHORT = "--rounds 2 --algorithm psl"
"""Added to the demo: two rounds of one algorithm."""

BUSY = """
import time

def work():
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for client in node.peers["client"]:
            await node.receive("done", client)
        for client in node.peers["client"]:
            await node.send(client, "next")

async def client(node):
    (server,) = node.peers["server"]
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", work)
        await node.send(server, "done")
        await node.receive("next")
"""
LINK = {"source": "a test", "up": {"rate": "10 Mbit/s"}, "down": {"rate": "10 Mbit/s"}}


@pytest.fixture
def checkout(here: Path) -> Path:
    return copy_checkout(here)


def nodes_of(testbed: str) -> dict[str, DeviceProfile]:
    nodes = library.load_testbed(testbed).nodes
    return {str(node.name): node.device for node in nodes if isinstance(node.device, DeviceProfile)}


# -- the demo


def test_up_testbed_runs_the_demo_and_leaves_its_results_to_the_folders_owner(
    docker_engine: docker.DockerClient, checkout: Path, project: Callable[[Path], Project]
) -> None:
    runs = checkout / "runs"
    runs.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(runs, OWNER, OWNER)
    owner = runs.stat().st_uid
    mine = project(checkout)
    status, output = mine.run("up", "--exit-code-from", "testbed", "testbed", options=SHORT)

    result = read_result(runs / "demo-1")
    assert status == (0 if result["verdict"]["valid"] else 3), output
    assert list(result["algorithms"]) == ["psl"]
    assert result["runtime"] == "compose"
    assert result["host"]["hub_priority"] is None  # raised, though not root's
    assert all(path.stat().st_uid == owner for path in [runs / "demo-1", *(runs / "demo-1").rglob("*")])
    said = re.findall(r"^testbed-1 +\| (.*)$", output, re.MULTILINE)
    told = [line for line in said if not re.match(r"\w+: round \d+/\d+", line)]  # what is no progress
    if f"note: {SLEEPY}" in told:  # on standard error, so before the table or after
        told.remove(f"note: {SLEEPY}")
    assert told[0].split()[:3] == ["run", "accuracy", "round"], output
    assert "results: runs/demo-1" in said[-2:], output  # notes may follow it
    assert not re.findall(r"^(client|server).* \| ", output, re.MULTILINE)

    containers = mine.containers(docker_engine)
    devices = nodes_of("demo")
    assert containers.keys() == {"testbed", *devices}
    for name, device in devices.items():
        container = containers[name]
        assert container.wait(timeout=30)["StatusCode"] == 0
        limits = container.attrs["HostConfig"]
        assert (limits["Memory"], limits["MemorySwap"]) == (device.memory, device.memory)
        assert limits["NanoCpus"] == (1e9 if name == "server" else 0.5e9)
        assert limits["ReadonlyRootfs"]
        assert container.attrs["Config"]["User"] == "edgebed"


# -- a testbed of one's own


def test_who_is_in_touch_with_the_hub_is_healthy_and_shown_and_stopping_it_all_leaves_nothing_running(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project]
) -> None:
    write_experiment(here, rounds=100_000)
    write(here, "--experiment", "tiny.yaml")
    often = {"healthcheck": {"interval": "1s"}}
    override(here, {TESTBED: known_speed() | often, "server": often, "client": often})
    mine = project(here)
    running = mine.start("up", "testbed")

    def health() -> dict[str, str]:
        found = mine.containers(docker_engine)
        return {name: container.health for name, container in found.items()}

    with killed_at_last(running):
        everyone = dict.fromkeys(("testbed", "server", "client"), "healthy")
        wait_for(lambda: health() == everyone, "health", running)
        status, shown = mine.run("exec", "-T", "testbed", "edgebed", "status")
        assert status == 0, shown
        assert "client" in shown
        mine.run("stop", "--timeout", "10")
        output = running.communicate(timeout=SECONDS)[0]
    assert "interrupted: every process it started has been stopped" in output
    assert all(container.status == "exited" for container in mine.containers(docker_engine).values())


def test_two_testbeds_run_at_once_and_a_port_that_is_taken_is_refused_by_the_engine(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project]
) -> None:
    write_experiment(here, rounds=200)  # nearly ten seconds: longer than the others take to start
    write(here, "--experiment", "tiny.yaml")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first, second = project(here), project(here)
    running = first.start("up", "--exit-code-from", "testbed", "testbed", port=port)
    with killed_at_last(running):
        wait_for(lambda: _status(first, docker_engine) == "running", "the first testbed's start", running)
        status, output = second.run("up", "testbed", port=port)
        assert status != 0
        assert re.search(rf"{port}.*(port is already allocated|address already in use)", output), output
        status, output = second.run("up", "--exit-code-from", "testbed", "testbed", port=0, options="--rounds 3")
        assert status in (0, 3), output
        assert "results: runs/tiny-" in output
        output = running.communicate(timeout=SECONDS)[0]
    assert running.returncode in (0, 3), output
    assert {path.parent.name for path in (here / "runs").glob("*/result.json")} == {"tiny-1", "tiny-2"}


def _status(project: Project, engine: docker.DockerClient) -> str | None:
    testbed = project.containers(engine).get("testbed")
    return None if testbed is None else str(testbed.status)


@pytest.mark.parametrize("clients", [10, 40])
def test_compose_takes_what_is_written_for_other_testbeds(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project], clients: int
) -> None:
    if clients == 40:
        client = {"role": "client", "device": "raspberry-pi-4", "link": "wifi-5", "count": clients}
        nodes = [{"role": "server", "device": "jetson-nano", "link": "ethernet-1g"}, client]
        (here / "forty.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
    write(here, "forty.yaml" if clients == 40 else "mixed-10")
    status, output = project(here).run("config", "--format", "json")
    assert status == 0, output
    services = json.loads(output[output.index("{") :])["services"]
    assert len(services) == clients + 2
    assert services["client-1"]["mem_limit"] == str(2**30 if clients == 10 else 8 * 2**30)


def test_a_testbed_of_ones_own_that_wants_more_cores_than_there_are_runs_and_is_invalid(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project]
) -> None:
    cores = os.cpu_count() or 1
    path = write_experiment(here, BUSY, rounds=3, link=LINK)
    content = yaml.safe_load(path.read_text())
    content["testbed"]["nodes"][1]["count"] = cores + 1
    path.write_text(yaml.safe_dump(content))
    write(here, "--experiment", "tiny.yaml")
    status, output = project(here).run("up", "--exit-code-from", "testbed", "testbed")
    assert status == 3, output
    result = read_result(here / "runs/tiny-1")
    reasons = [check["reason"] for check in result["verdict"]["checks"] if not check["ok"]]
    wanted = f"host oversubscribed: {cores + 2} cores wanted, {cores} there: run with time_scale: auto or "
    assert any(wanted in reason for reason in reasons)
    # There was no folder for the results: the engine has made it, and the image's own user owns it now.
    assert (here / "runs/tiny-1").stat().st_uid == (1000 if os.geteuid() == 0 else os.geteuid())


def test_with_quotas_the_devices_are_made_by_the_limits_that_the_file_has(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project]
) -> None:
    device = {"name": "half", "training": "5 GFLOP/s", "memory": "1 GiB", "source": "a test"}
    write_experiment(here, BUSY, rounds=3, link=LINK, device=device, compute="quota", time_scale="auto")
    write(here, "--experiment", "tiny.yaml")
    (here / OVERRIDE).unlink()  # the speed that the file itself has is to hold
    mine = project(here)
    status, output = mine.run("up", "--exit-code-from", "testbed", "testbed")
    assert status in (0, 3), output
    host = read_result(here / "runs/tiny-1")["host"]
    limits = mine.containers(docker_engine)["client"].attrs["HostConfig"]
    share = 5e9 / host["core_flops"] / host["time_scale"]
    assert limits["CpuQuota"] / limits["CpuPeriod"] == pytest.approx(share, rel=0.01)
    spans = [json.loads(line) for line in (here / "runs/tiny-1/timeline.jsonl").read_text().splitlines()]
    assert "quota" in {span["mode"] for span in spans if span["stage"] == "think"}


# -- swarm


@pytest.fixture
def swarm(docker_engine: docker.DockerClient) -> Iterator[str]:
    """A swarm of this host alone, labelled for everything; its name as a stack."""
    if docker_engine.info()["Swarm"]["LocalNodeState"] != "inactive":
        pytest.skip("this engine is in a swarm already")
    before = {network.name for network in docker_engine.networks.list()}
    docker_engine.swarm.init(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:0")
    name = f"edgebed-test-{uuid.uuid4().hex[:8]}"
    try:
        (node,) = docker_engine.nodes.list()
        labels = {"edgebed.hub": "true", "edgebed.clients": "true"}
        node.update({"Availability": "active", "Role": "manager", "Labels": labels})
        yield name
        subprocess.run(["docker", "stack", "rm", name], capture_output=True, timeout=60)
    finally:
        docker_engine.swarm.leave(force=True)
        _remove_what_is_left(docker_engine, name, before)


def _remove_what_is_left(engine: docker.DockerClient, stack: str, networks: set[str]) -> None:
    for container in engine.containers.list(all=True, filters={"label": f"com.docker.stack.namespace={stack}"}):
        container.remove(force=True)
    for volume in engine.volumes.list(filters={"label": f"com.docker.stack.namespace={stack}"}):
        volume.remove(force=True)
    for network in engine.networks.list():
        if network.name == "docker_gwbridge" and network.name not in networks:
            network.remove()


def test_a_stack_runs_the_demo_on_a_swarm(docker_engine: docker.DockerClient, here: Path, swarm: str) -> None:
    write(here, "demo", "--swarm")
    override(here, {TESTBED: known_speed()}, version="3.9")
    files = [word for name in ("compose.yaml", OVERRIDE) for word in ("--compose-file", name)]
    deploy = ["docker", "stack", "deploy", *files, swarm]
    environment = {**os.environ, "EDGEBED_ARGS": SHORT}
    done = subprocess.run(deploy, cwd=here, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (testbed,) = docker_engine.services.list(filters={"name": f"{swarm}_testbed"})
    deadline = time.monotonic() + SECONDS
    while not (task := testbed.tasks()) or task[0]["Status"]["State"] not in ("complete", "failed", "rejected"):
        assert time.monotonic() < deadline, task
        time.sleep(0.2)
    said = b"".join(testbed.logs(stdout=True, stderr=True)).decode()
    assert task[0]["Status"]["ContainerStatus"]["ExitCode"] in (0, 3), said
    assert "testbed demo, compose runtime" in said
    assert "results: runs/demo-1" in said
    (client,) = docker_engine.services.list(filters={"name": f"{swarm}_client-1"})
    limits = client.attrs["Spec"]["TaskTemplate"]["Resources"]["Limits"]
    assert limits == {"NanoCPUs": 500_000_000, "MemoryBytes": 2**30}
