"""The `Node` of a program that runs as a process on the bus."""

import asyncio
import math
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import zmq

from emulator.bus import wire
from emulator.bus.computing import Device
from emulator.bus.endpoint import Endpoint
from emulator.bus.outgoing import Outgoing
from emulator.bus.parts import Assembly
from emulator.bus.wire import Header, Kind, WireError
from emulator.clock import SAME_MOMENT, Clock
from emulator.errors import DeadlineExceeded
from emulator.node import GONE, Array, Deadline, Message, Work
from emulator.system import keep, release
from emulator.timeline import CARRY_SECONDS, FOR_OTHERS, LEFT_OUT, WAIT, Metric, Span
from emulator.units import SIZE, show

T = TypeVar("T")
PATIENCE_SECONDS = CARRY_SECONDS / 2
"""How long past a deadline a node waits for what was due before it, and this host brings late: what waiting takes is
carried over, too, and there must be room for the lateness of what follows."""
FLUSH_SECONDS = 0.25
FLUSH_ENTRIES = 500


class BusNode:
    """A node on the bus for one run.

    `welcome` says what the node is, `start` which run this is and when it began, both in the hub's words.
    """

    def __init__(self, endpoint: Endpoint, welcome: Mapping[str, Any], start: Mapping[str, Any]) -> None:
        self.name = endpoint.name
        self.role: str = welcome["role"]
        self.peers: dict[str, list[str]] = welcome["peers"]
        self.config: dict[str, Any] = start["config"]
        self.round = 0
        self._endpoint = endpoint
        self._run: str = start["run"]
        self._window: float = welcome["bus"]["window"]
        self._message_deadline: float = welcome["bus"]["message_deadline"]
        self._real_time: bool = welcome["bus"]["real_time"]  # the kernel carries what is sent now, not from earlier
        self._in_scenario: bool = welcome["bus"]["scenario"]
        known = {name for names in self.peers.values() for name in names}
        self._outgoing = Outgoing(self.name, known, welcome["bus"]["max_message"])
        self._clock = Clock(start["scale"], start["epoch"] - endpoint.hub_ahead.offset, endpoint.host_time)
        self._device = Device(welcome["slowdown"], self._clock, throttled=welcome["compute"] == "quota")
        self._settled = 0.0  # the emulated time the program has reached
        self._inbox: list[tuple[float, Message]] = []  # with the emulated time each was there
        self._early: dict[int, tuple[Header, list[zmq.Frame]]] = {}  # here, but still in transit on the links
        self._assemblies: dict[tuple[str, bool], Assembly] = {}  # of each sender, off the clock or on it
        self._arrived = asyncio.Event()
        self._outstanding: dict[int, int] = {}  # bytes of each message sent that has not left the up link
        self._room = asyncio.Event()
        self._departed = 0.0  # when the last of them left, or the queue changed, in emulated time
        self._sent = 0
        self._telemetry: list[dict[str, Any]] = []
        self._noted = asyncio.Event()

    # -- the program's side

    async def send(
        self,
        to: str,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        tensors: Mapping[str, Array] | None = None,
        *,
        off_clock: bool = False,
    ) -> None:
        nbytes = self._outgoing.nbytes(to, kind, tensors)
        header = Header(Kind.DATA, self.name, to, kind, round=self.round, off_clock=off_clock)
        header.fields = dict(fields or {})
        if not off_clock:
            await self._wait_for_room(to, nbytes)
            self._sent += 1
            header.number = self._sent
            if math.isfinite(self._window):
                self._outstanding[header.number] = nbytes
        header.sent = self._clock.now() if self._real_time else self._reached()
        try:
            self._endpoint.send(header, tensors, in_parts=self._real_time)
        except WireError as error:
            raise self._outgoing.refused(to, kind, error) from None

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
        last, host_seconds = math.inf, self._message_deadline
        left = host_seconds
        if by is not None:
            last, host_seconds = by.at + SAME_MOMENT, (by.at - by.since) * self._clock.scale
            # Where the kernel carries messages, they are there when they come: none has been due before.
            patience = 0.0 if self._real_time else PATIENCE_SECONDS
            left = max(0.0, by.at - self._clock.now()) * self._clock.scale + patience
        deadline, over = time.monotonic() + left, False
        while True:
            for index, (there, message) in enumerate(self._inbox):
                if kind in (None, message.kind) and sender in (None, message.sender) and there <= last:
                    del self._inbox[index]
                    self._settle(there)
                    return message
            if over:
                break
            self._arrived.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                over = True  # if this loop was held up, what is here may have come before
        if by is not None:
            self._settle(by.at)
        what = f"'{kind}'" if kind else "message"
        raise DeadlineExceeded(
            f"{self.name}: no {what} from {sender or 'any peer'} within {host_seconds:g} s of host time"
        )

    def deadline(self, seconds: float) -> Deadline:
        now = self._reached()
        return Deadline(now, now + seconds)

    def waited(self, since: Deadline) -> None:
        start, end = since.since, self._reached()
        if end > start:
            due = since.at if start < since.at <= end else None
            self._note(Span(self._run, self.round, self.name, WAIT, start, end, due=due, detail=FOR_OTHERS))

    def leave_out(self, peer: str) -> None:
        now = self._reached()
        self._note(Span(self._run, self.round, peer, LEFT_OUT, now, now, off_clock=True))

    async def compute(self, stage: str, fn: Callable[[], T], work: Work | None = None) -> T:
        async with self._device.free:
            start = self._reached()
            computed = await self._device.compute(fn, start)
            span = Span(
                run=self._run,
                round=self.round,
                node=self.name,
                stage=stage,
                start=start,
                end=computed.end,
                due=computed.due,
                cpu=computed.cpu,
                probe=computed.probe,
                mode=computed.mode,
                throttled=computed.throttled,
                flops=work.flops if work else None,
            )
            self._settle(span.settled)
            self._note(span)
            return computed.result

    async def off_clock(self, fn: Callable[[], T]) -> T:
        self._say_off_clock(self._reached(), begins=True)
        sets_up = self.round == 0
        if sets_up:
            # What the run before has set up is collected now, when nobody waits, and what this one does stays.
            release()
            keep()
        try:
            result = await self._device.beside(fn)
            if sets_up:
                keep()
        finally:
            now = self._clock.now()
            self._say_off_clock(now, begins=False)
        self._settle(now)
        return result

    def record(self, metric: str, value: float) -> None:
        self._note(Metric(self._run, self.round, self.name, metric, float(value)))

    # -- the process's side

    @property
    def cores(self) -> float:
        """The cores of this host that its device takes."""
        return self._device.cores

    async def run(self, program: Callable[[Any], Any]) -> None:
        """Run `program` to its end, and deliver all it noted."""
        flushing = asyncio.create_task(self._flush_regularly())
        try:
            await program(self)
        finally:
            flushing.cancel()
            self._flush()
            self._device.close()

    def on_message(self, header: Header, frames: list[zmq.Frame]) -> None:
        """Take a message from the hub."""
        match header.kind:
            case Kind.DATA:
                self._take(header, wire.decode_tensors(header, frames))
            case Kind.HEAD:
                self._assemblies[header.sender, header.off_clock] = Assembly(header)
            case Kind.PART:
                assembly = self._assemblies.get((header.sender, header.off_clock))
                if assembly is not None and assembly.add(frames[0]):
                    del self._assemblies[header.sender, header.off_clock]
                    self._take(assembly.header, assembly.tensors)
            case Kind.EARLY:
                self._early[header.number] = header, frames
            case Kind.RELEASE:
                early, its_frames = self._early.pop(header.number)
                early.due = header.due
                self._take(early, wire.decode_tensors(early, its_frames))
            case Kind.CREDIT:
                self._outstanding.pop(header.fields["number"], None)
                self._departed = header.fields["departed"]
                self._room.set()
            case Kind.CHANGE:
                self._change(header.fields)
            case Kind.GONE:
                self._inbox.append((self._clock.now(), Message(header.fields["node"], GONE, self.round, {}, {})))
                self._arrived.set()
            case _:
                pass

    def _say_off_clock(self, at: float, *, begins: bool) -> None:
        """Have a scenario's time stand still meanwhile."""
        if self._in_scenario:
            self._endpoint.send(Header(Kind.OFF_CLOCK, sent=at, fields={"begins": begins}))

    def _change(self, fields: Mapping[str, Any]) -> None:
        """What this node is from now on, in the words of the hub's welcome."""
        self._window = fields["bus"]["window"]
        self._departed = max(self._departed, fields["at"])
        self._room.set()
        self._device.update(fields["slowdown"], fields["at"])

    def _take(self, header: Header, tensors: dict[str, Array]) -> None:
        span = Span(
            run=self._run,
            round=header.round,
            node=header.sender,
            stage=header.stage,
            start=header.sent,
            end=max(self._clock.now(), header.sent),  # clocks of two hosts agree only so far
            bytes=header.nbytes,
            peer=self.name,
            due=header.due,
            off_clock=header.off_clock,
        )
        self._note(span)
        message = Message(header.sender, header.stage, header.round, header.fields, tensors)
        self._inbox.append((span.settled, message))
        self._arrived.set()

    async def _wait_for_room(self, to: str, nbytes: int) -> None:
        """Wait until the message fits the up link's queue; one larger than the queue goes alone."""
        if self._has_room(nbytes):
            return
        start = self._reached()
        deadline = time.monotonic() + self._message_deadline
        while not self._has_room(nbytes):
            self._room.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._room.wait()
            except TimeoutError:
                raise DeadlineExceeded(
                    f"{self.name}: its up link had no room for {show(nbytes, SIZE, 4)} to {to} "
                    f"within {self._message_deadline:g} s of host time"
                ) from None
        due = max(start, self._departed)
        span = Span(self._run, self.round, self.name, WAIT, start, self._clock.now(), due=due)
        self._settle(span.settled)
        self._note(span)

    def _settle(self, emulated: float) -> None:
        """The program has come as far as this."""
        self._settled = max(self._settled, emulated)

    def _reached(self) -> float:
        """From when what the program does now counts.

        That is when what it waited for was due, though the host brought it a little later: pacing is against absolute
        deadlines, and what one is missed by is made up for at the next.
        """
        now = self._clock.now()
        return self._settled if (now - self._settled) * self._clock.scale <= CARRY_SECONDS else now

    def _has_room(self, nbytes: int) -> bool:
        return not self._outstanding or sum(self._outstanding.values()) + nbytes <= self._window

    def _note(self, entry: Span | Metric) -> None:
        self._telemetry.append(entry.to_fields())
        self._noted.set()

    def _flush(self) -> None:
        for at in range(0, len(self._telemetry), FLUSH_ENTRIES):
            entries = self._telemetry[at : at + FLUSH_ENTRIES]
            self._endpoint.send(Header(Kind.TELEMETRY, fields={"entries": entries}))
        self._telemetry.clear()

    async def _flush_regularly(self) -> None:
        # All nodes note at once; were they to say at once what they noted, everything else would wait meanwhile.
        phase = zlib.crc32(self.name.encode()) / 2**32 * FLUSH_SECONDS
        while True:
            # Not woken for nothing: what that takes, a device under a CPU quota of a few percent of a core misses.
            await self._noted.wait()
            await asyncio.sleep(FLUSH_SECONDS - (time.monotonic() - phase) % FLUSH_SECONDS)
            self._noted.clear()
            self._flush()
