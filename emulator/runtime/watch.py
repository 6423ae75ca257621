"""Follows a run from outside: waits for every node, with a deadline, whatever they live in."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from emulator.bus.controller import Controller, Event
from emulator.change import told
from emulator.errors import DeadlineExceeded, NodeFailure
from emulator.offset import Standing
from emulator.plan import Plan
from emulator.pulse import Pulse
from emulator.runtime.program import dispensable
from emulator.timeline import Entry

GRACE_SECONDS = 1.0
"""How long a node's last words may take to reach the controller after its home has ended."""


class Observer(Protocol):
    """Who follows an experiment."""

    def entry(self, entry: Entry) -> None:
        """A span or metric that a node noted."""

    def finished(self, run: str, wall_s: float) -> None:
        """A run is over, all its entries have been given, and it took so many seconds of this host."""


@dataclass
class Outcome:
    """What finished runs leave besides their timelines."""

    hub_priority: str | None
    """None: the hub ran at raised priority; else why not."""
    notes: list[str] = field(default_factory=list)
    """What the reader of the result must know: what was refused or changed on the way, one line each."""
    hosts: int = 1
    """How many hosts the nodes were on."""
    clocks: dict[str, Standing] = field(default_factory=dict)
    """Of each node."""
    hub: Pulse | None = None
    """The hub's in the run in which its timers were latest; None: nobody took it."""
    disturbances: list[str] = field(default_factory=list)
    """What was done to the nodes from outside, one line each."""
    stolen: float | None = None
    """The share of this host's cores that its hypervisor gave to other machines meanwhile; None: nobody counted."""
    kept_awake: bool = False
    """Whether this host's cores were (see `awake`)."""


class Homes(Protocol):
    """What the nodes of a run live in: processes, containers."""

    async def any_exit(self) -> str:
        """The name of a node, or of the hub, whose home has ended and was not reported before."""

    def obituary(self, name: str) -> str:
        """How the home of `name` ended, and the last it said, in one line."""

    def why_silent(self, name: str) -> str:
        """Why `name` may not be heard of, while its home has not ended."""

    async def limit(self) -> None:
        """Every node is ready for its first run: put it under the limits that its start-up is not to feel."""

    def where(self, name: str) -> str:
        """Where to read what `name` says, for the user."""


class Watch:
    """Waits for every node, with a deadline, and turns the first thing that goes wrong into one line."""

    def __init__(self, plan: Plan, controller: Controller, homes: Homes, observer: Observer) -> None:
        self._plan = plan
        self._controller = controller
        self._homes = homes
        self._observer = observer
        self._left = [run.name for run in plan.runs]
        self._missing = {node.name for node in plan.nodes}
        self._gone: set[str] = set()
        self._started = False
        self._since = time.monotonic()
        self._notes: list[str] = []
        self._hosts: set[str] = set()
        self._clocks: dict[str, Standing] = {}
        self._hub: Pulse | None = None

    async def until_done(self) -> Outcome:
        """Returns when the last run is done. Raises the first failure, naming the node and where to read on."""
        event = asyncio.create_task(self._controller.events.get())
        exit_ = asyncio.create_task(self._homes.any_exit())
        lost = self._controller.lost
        try:
            while self._left:
                waits: list[asyncio.Future[Any]] = [event, exit_, lost]
                await asyncio.wait(waits, timeout=self._remaining(), return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    await self._handle(event.result())
                    event = asyncio.create_task(self._controller.events.get())
                elif exit_.done():
                    event.cancel()  # or it would take the last words away
                    await self._handle_exit(exit_.result())
                    event = asyncio.create_task(self._controller.events.get())
                    exit_ = asyncio.create_task(self._homes.any_exit())
                elif lost.done():
                    lost.result()
        finally:
            event.cancel()
            exit_.cancel()
        hosts = max(1, len(self._hosts))
        return Outcome(self._controller.hub_priority, self._notes, hosts, self._clocks, self._hub)

    def _remaining(self) -> float:
        """Seconds until the deadline in force; raises when it is past."""
        deadlines = self._plan.deadlines
        key, limit = ("run", deadlines.run) if self._started else ("start", deadlines.start)
        left = self._since + limit - time.monotonic()
        if left <= 0:
            names = ", ".join(sorted(self._missing))
            what = f"did not finish '{self._left[0]}'" if self._started else "did not appear"
            raise DeadlineExceeded(f"{names} {what} within {limit:g} s (deadlines.{key})")
        return left

    async def _handle(self, event: Event) -> None:
        match event.name:
            case "ready":
                self._missing.discard(event.node)
                if not self._missing:
                    await self._homes.limit()
                    self._go_on()
                    self._controller.ready()
            case "done":
                self._note_times(event)
                self._missing.discard(event.node)
                if not self._missing:
                    self._go_on()
            case "failed":
                raise self._failure(event)
            case "silent":
                self._go_without(
                    event.node,
                    f"{event.node} has been silent for {event.fields['seconds']:.0f} s: "
                    f"{self._homes.why_silent(event.node)} (deadlines.silence)",
                )
            case "changed" if not event.fields.get("scenario"):  # which the experiment foresees
                self._notes += told(event.node, event.fields)
            case "not changed" if "run" in event.fields:  # by the scenario; what a user is refused, the user hears
                self._notes.append(f"{event.fields['run']}: {event.fields['reason']}")
            case "refused" | "bad frame" | "unreceived":
                self._notes.append(f"{event.name} from {event.node}: {event.fields['reason']}")
            case _:
                pass

    def _note_times(self, event: Event) -> None:
        fields = event.fields
        self._hosts.add(fields["host"])
        known = self._clocks.get(event.node)
        if known is None or fields["clock_error"] >= known.error:
            self._clocks[event.node] = Standing(fields["clock_error"], fields.get("offset"), fields.get("within"))
        pulse = Pulse.from_fields(fields["hub"])
        if not self._missing - {event.node} and (self._hub is None or pulse.late_p95 >= self._hub.late_p95):
            self._hub = pulse

    def _go_on(self) -> None:
        """All nodes are ready for the next run, and done with the one before, if there was one."""
        now = time.monotonic()
        if self._started:
            self._observer.finished(self._left.pop(0), now - self._since)
        self._started, self._since = True, now
        self._missing = {node.name for node in self._plan.nodes} - self._gone

    def _failure(self, event: Event) -> NodeFailure:
        run = f"{self._left[0]}: " if self._started else ""
        where = self._homes.where(event.node)
        error = NodeFailure(f"{run}{event.node} failed: {event.fields['error']} (see {where})")
        error.exit_status = int(event.fields["exit_status"])
        return error

    async def _handle_exit(self, name: str) -> None:
        """No home ends before the last run has: report its last words, should they be on their way, or its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._left:
                    await self._handle(await self._controller.events.get())
        if self._left and name not in self._gone:
            self._go_without(name, self._homes.obituary(name))

    def _go_without(self, name: str, why: str) -> None:
        """A node is lost: note it where the programs do without that node from now on; else raise."""
        if not self._started or not self._dispensable(name):
            raise NodeFailure(why)
        self._notes.append(f"{self._left[0]}: {why}; from then on the others went on without it")
        self._gone.add(name)
        self._missing.discard(name)
        self._controller.gone(name)
        if not self._missing:
            self._go_on()

    def _dispensable(self, name: str) -> bool:
        """Whether every run goes on without that node."""
        says = next((dispensable(node.program) for node in self._plan.nodes if node.name == name), None)
        return says is not None and all(says(run.config) for run in self._plan.runs)
