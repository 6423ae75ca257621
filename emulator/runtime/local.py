"""The local runtime: hub and nodes as processes of this host, no privileges needed."""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.bus.controller import Controller, Event
from emulator.bus.system import single_threaded
from emulator.errors import DeadlineExceeded, InputError, NodeFailure
from emulator.plan import Plan
from emulator.runtime.process import environment
from emulator.runtime.processes import Processes

HUB_SECONDS = 30.0
GRACE_SECONDS = 1.0
"""How long a node's last words may take to reach the controller after its process has ended."""


@dataclass
class Outcome:
    """What a finished run leaves besides its timeline."""

    wall_s: float
    hub_priority: str | None
    """None: the hub ran at raised priority; else why not."""
    notes: list[str] = field(default_factory=list)
    """What was refused on the way, one line each."""


async def run(plan: Plan, logs: Path, on_entry: Callable[[dict[str, Any]], None]) -> Outcome:
    """Run `plan` to its end; `on_entry` gets each span and metric as plain fields, as they come.

    Whatever happens, no process is left. Raises `NodeFailure` naming the node that died, failed or fell silent;
    `DeadlineExceeded` naming those that are waited for; `InputError` when the hub's port is taken.
    """
    token = secrets.token_hex(16)
    async with Processes(logs) as processes:
        address = await _start_hub(processes, plan, token)
        controller = Controller(address, token, on_entry)
        try:
            await controller.connect(HUB_SECONDS)
            for node in plan.nodes:
                await processes.start(
                    node.name,
                    [sys.executable, "-m", "emulator.runtime.process"],
                    {**environment(address, node.name, token), **({} if node.slowdown is None else single_threaded())},
                )
            return await _Watch(plan, controller, processes).until_done()
        finally:
            controller.close()


async def _start_hub(processes: Processes, plan: Plan, token: str) -> str:
    """Start the hub; returns its address once it listens."""
    hub = await processes.start("hub", [sys.executable, "-m", "emulator.bus.hub"], {}, talks=True)
    assert hub.stdin is not None
    assert hub.stdout is not None
    hub.stdin.write(f"{token}\n{plan.model_dump_json()}\n".encode())
    await hub.stdin.drain()
    try:
        address = (await asyncio.wait_for(hub.stdout.readline(), HUB_SECONDS)).decode().strip()
    except TimeoutError:
        raise DeadlineExceeded(f"the hub did not listen within {HUB_SECONDS:g} s: see {processes.log('hub')}") from None
    if not address:
        await hub.wait()
        said = processes.log("hub").read_text(encoding="utf-8", errors="replace").strip()
        if hub.returncode == InputError.exit_status and said:
            raise InputError(said.splitlines()[-1])
        raise NodeFailure(processes.obituary("hub"))
    return address


class _Watch:
    """Waits for every node, with a deadline, and turns the first thing that goes wrong into one line."""

    def __init__(self, plan: Plan, controller: Controller, processes: Processes) -> None:
        self._plan = plan
        self._controller = controller
        self._processes = processes
        self._names = {node.name for node in plan.nodes}
        self._ready: set[str] = set()
        self._done: set[str] = set()
        self._notes: list[str] = []

    async def until_done(self) -> Outcome:
        started = time.monotonic()
        running_since: float | None = None
        event = asyncio.create_task(self._controller.events.get())
        exit_ = asyncio.create_task(self._processes.any_exit())
        lost = self._controller.lost
        try:
            while self._done != self._names:
                if running_since is None and self._ready == self._names:
                    running_since = time.monotonic()
                timeout = self._remaining(started, running_since)
                waits: list[asyncio.Future[Any]] = [event, exit_, lost]
                await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    self._handle(event.result())
                    event = asyncio.create_task(self._controller.events.get())
                elif exit_.done():
                    await self._handle_exit(exit_.result())
                    exit_ = asyncio.create_task(self._processes.any_exit())
                elif lost.done():
                    lost.result()
        finally:
            event.cancel()
            exit_.cancel()
        assert running_since is not None
        return Outcome(time.monotonic() - running_since, self._controller.hub_priority, self._notes)

    def _remaining(self, started: float, running_since: float | None) -> float:
        """Seconds until the deadline in force; raises when it is past."""
        deadlines = self._plan.deadlines
        if running_since is None:
            limit, since, key, missing = deadlines.start, started, "start", self._names - self._ready
            what = "did not appear"
        else:
            limit, since, key, missing = deadlines.run, running_since, "run", self._names - self._done
            what = "did not finish"
        left = since + limit - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"{self._plan.run}: {', '.join(sorted(missing))} {what} within {limit:g} s (deadlines.{key})"
            )
        return left

    def _handle(self, event: Event) -> None:
        match event.name:
            case "ready":
                self._ready.add(event.node)
            case "done":
                self._ready.add(event.node)
                self._done.add(event.node)
            case "failed":
                raise _failure(event, self._plan.run, self._processes)
            case "silent":
                raise NodeFailure(
                    f"{event.node} has been silent for {event.fields['seconds']:.0f} s: stopped, or starved of CPU "
                    f"(deadlines.silence)"
                )
            case "refused" | "bad frame":
                self._notes.append(f"{event.name} from {event.node}: {event.fields['reason']}")
            case _:
                pass

    async def _handle_exit(self, name: str) -> None:
        """A process has ended: fine once the node has said so, a failure otherwise."""
        deadline = time.monotonic() + GRACE_SECONDS
        while name not in self._done and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                self._handle(await asyncio.wait_for(self._controller.events.get(), 0.1))
        if name not in self._done:
            raise NodeFailure(f"{self._plan.run}: {self._processes.obituary(name)}")


def _failure(event: Event, run: str, processes: Processes) -> NodeFailure:
    error = NodeFailure(f"{run}: {event.node} failed: {event.fields['error']} (see {processes.log(event.node)})")
    error.exit_status = int(event.fields["exit_status"])
    return error
