"""The `Node` of a program that runs in virtual time."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from emulator.bus.frames import Frames
from emulator.bus.outgoing import Outgoing
from emulator.bus.wire import Header, Kind, WireError
from emulator.clock import SAME_MOMENT, Clock, VirtualEventLoop
from emulator.device import due, since
from emulator.errors import DeadlineExceeded
from emulator.node import Array, Deadline, Message, Work
from emulator.plan import NodePlan
from emulator.timeline import FOR_OTHERS, LEFT_OUT, WAIT, Metric, Span

T = TypeVar("T")


class World(Protocol):
    """What a node needs of the run that it takes part in."""

    run: str
    peers: dict[str, list[str]]
    known: Collection[str]
    config: dict[str, Any]
    clock: Clock
    frames: Frames
    max_message: float

    waiting: int
    """How many nodes wait for room in their up links: departures are told of at once for them alone."""

    def look(self) -> None:
        """Tell everybody what has happened by now."""

    def carry(self, header: Header, message: Message) -> None:
        """Take a message from its sender."""

    def until(self, emulated: float) -> "asyncio.Future[None]":
        """Ends at that emulated time."""

    def charge(self, node: NodePlan, stage: str, work: Work | None) -> float:
        """Emulated seconds that this computation takes the node's device."""

    def note(self, entry: Span | Metric) -> None:
        """Write down what happened."""


@dataclass(eq=False, slots=True)
class _Waiter:
    """A `receive` that nothing has come for."""

    kind: str | None
    sender: str | None
    last: float
    """What is there later is too late."""
    got: "asyncio.Future[tuple[float, Message]]"

    def wants(self, message: Message, there: float) -> bool:
        return (
            (self.kind is None or self.kind == message.kind)
            and (self.sender is None or self.sender == message.sender)
            and there <= self.last
        )

    def __str__(self) -> str:
        what = f"'{self.kind}'" if self.kind else "a message"
        return f"{what} from {self.sender or 'any peer'}"


