"""What the README shows of containers, word for word."""

import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import httpx
import pytest

from emulator.compose import CONTROL_PORT
from emulator.control import found
from tests.docker.checkout import copy_checkout
from tests.integration.test_readme import BLOCKS

SECONDS = 180.0
ROUNDS = 8
"""After each command, of which the latency is taken."""
OF_DOCKER = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if "--runtime docker" in line]
(WALK,) = [text.splitlines() for kind, text in BLOCKS if kind == "sh" and "docker compose exec" in text]
CLIENT = "client-2"
TOKEN = "known beforehand"


@pytest.fixture
def walk(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Runs a line of the walk-through in a fresh copy of the repository, and returns what it prints."""
    copy_checkout(here)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", f"edgebed-test-{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("EDGEBED_PORT", "0")
    model = "--set workload.model.name=digits-cnn --set workload.model.norm=none --set workload.model.cut=relu1"
    monkeypatch.setenv("EDGEBED_ARGS", f"--algorithm psl --rounds 100000 {model}")  # its rounds are the link's to delay
    monkeypatch.setenv(found.TOKEN, TOKEN)

    def run(line: str) -> str:
        done = subprocess.run(line, shell=True, cwd=here, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    yield run
    subprocess.run(["docker", "compose", "down", "--volumes", "--timeout", "1"], cwd=here, timeout=SECONDS)


@pytest.mark.alone
def test_the_walk_through_changes_a_clients_latency_and_puts_it_back(
    docker_engine: docker.DockerClient, walk: Callable[[str], str]
) -> None:
    *lines, follow = WALK
    assert follow == "docker compose logs --follow testbed"
    up = lines.pop(0)
    walk(up)
    where = walk(f"docker compose port testbed {CONTROL_PORT}").strip()
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def busy() -> float:
        """How long the client is busy now, in the quickest of some rounds: other work on this machine only adds."""
        deadline, first, seen = time.monotonic() + SECONDS, None, dict[int, float]()
        with httpx.Client(base_url=f"http://{where}", headers=headers) as http:
            while len(seen) < ROUNDS:
                assert time.monotonic() < deadline, "the testbed does not go on"
                time.sleep(0.05)
                try:
                    told, client = (http.get(path).json() for path in ("/status", f"/nodes/{CLIENT}"))
                except httpx.TransportError:  # it has not started yet
                    continue
                first = told["round"] if first is None else first
                if told["last_round"] is not None and told["last_round"] > first:
                    seen[told["last_round"]] = client["busy_s"]
        return min(seen.values())

    measured: list[float] = []
    for line in lines:
        changes = not line.endswith("edgebed status")
        if not changes:
            measured.append(busy())
        said = walk(line.replace("exec", "exec -T"))  # this is no terminal
        shown = rf"{CLIENT}: link [\w-]+ -> [\w-]+ \(up " if changes else rf"(?m)^{CLIENT} +running +[\d.]+ \w+ "
        assert re.search(shown, said), said
    on_wifi, on_lte, on_wifi_again = measured
    assert on_lte > 1.5 * max(on_wifi, on_wifi_again), measured


@pytest.mark.parametrize("command", OF_DOCKER)
def test_a_command_of_the_readme_works_with_containers(
    docker_engine: docker.DockerClient, here: Path, command: str
) -> None:
    words = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name("edgebed"), *words[1:]],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode in (0, 3), done.stderr
    assert "docker runtime" in done.stdout
    assert list(here.glob("runs/*/result.json"))
