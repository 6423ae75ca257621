"""Whether a tiny run takes as long as its links and devices say: in ratios, and tolerant, for CI is noisy."""

import json
from typing import Any

import pytest

from tests.integration.running import edgebed, write_experiment
from tests.tolerance import assert_close

pytestmark = pytest.mark.alone

RATE = 10e6
SLOWDOWN = 3.0
PROGRAM = """
import time
import numpy as np

def work():
    started = time.thread_time()
    while time.thread_time() - started < 0.05:
        pass

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.receive("uplink")
        await node.send("client", "next", off_clock=True)  # or the next round's message would queue behind this one

async def client(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", work)
        await node.send("server", "uplink", tensors={"x": np.zeros(2**20, np.uint8)})
        await node.compute("think", work)
        await node.receive("next")
"""


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory, core_flops: float) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("fidelity")
    link = {"source": "a test", "up": {"rate": "10 Mbit/s"}, "down": {"rate": "unlimited"}}
    device = {"name": "slow", "training": f"{core_flops / SLOWDOWN / 1e9:.9g} GFLOP/s", "memory": "unlimited"}
    experiment = write_experiment(folder, PROGRAM, link=link, device={**device, "source": "a test"}, rounds=3)
    assert edgebed("run", experiment, "--out", "out", cwd=folder).status in (0, 3)
    return [json.loads(line) for line in (folder / "out" / "timeline.jsonl").read_text().splitlines()]


def test_a_message_takes_as_long_as_its_bytes_at_the_links_rate(spans: list[dict[str, Any]]) -> None:
    uplinks = [span for span in spans if span["stage"] == "uplink"]
    assert len(uplinks) == 3
    best = min(uplinks, key=lambda span: span["end"] - span["start"])
    assert 2**20 < best["bytes"] < 2**20 + 200
    assert_close(best["end"] - best["start"], best["bytes"] * 8 / RATE, relative=0.05, what="seconds of the best of 3")
    for span in uplinks:
        assert span["end"] - span["start"] >= span["bytes"] * 8 / RATE * 0.999


def test_stretched_compute_takes_its_cpu_time_at_the_devices_ratio(spans: list[dict[str, Any]]) -> None:
    thinking = [span for span in spans if span["stage"] == "think"]
    assert len(thinking) == 6
    ratios = sorted((span["end"] - span["start"]) / (SLOWDOWN * span["cpu"]) for span in thinking)
    assert_close(ratios[0], 1.0, relative=0.10, what="the best ratio of 6 to what the device takes")
    assert ratios[0] >= 0.999
    for span in thinking:
        assert_close(span["cpu"], 0.05, relative=0.25, what="CPU seconds")


BURST = """
import asyncio
import time
import numpy as np

def work():
    started = time.thread_time()
    while time.thread_time() - started < 0.03:
        pass

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for _ in range(30):
            await node.receive("uplink")
        await node.send("client", "next", off_clock=True)

async def client(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await asyncio.gather(*(node.compute("think", work) for _ in range(3)))
        for _ in range(30):
            await node.send("server", "uplink", tensors={"x": np.zeros(2**16, np.uint8)})
        await node.receive("next")
"""


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """Each round's spans."""
    folder = tmp_path_factory.mktemp("burst")
    # Room for one message and a half: the sender waits for each to leave before it may send the next.
    up = {"rate": "20 Mbit/s", "queue": "96 KiB"}
    link = {"source": "a test", "up": up, "down": {"rate": "unlimited"}}
    experiment = write_experiment(folder, BURST, link=link, rounds=3)
    assert edgebed("run", experiment, "--out", "out", cwd=folder).status in (0, 3)
    spans = [json.loads(line) for line in (folder / "out" / "timeline.jsonl").read_text().splitlines()]
    return [[span for span in spans if span["round"] == number and not span.get("off_clock")] for number in (1, 2, 3)]


def test_a_sender_that_waits_for_room_leaves_its_link_no_pause(burst: list[list[dict[str, Any]]]) -> None:
    stretches = []
    for of_round in burst:
        uplinks = [span for span in of_round if span["stage"] == "uplink"]
        assert len(uplinks) == 30
        assert any(span["stage"] == "wait" for span in of_round)
        took = max(span["end"] for span in uplinks) - min(span["start"] for span in uplinks)
        stretches.append(took / (sum(span["bytes"] for span in uplinks) * 8 / 20e6))
    assert_close(min(stretches), 1.0, relative=0.03, what="the best stretch of 3 rounds")


def test_a_device_computes_one_thing_at_a_time(burst: list[list[dict[str, Any]]]) -> None:
    for of_round in burst:
        thinking = sorted((span["start"], span["end"], span["cpu"]) for span in of_round if span["stage"] == "think")
        assert len(thinking) == 3
        took = thinking[-1][1] - thinking[0][0]
        assert took >= 0.999 * sum(cpu for _, _, cpu in thinking)