class VirtualNode:
    """A node whose device takes what the cost model says, and which is never late.

    `number` counts its messages that cross links; `arrive` and `depart` are called by the world.
    """

    def __init__(self, world: World, plan: NodePlan) -> None:
        self.name = plan.name
        self.role = plan.role
        self.peers = world.peers
        self.config = world.config
        self.round = 0
        self._world = world
        self._plan = plan
        self._outgoing = Outgoing(self.name, world.known, world.max_message)
        self._device = asyncio.Lock()
        self._slowdowns = [(0.0, plan.slowdown)]
        self._computing: asyncio.Future[None] | None = None
        self._is_another = False  # than it began the run as
        self._settled = 0.0
        self._inbox: dict[tuple[str, str], deque[tuple[int, float, Message]]] = {}
        self._arrived = 0
        self._waiters: list[_Waiter] = []
        self._outstanding: dict[int, int] = {}  # bytes of each message sent that has not left the up link
        self._waiting = 0  # their sum
        self._room: asyncio.Future[None] | None = None
        self._departed = 0.0
        self._sent = 0
        self._frames = world.frames
        self._now = world.clock.now

    async def send(
        self,
        to: str,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        tensors: Mapping[str, Array] | None = None,
        *,
        off_clock: bool = False,
    ) -> None:
        payload = self._outgoing.nbytes(to, kind, tensors)
        header = Header(Kind.DATA, self.name, to, kind, 0, self.round, 0.0, off_clock, dict(fields) if fields else {})
        if not off_clock:
            if not self._has_room(payload):
                self._world.look()
                if not self._has_room(payload):
                    await self._wait_for_room(payload)
            self._sent += 1
            header.number = self._sent
            self._outstanding[header.number] = payload
            self._waiting += payload
        header.sent = self._reached()
        try:
            header.nbytes = self._frames.nbytes(header, tensors or {})
        except WireError as error:
            raise self._outgoing.refused(to, kind, error) from None
        views = {name: _read_only(array) for name, array in tensors.items()} if tensors else {}
        self._world.carry(header, Message(self.name, kind, self.round, header.fields, views))

    async def receive(
        self,
        kind: str | None = None,
        sender: str | None = None,
        *,
        timeout: float | None = None,
        by: Deadline | None = None,
    ) -> Message:
        if by is None and timeout is not None:
            by = self.deadline(timeout)
        last = math.inf if by is None else by.at + SAME_MOMENT
        there = self._take(kind, sender, last)
        if there is None:
            waiter = _Waiter(kind, sender, last, asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            try:
                if by is not None:
                    await self._until(by.at, waiter.got)
                    if not waiter.got.done():
                        self._settled = max(self._settled, by.at)
                        raise DeadlineExceeded(f"{self.name}: no {waiter} within {by.at - by.since:g} s")
                there = await waiter.got
            finally:
                self._waiters.remove(waiter)
        self._settled = max(self._settled, there[0])
        return there[1]

    def deadline(self, seconds: float) -> Deadline:
        now = self._reached()
        return Deadline(now, now + seconds)

    def waited(self, since: Deadline) -> None:
        start, end = since.since, self._reached()
        if end > start:
            self._world.note(
                Span(
                    self._world.run, self.round, self.name, WAIT, start, end,
                    source="modelled", due=end, detail=FOR_OTHERS,
                )
            )  # fmt: skip

    def leave_out(self, peer: str) -> None:
        now = self._reached()
        self._world.note(
            Span(self._world.run, self.round, peer, LEFT_OUT, now, now, source="modelled", off_clock=True)
        )  # fmt: skip

    async def compute(self, stage: str, fn: Callable[[], T], work: Work | None = None) -> T:
        async with self._device:
            start = self._reached()
            if self._is_another:
                self._slowdowns = since(self._slowdowns, start)
            seconds = self._world.charge(self._plan, stage, work)
            cpu = seconds / self._plan.slowdown
            result = fn()
            end = await self._until_done(start, seconds, cpu)
            self._settled = max(self._settled, end)
            flops = work.flops if work else None
            self._world.note(
                Span(
                    self._world.run, self.round, self.name, stage, start, end, source="modelled", due=end,
                    mode="modelled", flops=flops, cpu=cpu if self._is_another else None,
                )
            )  # fmt: skip
            return result

    async def _until_done(self, start: float, seconds: float, cpu: float) -> float:
        """Return when the device is done that began at `start`, whatever it becomes in the meantime: that time."""
        end, known = start + seconds, len(self._slowdowns)
        while True:
            if known > 1:
                end = due(start, cpu, self._slowdowns)
            if end > start:
                self._computing = self._world.until(end)
                await self._computing
            if len(self._slowdowns) == known:
                return end
            known = len(self._slowdowns)

    async def off_clock(self, fn: Callable[[], T]) -> T:
        return fn()

    def record(self, metric: str, value: float) -> None:
        self._world.note(Metric(self._world.run, self.round, self.name, metric, float(value)))

    # -- the world's side

    def arrive(self, message: Message, there: float) -> None:
        """`message` is there, at that emulated time."""
        for waiter in self._waiters:
            if not waiter.got.done() and waiter.wants(message, there):
                waiter.got.set_result((there, message))
                return
        self._arrived += 1
        self._inbox.setdefault((message.sender, message.kind), deque()).append((self._arrived, there, message))

    def depart(self, number: int, time: float) -> bool:
        """The message of that number has left the up link at the emulated `time`. Whether anybody waited for that."""
        self._waiting -= self._outstanding.pop(number)
        self._departed = time
        if self._room is None or self._room.done():
            return False
        self._room.set_result(None)
        return True

    def become(self, plan: NodePlan, at: float) -> None:
        """Be another node from the emulated time `at` on, also for what is being computed or waits for room."""
        if plan.slowdown != self._plan.slowdown:
            self._slowdowns.append((at, plan.slowdown))
            self._is_another = True
            if self._computing is not None and not self._computing.done():
                self._computing.set_result(None)  # to look anew when it ends
        self._plan = plan
        self._departed = max(self._departed, at)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    @property
    def waits_for(self) -> str:
        """What it cannot go on without, in words."""
        waits = [str(waiter) for waiter in self._waiters if not waiter.got.done()]
        if self._room is not None:
            waits.append("room in its up link")
        return " and ".join(waits) or "something in its own program"

    async def _until(self, moment: float, got: "asyncio.Future[Any]") -> None:
        """Wait for `got`, to the end of the emulated `moment`."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualEventLoop)
        over = self._world.until(moment)
        try:
            await asyncio.wait({over, got}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if not got.done():
            await loop.moment_over()

    def _take(self, kind: str | None, sender: str | None, last: float) -> tuple[float, Message] | None:
        """The oldest message that fits and was there by the emulated time `last`."""
        if kind is not None and sender is not None:
            key = (sender, kind)
            if key not in self._inbox:
                return None
        else:
            fitting = [k for k in self._inbox if kind in (None, k[1]) and sender in (None, k[0])]
            if not fitting:
                return None
            key = min(fitting, key=lambda k: self._inbox[k][0][0])
        line = self._inbox[key]
        if line[0][1] > last:
            return None
        _, there, message = line.popleft()
        if not line:
            del self._inbox[key]
        return there, message

    async def _wait_for_room(self, payload: int) -> None:
        """Wait until the message fits the up link's queue; one larger than the queue goes alone."""
        start = self._reached()
        self._world.waiting += 1
        try:
            while not self._has_room(payload):
                if self._room is None or self._room.done():
                    self._room = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._room)
        finally:
            self._world.waiting -= 1
        self._room = None
        end = max(start, self._departed)
        self._settled = max(self._settled, end)
        self._world.note(
            Span(self._world.run, self.round, self.name, WAIT, start, end, source="modelled", due=end)
        )  # fmt: skip

    def _has_room(self, payload: int) -> bool:
        return not self._outstanding or self._waiting + payload <= self._plan.link.up.queue

    def _reached(self) -> float:
        """The emulated time: that of what the program waited for, free of the rounding of the loop's own time."""
        now = self._now()
        if now - self._settled > SAME_MOMENT:
            self._settled = now
        return self._settled


def _read_only(array: Array) -> Array:
    if not array.flags.writeable and array.flags.c_contiguous:
        return array
    view = np.asarray(array, order="C").view()
    view.flags.writeable = False
    return view
