"""The runtime of the service `testbed`: the hub here, each node in a container that Docker Compose or Swarm starts.

See `emulator.compose`, which writes their files. The nodes come by themselves, and wait for the hub.
"""

import asyncio
import os
from pathlib import Path

from emulator.compose import CONTROL_PORT, HUB_PORT
from emulator.errors import InputError
from emulator.plan import Plan
from emulator.profiles import HUB
from emulator.runtime.alive import show_life
from emulator.runtime.follow import LOOPBACK, follow
from emulator.runtime.local import start_hub
from emulator.runtime.processes import Processes
from emulator.runtime.watch import Observer, Outcome

EVERYWHERE = "0.0.0.0"  # noqa: S104  # the interfaces of a container: its own network, and what Compose publishes


async def run(plan: Plan, logs: Path, observer: Observer) -> Outcome:
    """Carry out `plan`, telling `observer`; raises as the local runtime does."""
    token = os.environ.get("EDGEBED_TOKEN")
    if not token:
        raise InputError(
            "--runtime compose is what runs in the service 'testbed': write a file with edgebed compose (of a "
            "self-test: edgebed compose --selftest), and start it with docker compose up testbed; or use "
            "--runtime docker"
        )
    if plan.links == "kernel":
        raise InputError(
            "links: kernel is for --runtime docker: a testbed of Compose has no right to its nodes' networks: "
            "leave links out"
        )
    ports = {
        "bus": plan.bus.model_copy(update={"port": plan.bus.port or HUB_PORT}),
        "control": plan.control.model_copy(update={"port": CONTROL_PORT}),
    }
    plan = plan.model_copy(update=ports)
    async with Processes(logs) as processes:
        await start_hub(processes, plan, token, EVERYWHERE)
        homes = _Containers(processes)
        life = asyncio.create_task(show_life(homes))
        try:
            return await follow(
                plan,
                homes,
                observer,
                homes.start,
                address=f"tcp://{LOOPBACK}:{plan.bus.port}",
                token=token,
                runtime="compose",
                folder=logs.parent,
                control_host=EVERYWHERE,
            )
        finally:
            life.cancel()


class _Containers:
    """The nodes' homes, of which only the hub's is seen from here."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    async def start(self) -> None:
        """Whoever has started this container starts the nodes'."""

    @property
    def in_touch(self) -> bool:
        """Whether the hub runs; that it answers is watched by whoever follows the run, who ends it all otherwise."""
        return self._processes.exit_code(HUB) is None

    async def any_exit(self) -> str:
        return await self._processes.any_exit()

    def obituary(self, name: str) -> str:
        return self._processes.obituary(name)

    def why_silent(self, name: str) -> str:
        return f"its container has ended, is paused, or starved of CPU: see {self.where(name)}"

    async def limit(self) -> None:
        """The containers have their limits from the start."""

    def where(self, name: str) -> str:
        return self._processes.where(name) if name == HUB else f"docker compose logs {name}"
