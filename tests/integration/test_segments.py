"""Whether nodes behind one segment share its link on the real bus: in ratios of one run, and tolerant."""

import json
from typing import Any

import pytest
import yaml

from tests.integration.running import edgebed
from tests.tolerance import assert_close

pytestmark = pytest.mark.alone

PROGRAM = """
import numpy as np

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for client in senders(node):
            await node.receive("uplink", client)
        for client in node.peers["client"]:
            await node.send(client, "next", off_clock=True)

async def client(node):
    for node.round in range(1, node.config["rounds"] + 1):
        if node.name in senders(node):
            await node.send("server", "uplink", tensors={"x": np.zeros(2**19, np.uint8)})
        await node.receive("next")

def senders(node):
    return (["client-1"], ["client-1", "client-2"], ["client-1", "client-3"])[node.round % 3]
"""
"""Of every three rounds, in one client-1 sends alone, in one with a neighbour, and in one with who is elsewhere."""


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("segments")
    (folder / "program.py").write_text(PROGRAM)
    unlimited = {"rate": "unlimited"}
    cell = {"source": "a test", "up": {"rate": "10 Mbit/s", "sharing": "fair"}, "down": unlimited}
    link = {"source": "a test", "up": {"rate": "40 Mbit/s"}, "down": unlimited}
    device = {"training": "unlimited", "memory": "unlimited", "source": "a test"}
    client = {"role": "client", "device": device, "link": link}
    testbed = {
        "segments": {"cell": {"link": cell}},
        "nodes": [
            {"role": "server", "device": device, "link": link},
            {**client, "segment": "cell", "count": 2},
            client,
        ],
    }
    programs = {"server": "program:server", "client": "program:client"}
    experiment = {"testbed": testbed, "programs": programs, "rounds": 9}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    done = edgebed("run", folder / "experiment.yaml", "--out", "out", cwd=folder)
    assert done.status in (0, 3), done.err
    return [json.loads(line) for line in (folder / "out" / "timeline.jsonl").read_text().splitlines()]


def test_two_behind_one_segment_take_twice_as_long_as_one(spans: list[dict[str, Any]]) -> None:
    def best(number: int) -> float:
        """Seconds until all of client-1's message, or the last with its own, was there: the best of three rounds."""
        took: dict[int, float] = {}
        for span in spans:
            if span["stage"] == "uplink" and span["round"] % 3 == number and span["node"] != "client-3":
                length = span["end"] - span["start"]
                took[span["round"]] = max(length, took.get(span["round"], 0.0))
        assert len(took) == 3
        return min(took.values())

    alone, with_neighbour, with_another = best(0), best(1), best(2)
    assert_close(with_neighbour / alone, 2.0, relative=0.05, what="with a neighbour, against alone")
    assert_close(with_another / alone, 1.0, relative=0.05, what="with who is elsewhere, against alone")
