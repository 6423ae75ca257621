"""Rounds that go on without containers that are killed or paused, whoever starts them."""

import re
from collections.abc import Callable
from pathlib import Path

import docker
import yaml

from tests.docker.project import Project, killed_at_last, wait_for, write
from tests.docker.testbed import Run
from tests.integration.running import read_result
from tests.integration.test_participation import lost
from tests.integration.test_participation import write as write_experiment

ROUNDS = 100
SPEED = "40000000000"
"""FLOP/s of a core, unmeasured: nothing here depends on it."""
DEADLINE = {"deadline": "500 ms"}
SELDOM = ("--set", f"workload.evaluate.every={ROUNDS}")


def text(folder: Path) -> str:
    timeline = folder / "timeline.jsonl"
    return timeline.read_text() if timeline.exists() else ""


def test_a_paused_container_is_taken_back_and_a_killed_one_is_lost_for_good(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    out = here / "out"
    run = Run(docker_engine, write_experiment(here, ["psl"], ROUNDS, DEADLINE), "--out", out, *SELDOM)
    run.wait_for(lambda: _uplinks(out, "client-2"), "the first round")
    containers = run.containers()
    containers["client-3"].pause()
    try:
        run.wait_for(lambda: '"left_out"' in text(out), "client-3 being left out")
    finally:
        containers["client-3"].unpause()
    was = _uplinks(out, "client-3")
    run.wait_for(lambda: _uplinks(out, "client-3") > was + 2, "client-3 taking part again")
    containers["client-2"].kill()
    done = run.finish()

    assert done.status in (0, 3), done.err
    assert re.search(r"client-2 died: killed \(SIGKILL\); .*; from then on the others went on without it", done.err)
    assert re.search(r"client-3 was paused for \d+\.\d s", done.err)
    (counts,) = lost(out).values()
    assert len(counts) == ROUNDS
    assert counts[-1] == 1, "the killed one, and not the paused one"
    result = read_result(out)["algorithms"]["psl"]
    assert result["rounds"] == ROUNDS
    assert result["lost_client_rounds"] == sum(counts) >= 2
    assert re.search(rf"^psl .* {sum(counts)} .*\n.* {3 * ROUNDS} ", done.out, re.MULTILINE), done.out


def _uplinks(folder: Path, client: str) -> int:
    return len(re.findall(rf'"node":"{client}","stage":"uplink"', text(folder)))


def test_under_compose_a_container_that_is_killed_falls_silent_and_is_lost_for_good(
    docker_engine: docker.DockerClient, here: Path, project: Callable[[Path], Project]
) -> None:
    path = write_experiment(here, ["psl"], ROUNDS, DEADLINE)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "deadlines": {"silence": "5 s"}}))
    write(here, "--experiment", path.name, *SELDOM, speed=SPEED)
    mine, out = project(here), here / "runs/late-1"
    running = mine.start("up", "--exit-code-from", "testbed", "testbed")
    with killed_at_last(running):
        wait_for(lambda: _uplinks(out, "client-2") > 0, "the first round", running)
        mine.containers(docker_engine)["client-2"].kill()
        output = running.communicate(timeout=60)[0]
    assert running.returncode in (0, 3), output
    said = r"client-2 has been silent for \d s: its container has ended, is paused, or starved of CPU: "
    assert re.search(said + r"see docker compose logs client-2 \(deadlines.silence\); from then on the others", output)
    (counts,) = lost(out).values()
    assert len(counts) == ROUNDS
    assert counts[-1] == 1
    assert read_result(out)["algorithms"]["psl"]["lost_client_rounds"] == sum(counts)
