"""What a CPU quota's interruptions cost, measured under one."""

import json
from pathlib import Path

import docker
import pytest

from emulator.interruption import Interruption
from emulator.runtime import owner
from emulator.runtime.interruption import NAME
from tests.integration.running import Command, edgebed, write_experiment

pytestmark = pytest.mark.alone

SECONDS = 180.0
"""It takes a minute and more: under a small quota steps are long."""
LONGEST_TICK = 0.010
"""Seconds: no kernel is built with a longer one."""


def measuring(engine: docker.DockerClient) -> list[str]:
    """The containers in which it is being measured."""
    return [one.id for one in engine.containers.list(all=True, filters={"label": f"{owner.NODE}={NAME}"})]


def test_a_calibration_under_a_quota_knows_what_its_interruptions_cost(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    experiment = write_experiment(here, compute="quota")
    made = Command("calibrate", experiment, "--seconds", 1, "--out", "mine.json", cwd=here).finish(SECONDS)
    assert made.status == 0, made.err
    found = Interruption.model_validate(json.loads((here / "mine.json").read_text())["cost"]["interruption"])
    assert found.long.cost > 0
    assert 0 < found.tick <= LONGEST_TICK
    assert found.spread
    assert "a CPU quota's interruption of" in made.out
    assert not measuring(docker_engine)


def test_no_container_is_left_when_it_is_stopped(docker_engine: docker.DockerClient, here: Path) -> None:
    command = Command("calibrate", write_experiment(here), "--set", "compute=quota", cwd=here)
    command.wait_for(lambda: bool(measuring(docker_engine)), "a container")
    command.process.terminate()
    assert command.finish().line == "interrupted: every process it started has been stopped"
    assert not measuring(docker_engine)


def test_without_an_engine_it_says_what_it_wants_one_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/none.sock")
    refused = edgebed("calibrate", write_experiment(here, compute="quota"), cwd=here)
    assert refused.line == (
        f"what a CPU quota's interruptions cost is measured in a container: there is no Docker engine at "
        f"unix://{here}/none.sock: start it, or do without containers"
    )
