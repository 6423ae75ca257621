"""What can go wrong around a testbed in containers: one clear line, and nothing left behind."""

import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.docker.testbed import WAITING, EngineProxy, Run, engine_that_says, kill_command
from tests.integration.running import read_result, write_experiment

INTERRUPTED = "interrupted: every process it started has been stopped"
MANY = 100
"""Rounds of some 40 ms each."""
PINGING = """
async def server(node):
    print("has started", flush=True)
    for node.round in range(1, node.config["rounds"] + 1):
        await node.receive("ping")
        await node.send("client", "pong")

async def client(node):
    print("has started", flush=True)
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", lambda: sum(range(20_000)))
        await node.send("server", "ping")
        await node.receive("pong")
"""


# -- containers


def test_a_killed_container_is_named_at_once(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING), "--out", "out")
    run.wait_until_started()["client"].kill()
    killed = time.monotonic()
    finished = run.finish()
    assert time.monotonic() - killed < 15
    assert finished.status == 1
    assert finished.line == "client died: killed (SIGKILL); its last lines: has started"
    assert (here / "out/logs/client.log").read_text() == "has started\n"


def test_a_container_that_is_stopped_or_removed_is_named(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING))
    run.wait_until_started()["server"].stop()
    assert run.finish().line.startswith("server died: stopped (SIGTERM); its last lines: has started")
    run = Run(docker_engine, write_experiment(here, WAITING))
    run.wait_until_started()["server"].remove(force=True)
    assert run.finish().line.startswith("server died: killed (SIGKILL)")


def test_a_pause_leaves_the_run_going_and_stands_in_its_verdict(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, PINGING, rounds=MANY), "--out", "out")
    client = run.wait_until_started()["client"]
    client.pause()
    time.sleep(1.5)
    client.unpause()
    finished = run.finish()
    assert finished.status == 3
    said = re.search(r"client was paused for (\d\.\d) s", finished.err)
    assert said is not None, finished.err
    assert 1.4 <= float(said[1]) <= 5
    result = read_result(here / "out")
    failed = {check["name"]: check["reason"] for check in result["verdict"]["checks"] if not check["ok"]}
    assert failed["latency_error"] == f"tiny: {said[0]}"


def test_a_container_that_stays_paused_is_named(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING, deadlines={"silence": "2 s"}))
    run.wait_until_started()["client"].pause()
    finished = run.finish()
    assert finished.status == 1
    assert re.fullmatch(
        r"client has been silent for \d s: its container is paused \(deadlines.silence\)", finished.line
    )


def test_a_node_killed_by_its_memory_limit_is_reported_as_just_that(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    server, client = WAITING.split("async def client")
    fill = "node.compute('fill', lambda: np.ones(2**29, np.uint8).sum())"
    program = f"import numpy as np\n{server}async def client{client.replace('node.receive()', fill)}"
    device = {"name": "small", "training": "unlimited", "memory": "256 MiB", "source": "a test"}
    finished = Run(docker_engine, write_experiment(here, program, device=device), "--out", "out").finish()
    assert finished.status == 1
    assert finished.line == (
        "tiny: client failed: killed by the memory limit: its device 'small' has 256 MiB (see out/logs/client.log)"
    )


def test_a_hub_that_is_restarted_is_named(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING))
    run.wait_until_started()["hub"].restart(timeout=0)
    finished = run.finish()
    assert finished.status == 1
    assert finished.line.startswith("hub died: killed (SIGKILL); its last lines: tcp://")


# -- the command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(
    docker_engine: docker.DockerClient, here: Path, number: signal.Signals
) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING), "--out", "out")
    run.wait_until_started()
    run.process.send_signal(number)
    finished = run.finish()
    assert finished.status == 1
    assert finished.line == INTERRUPTED
    assert "has started" in (here / "out/logs/server.log").read_text()


def test_an_impatient_user_may_interrupt_twice_and_early(docker_engine: docker.DockerClient, here: Path) -> None:
    run = Run(docker_engine, write_experiment(here, WAITING))
    run.wait_for(lambda: "hub" in run.containers(), "the hub's container")
    for _ in range(2):
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert run.finish().line == INTERRUPTED


