"""What controlling and watching a running testbed takes, as JSON: python -m tests.benchmarks.control

A change: from the request to the answer of the API, which says that it is in force. The live page: what the process
that serves it computes while one follows a testbed of ten clients, as often as the page does, above what it computes
anyway.
"""

import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from emulator.control import found
from tests.integration.running import LINK, SECONDS, Command, write_experiment

CHANGES = 200
CLIENTS = 10
FOLLOWED_SECONDS = 10.0
ASKED_EVERY = 0.4  # seconds, as live.js does
ENOUGH = "enough"
WAITING = f"""
import asyncio
from pathlib import Path

async def server(node):
    while not Path("{ENOUGH}").exists():
        await asyncio.sleep(0.1)
    await node.compute("end", lambda: None)

client = server
"""


ROUNDS = f"""
from pathlib import Path
import numpy as np

async def server(node):
    clients, number = node.peers["client"], 0
    while not Path("{ENOUGH}").exists():
        number += 1
        node.round = number
        for client in clients:
            await node.receive("uplink", client)
        await node.compute("server_step", lambda: None)
        for client in clients:
            await node.send(client, "downlink", {{"last": False}})
    for client in clients:
        await node.send(client, "downlink", {{"last": True}}, off_clock=True)

async def client(node):
    number, last = 0, False
    while not last:
        number += 1
        node.round = number
        await node.compute("client_forward", lambda: None)
        await node.send("server", "uplink", tensors={{"x": np.ones(20_000, np.float32)}})
        last = (await node.receive("downlink", "server")).fields["last"]
"""
"""Rounds of about a third of a second, as the links below make them."""


@contextlib.contextmanager
def _running(program: str, clients: int) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """The API of a testbed that runs `program` until the context ends, and the process that serves it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_RUNTIME_DIR"] = name  # no testbed but this one
        link = {**LINK, "up": {"rate": "2 Mbit/s"}} if clients > 1 else LINK
        nodes = [
            {"role": "server", "device": "raspberry-pi-3", "link": LINK},
            {"role": "client", "device": "raspberry-pi-3", "link": link, "count": clients},
        ]
        testbed = {"name": "benchmark", "nodes": nodes}
        experiment = write_experiment(folder, program, testbed=testbed)
        command = Command("run", experiment, "--out", "out", cwd=folder)
        command.wait_for(found.running, "its control")
        (running,) = found.running()
        headers = {"Authorization": f"Bearer {running.token}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=SECONDS) as http:
            yield http, psutil.Process(running.pid)
        (folder / ENOUGH).touch()
        command.finish()


def changes_ms() -> list[float]:
    """Milliseconds of each change of a rate; the API answers when the hub has made it."""
    taken: list[float] = []
    with _running(WAITING, 1) as (http, _):
        for number in range(CHANGES):
            before = time.perf_counter()
            body = {"link": {"up": {"rate": f"{number % 2 + 1} Mbit/s"}}}
            http.patch("/nodes/client", json=body).raise_for_status()
            taken.append(1e3 * (time.perf_counter() - before))
    return taken


def page_cost() -> dict[str, float]:
    """Shares of a core."""
    with _running(ROUNDS, CLIENTS) as (http, process):
        while http.get("/status").raise_for_status().json()["last_round"] is None:
            time.sleep(ASKED_EVERY)
        alone, sizes = _share(process), list[int]()

        def ask() -> None:
            sizes.append(len(http.get("/live").raise_for_status().content))

        followed = _share(process, ask)
    return {"followed_core_share": followed, "alone_core_share": alone, "answer_bytes": statistics.median(sizes)}


def _share(process: psutil.Process, ask: Callable[[], object] = lambda: None) -> float:
    before, began = process.cpu_times(), time.monotonic()
    while time.monotonic() - began < FOLLOWED_SECONDS:
        ask()
        time.sleep(ASKED_EVERY)
    after, lasted = process.cpu_times(), time.monotonic() - began
    return (after.user + after.system - before.user - before.system) / lasted


def main() -> None:
    taken = changes_ms()
    figures = {"median_ms": statistics.median(taken), "p95_ms": statistics.quantiles(taken, n=20)[-1]}
    print(json.dumps({"live_change": figures, f"live_page_{CLIENTS}_clients": page_cost()}, indent=2))


if __name__ == "__main__":
    main()
