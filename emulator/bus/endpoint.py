"""A node's socket on the bus: registers it, keeps its heartbeat, and brings what the hub has for it."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import zmq

from emulator.bus import wire
from emulator.bus.parts import split
from emulator.bus.socket import Socket
from emulator.bus.wire import Header, Kind, Tensors, WireError
from emulator.errors import DeadlineExceeded, EdgebedError, Refused
from emulator.offset import NOTHING_KNOWN, ONE_CLOCK, Estimate, better, measured
from emulator.system import host_id

BEAT_SECONDS = 2.0
"""Each costs a millisecond of CPU time, which a device under a CPU quota of a few percent of a core misses."""
LEAST_BEATS = 5
"""In the time after which a node that has sent none is given up."""
LINGER_SECONDS = 5.0
UNANSWERED = 3
"""Beats that may be without an answer while a node counts as in touch with the hub."""
CLOCK_QUESTIONS = 16
CLOCK_QUESTION_SECONDS = 0.02
"""How often, and how far apart, a node on another host than the hub's asks for its time before it takes part."""
CHECK_QUESTIONS = 4
CHECK_QUESTION_SECONDS = 0.002
"""The same of a node on the hub's own host, which has only to find out whether their clock is indeed one."""

Handler = Callable[[Header, list[zmq.Frame]], None]


class Endpoint:
    """A DEALER connected to the hub.

    `on_message(header, frames)` is called for everything from the hub but heartbeats; `frames` are the tensors'.
    ZeroMQ reconnects by itself after the connection is lost; a hub that stays silent ends in `lost`.
    """

    def __init__(self, name: str, address: str, token: str, on_message: Handler, identity: bytes | None = None) -> None:
        self.name = name
        # Of its own choosing, to survive a reconnection; given, to be taken over by who follows it under its name.
        self._identity = identity or uuid.uuid4().bytes
        self._address = address
        self._token = token
        self._on_message = on_message
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: Socket | None = None
        self._welcome: asyncio.Future[dict[str, Any]] | None = None
        self._beats: asyncio.Task[None] | None = None
        self._unanswered = 0
        self.host_time: Callable[[], float] = time.monotonic
        """This host's clock."""
        self._elsewhere = False  # on another host than the hub's
        self._measured = NOTHING_KNOWN
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with an exception when the hub refuses this node or falls silent."""

    async def register(self, timeout: float) -> dict[str, Any]:
        """Connect and register; returns the hub's welcome.

        Raises `Refused` with the hub's reason, `DeadlineExceeded` when there is no answer in `timeout` seconds.
        """
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.IDENTITY, self._identity)
        dealer.setsockopt(zmq.SNDHWM, 0)
        dealer.setsockopt(zmq.RCVHWM, 0)
        dealer.setsockopt(zmq.RECONNECT_IVL, 50)
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        dealer.connect(self._address)
        self._socket = Socket(dealer, self._receive)
        self._welcome = asyncio.get_running_loop().create_future()
        self.send(Header(Kind.REGISTER, fields={"token": self._token}))
        try:
            async with asyncio.timeout(timeout):
                welcome = await self._welcome
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.name}: no answer from the hub at {self._address} within {timeout:g} s: is it running?"
            ) from None
        self._beats = asyncio.create_task(self._beat(float(welcome["bus"]["silence"])))
        self._elsewhere = welcome["host"] != host_id()
        often, apart = CHECK_QUESTIONS, CHECK_QUESTION_SECONDS
        if self._elsewhere:
            often, apart = CLOCK_QUESTIONS, CLOCK_QUESTION_SECONDS
        for _ in range(often):
            self._ask()
            await asyncio.sleep(apart)
        return welcome

    @property
    def in_touch(self) -> bool:
        """Whether the hub has answered the last beats."""
        return self._beats is not None and not self.lost.done() and self._unanswered <= UNANSWERED

    @property
    def hub_ahead(self) -> Estimate:
        """How far the hub's clock is ahead of this host's, which all times are corrected by; 0 where they are one."""
        return self._measured if self._elsewhere else ONE_CLOCK

    @property
    def measured(self) -> Estimate:
        """How far the hub's clock was found to be ahead, be it this host's own: then it should be 0."""
        return self._measured

    def send(self, header: Header, tensors: Tensors | None = None, *, in_parts: bool = False) -> None:
        """Send a message to the hub. Raises `WireError` for what the bus cannot carry."""
        assert self._socket is not None, "register first"
        header.sender = self.name
        frames = wire.encode(header, tensors)
        for message in split(header, frames) if in_parts else [frames]:
            self._socket.send(message)

    def close(self, linger: float = LINGER_SECONDS) -> None:
        """Leave the bus; what is already sent still goes out, for `linger` seconds at most if there is a hub."""
        if self._beats is not None:
            self._beats.cancel()
        if self._socket is not None:
            there = self._beats is not None and not self.lost.done()
            self._socket.close(linger if there else 0.0)
        self._context.term()
        if not self.lost.cancel() and not self.lost.cancelled():
            self.lost.exception()  # seen, whether or not anybody waited for it

    async def _beat(self, silence: float) -> None:
        # Beats are counted, not seconds: a program that held this loop up is not to be taken for a silent hub.
        apart = min(BEAT_SECONDS, silence / LEAST_BEATS)
        while self._unanswered * apart <= silence:
            self._unanswered += 1
            self._ask()
            await asyncio.sleep(apart)
        self._fail(DeadlineExceeded(f"{self.name}: the hub at {self._address} has been silent for {silence:g} s"))

    def _ask(self) -> None:
        """A sign of life, which is also a question for the hub's time."""
        self.send(Header(Kind.BEAT, fields={"asked": self.host_time()}))

    def _receive(self, frames: list[zmq.Frame]) -> None:
        self._unanswered = 0
        try:
            header = wire.unpack(frames[0].buffer)
            wire.check_frames(header, [len(frame) for frame in frames[1:]], float("inf"))
        except WireError as error:
            self._fail(Refused(f"{self.name}: the hub at {self._address} does not speak this protocol: {error}"))
            return
        match header.kind:
            case Kind.BEAT:
                new = measured(header.fields["asked"], header.fields["there"], self.host_time())
                self._measured = better(self._measured, new)
            case Kind.WELCOME:
                if self._welcome is not None and not self._welcome.done():
                    self._welcome.set_result(header.fields)
            case Kind.REFUSED:
                self._fail(Refused(f"{self.name}: refused by the hub: {header.fields.get('reason')}"))
            case _:
                self._on_message(header, frames[1:])

    def _fail(self, error: EdgebedError) -> None:
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(error)
        elif not self.lost.done():
            self.lost.set_exception(error)
