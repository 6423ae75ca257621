"""Links in the kernel of the host: of containers, by `tc` in their networks."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from emulator.timeline import Span, latencies
from tests.docker.testbed import Run
from tests.integration.running import SECONDS, read_result, write_experiment
from tests.tolerance import assert_close

pytestmark = pytest.mark.alone

ROUNDS = 3
LINK = {
    "source": "a test",
    "up": {"rate": "4 Mbit/s", "delay": "10 ms"},
    "down": {"rate": "4 Mbit/s", "delay": "10 ms"},
}
EXCHANGE = """
from pathlib import Path
import numpy as np

async def server(node):
    print("has started", flush=True)
    more = True
    while more:
        node.round += 1
        await node.receive("uplink")
        await node.send("client", "downlink", tensors={"x": np.zeros(2**18, np.uint8)})
        more = (await node.receive("end")).fields["more"]
        await node.send("client", "next", off_clock=True)

async def client(node):
    print("has started", flush=True)
    more, file = node.config["rounds"], node.config["workload"].get("once_there")
    while more:
        node.round += 1
        more -= file is None or Path(file).exists()
        await node.send("server", "uplink", tensors={"x": np.zeros(2**18, np.uint8)})
        await node.receive("downlink")
        await node.send("server", "end", {"more": bool(more)}, off_clock=True)
        await node.receive("next")
"""
"""256 KiB each way, half a second each, `rounds` times; counted, if so wanted, once a file is there."""


def in_force(container: Any) -> dict[str, float]:
    """Bit/s that the kernel says it limits the directions of a node to."""
    rates = {}
    for direction, device in (("up", "eth0"), ("down", "ifb-down")):
        status, said = container.exec_run(["tc", "-j", "qdisc", "show", "dev", device, "root"], user="root")
        assert status == 0, said
        (qdisc,) = json.loads(said)
        rates[direction] = qdisc["options"]["rate"] * 8
    return rates


def test_the_same_testbed_takes_as_long_over_links_of_the_kernel_as_over_the_hubs(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    experiment = write_experiment(here, EXCHANGE, link=LINK, rounds=ROUNDS)
    best: dict[str, float] = {}  # of the rounds: a busy host makes any of them longer, and none shorter
    for links in ("bus", "kernel"):
        finished = Run(docker_engine, experiment, "--out", links, "--set", f"links={links}").finish()
        assert finished.status in (0, 3), finished.err
        lines = (here / links / "timeline.jsonl").read_text().splitlines()
        spans = [Span.from_fields(json.loads(line)) for line in lines]
        best[links] = min(latencies(spans).values())
        crossed = [span for span in spans if span.is_message and not span.off_clock]
        assert len(crossed) == 2 * ROUNDS
        assert all((span.due is not None) is (links == "bus") for span in crossed)
    assert_close(best["kernel"] / best["bus"], 1.0, relative=0.15, what="best round, kernel's links over the hub's")

    result = read_result(here / "kernel")
    assert "kernel_rate_error" in {check["name"] for check in result["verdict"]["checks"]}
    assert not [note for note in read_result(here / "bus")["host"]["notes"] if "kernel" in note]
    for note in (note for note in result["host"]["notes"] if note.startswith("links: kernel:")):
        # Said before the run starts, and once more with its result.
        assert finished.err.count(note) == 2, finished.err


def test_a_live_change_is_made_in_the_kernel_and_the_programs_have_no_right_to_one(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    experiment = write_experiment(
        here, EXCHANGE, link=LINK, rounds=2, links="kernel", workload={"once_there": "changed"}
    )
    run = Run(docker_engine, experiment, "--out", here / "out")
    client = run.wait_until_started()["client"]
    assert in_force(client) == {"up": 4e6, "down": 4e6}
    status, said = client.exec_run(["tc", "qdisc", "del", "dev", "eth0", "root"])  # as the user that programs are
    assert status != 0
    assert b"not permitted" in said
    assert b"CapEff:\t0000000000000000" in client.exec_run(["cat", "/proc/1/status"], user="root")[1]

    command = [sys.executable, "-m", "emulator.cli", "link", "client", "--up", "1 Mbit/s", "--run", str(here / "out")]
    changed = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=SECONDS)
    assert changed.returncode == 0, changed.stderr
    assert in_force(client) == {"up": 1e6, "down": 4e6}
    (here / "changed").touch()

    finished = run.finish()
    assert finished.status in (0, 3), finished.err
    spans = [json.loads(line) for line in (here / "out/timeline.jsonl").read_text().splitlines()]
    (change,) = (span["start"] for span in spans if span["stage"] == "link_change")
    uplinks = [span["end"] - span["start"] for span in spans if span["stage"] == "uplink" and span["start"] > change]
    downlinks = [span["end"] - span["start"] for span in spans if span["stage"] == "downlink"]
    # A downlink still crosses links of 4 Mbit/s each.
    ratio = statistics.median(uplinks) / statistics.median(downlinks)
    assert_close(ratio, 4.0, relative=0.15, what="an uplink at 1 Mbit/s, over a downlink at 4 Mbit/s")
