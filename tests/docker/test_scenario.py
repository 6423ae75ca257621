"""The same scenario in containers, whoever starts them, as in virtual time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from emulator.change import STAGES
from emulator.host import CORE_FLOPS
from tests.docker.project import Project, write
from tests.docker.testbed import Run
from tests.integration.running import edgebed
from tests.integration.test_scenario import write_steady
from tests.tolerance import assert_close

SPEED = "10000000000"
"""FLOP/s of a core, whatever this host's: what computations take is known."""
ROUNDS = 12
PARTED, HEALED = 0.1, 0.4
NARROW, SLOW, RESTORED, AWAY = 4, 6, 8, 10
"""Rounds."""
AWAY_SECONDS = 0.4
CHANGES = f"""
  - {{at: {PARTED} s, partition: [[client-1], [server, client-2]], for: {HEALED - PARTED} s}}
  - {{round: {NARROW}, node: client-1, scale: 0.25}}
  - {{round: {SLOW}, role: client, slow: 3}}
  - {{round: {RESTORED}, role: client, restore: true}}
  - {{round: {AWAY}, node: client-2, disconnect: true, for: {AWAY_SECONDS} s}}
"""
SAME_SECONDS = 0.005
BUSY_SHARE = 0.5
"""Other work may make a run on a busy host so much longer, and so much later what waits for a round."""
TWICE = 2.0
"""Further apart than what other work on this host may change in what is promised: that depends on who meets whom."""

Spans = list[dict[str, Any]]


def in_docker(experiment: Path, engine: docker.DockerClient, _: Callable[[Path], Project]) -> Path:
    finished = Run(engine, experiment, "--out", "measured").finish()
    assert finished.status in (0, 3), finished.err
    return experiment.parent / "measured"


def in_compose(experiment: Path, _: docker.DockerClient, project: Callable[[Path], Project]) -> Path:
    folder = experiment.parent
    write(folder, "--experiment", "steady.yaml", speed=SPEED)
    status, output = project(folder).run("up", "--exit-code-from", "testbed", "testbed")
    assert status in (0, 3), output
    return folder / "runs/steady-1"


def read(folder: Path) -> Spans:
    return [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]


def changes(spans: Spans) -> dict[tuple[str, str, str], float]:
    """When each change was due, by what it is; those that happen twice come one after the other."""
    found: dict[tuple[str, str, str], float] = {}
    for span in sorted((span for span in spans if span["stage"] in STAGES), key=lambda span: span["due"]):
        found[span["node"], span["stage"], span["detail"]] = span["due"]
    return found


def promised(spans: Spans, stage: str, number: int, node: str = "client-1") -> float:
    """Seconds that what a node did in a round should have taken."""
    (span,) = (span for span in spans if (span["stage"], span["round"], span["node"]) == (stage, number, node))
    return float(span["due"] - span["start"])


@pytest.mark.parametrize("run", [in_docker, in_compose])
def test_a_scenario_in_containers_is_that_of_virtual_time(
    docker_engine: docker.DockerClient,
    here: Path,
    project: Callable[[Path], Project],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Path],
) -> None:
    monkeypatch.setenv(CORE_FLOPS, SPEED)
    experiment = write_steady(here, CHANGES, ROUNDS)
    done = edgebed("run", experiment, "--runtime", "virtual", "--out", "virtual", cwd=here)
    assert done.status in (0, 3), done.err
    virtual, measured = read(here / "virtual"), read(run(experiment, docker_engine, project))

    # The same changes: at the times that they were planned for, or as their rounds began.
    whens, plans = changes(measured), changes(virtual)
    assert whens.keys() == plans.keys()
    assert len(plans) == 2 + 1 + 2 + 3 + 2
    begins = {
        number: min(span["start"] for span in measured if span.get("peer") and span["round"] == number)
        for number in (NARROW, SLOW, RESTORED, AWAY)
    }
    for what, when in whens.items():
        assert_close(when, plans[what], relative=BUSY_SHARE, what=f"seconds until {what}")
    for what, planned in (("partition client-1 | server, client-2", PARTED), ("partition healed", HEALED)):
        assert_close(whens["hub", "partition_change", what], planned, what=what)
    of_rounds = {NARROW: ("client-1", "link_change"), SLOW: ("client-2", "device_change")}
    for number, (node, stage) in of_rounds.items():
        first = min(when for what, when in whens.items() if what[:2] == (node, stage))
        assert_close(first, begins[number], absolute=SAME_SECONDS, what=f"seconds until round {number} changes {node}")
    away, back = (whens["client-2", "connection_change", what] for what in ("disconnected", "reconnected"))
    assert_close(away, begins[AWAY], absolute=SAME_SECONDS, what="seconds until the disconnection")
    assert_close(back - away, AWAY_SECONDS, what="seconds of it")

    # And they do the same.
    for spans in (virtual, measured):
        # A round begins with its first message, when what is computed before that is over.
        assert promised(spans, "ping", NARROW + 1) > TWICE * promised(spans, "ping", NARROW - 1)
        assert promised(spans, "think", SLOW + 1) > TWICE * promised(spans, "think", SLOW - 1)
        for stage in ("ping", "think"):
            assert TWICE * promised(spans, stage, RESTORED + 1) < promised(spans, stage, RESTORED - 1)
        for node, since, until in (("client-1", PARTED, HEALED), ("client-2", *_absence(spans))):
            own = [span for span in spans if span.get("peer") and node in (span["node"], span["peer"])]
            assert not [span for span in own if since < span["due"] < until]
            assert [span for span in own if span["start"] < until <= span["due"]], "what has waited for its return"


def _absence(spans: Spans) -> list[float]:
    return sorted(when for what, when in changes(spans).items() if what[1] == "connection_change")


def test_links_of_the_kernel_have_no_scenario_and_say_so_before_anything_starts(here: Path) -> None:
    experiment = write_steady(here, CHANGES, ROUNDS)
    refused = edgebed("run", experiment, "--runtime", "docker", "--set", "links=kernel", "--out", "out", cwd=here)
    assert refused.status == 2
    assert "scenario.0.partition: the kernel takes tenths of a second to change a link" in refused.line
    assert refused.line.endswith("leave out links: kernel")
    assert not (here / "out").exists()