def test_what_a_killed_command_left_is_removed_by_the_next_and_another_testbed_is_left_alone(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    killed = Run(docker_engine, write_experiment(here, WAITING))
    killed.wait_until_started()
    kill_command(killed)
    killed.finish(killed=True)
    assert set(killed.containers()) == {"hub", "server", "client"}

    next_ = Run(docker_engine, write_experiment(here, WAITING, module="next"))
    next_.wait_until_started()
    assert not killed.containers()
    assert not killed.networks()
    beside = Run(docker_engine, write_experiment(here, module="beside")).finish()
    assert beside.status in (0, 3)
    assert "removed" not in beside.err
    assert all(container.status == "running" for container in next_.containers().values())
    next_.process.send_signal(signal.SIGINT)
    note, line = next_.finish().err.splitlines()
    assert re.fullmatch(r"note: removed 3 containers that a killed run had left \(edgebed-[0-9a-f]{6}\)", note)
    assert line == f"edgebed: {INTERRUPTED}"


# -- the engine


def test_an_engine_that_goes_away_is_one_line_and_the_next_run_cleans_up(
    docker_engine: docker.DockerClient, here: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = EngineProxy(tmp_path_factory.mktemp("engine") / "docker.sock")
    with monkeypatch.context() as patched:
        patched.setenv("DOCKER_HOST", f"unix://{proxy.path}")
        run = Run(docker_engine, write_experiment(here, WAITING))
        run.wait_until_started()
    proxy.cut()
    cut = time.monotonic()
    finished = run.finish(orphaned=True)
    assert time.monotonic() - cut < 15
    assert finished.status == 1
    assert finished.line.startswith(f"the Docker engine at unix://{proxy.path} is gone (")
    assert finished.line.endswith("what it still has of this run is removed by the next one")

    assert set(run.containers()) == {"hub", "server", "client"}
    after = Run(docker_engine, write_experiment(here)).finish()
    assert after.status in (0, 3)
    assert "note: removed 3 containers that a killed run had left" in after.err
    assert not run.containers()
    assert not run.networks()


def test_there_is_no_engine(docker_engine: docker.DockerClient, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/none.sock")
    finished = Run(docker_engine, write_experiment(here)).finish()
    assert finished.status == 2
    assert finished.line == (
        f"there is no Docker engine at unix://{here}/none.sock: start it, or do without containers"
    )


def test_an_engine_on_another_host_is_refused(
    docker_engine: docker.DockerClient, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    finished = Run(docker_engine, write_experiment(here)).finish()
    assert finished.status == 2
    assert finished.line.startswith("the Docker engine at tcp://192.0.2.1:2375 is not this host's: ")


def test_an_engine_that_is_too_old_is_refused(
    docker_engine: docker.DockerClient, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/old.sock")
    with engine_that_says(here / "old.sock", '{"ApiVersion": "1.38", "Version": "18.06"}'):
        finished = Run(docker_engine, write_experiment(here)).finish()
    assert finished.status == 2
    assert finished.line.endswith("is too old: it has API 1.38, and edgebed needs 1.41 (Docker 20.10)")


def test_an_image_that_is_missing_is_named_with_what_is_there(
    docker_engine: docker.DockerClient, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEBED_IMAGE", "edgebed-of-nobody:9.9")
    finished = Run(docker_engine, write_experiment(here)).finish()
    assert finished.status == 2
    assert finished.line == "the engine has no image edgebed-of-nobody:9.9: build it with docker compose build"

    name, _, tag = docker_engine.images.list("edgebed")[0].tags[0].partition(":")
    monkeypatch.setenv("EDGEBED_IMAGE", f"{name}:0.0.1")
    line = Run(docker_engine, write_experiment(here)).finish().line
    assert re.fullmatch(
        rf"the engine has no image {name}:0.0.1, only .*{name}:{tag}.*, of another version: "
        rf"build it with docker compose build",
        line,
    )


def test_a_port_in_use_is_refused(docker_engine: docker.DockerClient, here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = Run(docker_engine, write_experiment(here, bus={"port": port})).finish()
    assert finished.status == 2
    assert finished.line == (
        f"port {port} of 127.0.0.1 cannot be used: Address already in use: set bus.port to another, or to 0 for a "
        f"free one"
    )


def test_a_folder_that_the_nodes_cannot_read_is_refused(docker_engine: docker.DockerClient, here: Path) -> None:
    if subprocess.run(["id", "-u"], capture_output=True, text=True).stdout.strip() != "0":
        pytest.skip("not root: nodes run as this user, who can read his folders")
    here.chmod(0o700)
    finished = Run(docker_engine, write_experiment(here)).finish()
    assert finished.status == 2
    assert finished.line.startswith(f"{here} is closed to other users, and nodes in containers do not run as root")
