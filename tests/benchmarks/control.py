"""How long a change of a running testbed takes to be in force, from the request to the answer of its API."""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from emulator.control import found
from tests.integration.running import SECONDS, Command, write_experiment

CHANGES = 200
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


def changes_ms() -> list[float]:
    """Milliseconds of each change of a rate; the API answers when the hub has made it."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_RUNTIME_DIR"] = name  # no testbed but this one
        command = Command("run", write_experiment(folder, WAITING), "--out", "out", cwd=folder)
        command.wait_for(found.running, "its control")
        (testbed,) = found.running()
        headers = {"Authorization": f"Bearer {testbed.token}"}
        with httpx.Client(base_url=testbed.url, headers=headers, timeout=SECONDS) as http:
            for number in range(CHANGES):
                before = time.perf_counter()
                body = {"link": {"up": {"rate": f"{number % 2 + 1} Mbit/s"}}}
                http.patch("/nodes/client", json=body).raise_for_status()
                taken.append(1e3 * (time.perf_counter() - before))
        (folder / ENOUGH).touch()
        command.finish()
    return taken


def main() -> None:
    taken = changes_ms()
    figures = {"median_ms": statistics.median(taken), "p95_ms": statistics.quantiles(taken, n=20)[-1]}
    print(json.dumps({"live_change": figures}, indent=2))


if __name__ == "__main__":
    main()
