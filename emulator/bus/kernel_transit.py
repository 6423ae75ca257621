"""The messages of one run where the kernel limits their links (`links: kernel`): what the hub still does for them.

It has the place of `Transit`, and one difference: time is not made up for. A message is under way when the kernel
carries it, so what the hub adds (delay, jitter: whatever the kernel has no means for) begins when a part of it has
come, and nothing is sent ahead of its time. No due time is given, for the hub knows none: a message counts as delivered
when it is, and whether the kernel keeps its rate is seen afterwards (see `kernel_fidelity`).
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from emulator import tc
from emulator.bus import wire
from emulator.bus.transit import Horizon, Post
from emulator.bus.wire import Header, Kind, WireError
from emulator.clock import Clock
from emulator.in_force import Effect
from emulator.network import Arrival, Departure, Network
from emulator.plan import Plan
from emulator.profiles import LinkProfile

SIGN_SECONDS = 1.0


@dataclass
class _Message:
    """A message of which some is not yet here."""

    header: Header
    left: int
    """Bytes of tensors still to come."""
    jitter: Sequence[float]


@dataclass
class _Piece:
    """A message, its head or a part of it on the way through the hub."""

    receiver: str
    frames: list[Any]
    last: bool


class KernelTransit:
    """What the kernel leaves of the links of `plan`, empty at first; the run's clock starts with them, at 0."""

    def __init__(self, plan: Plan, post: Post, _: Horizon = lambda: math.inf) -> None:
        assert plan.kernel is not None, "the kernel has not been probed"
        self.clock = Clock(plan.scale)
        self.ended: set[str] = set()
        """The nodes whose program has ended: what comes for them is not received."""
        self._post = post
        self._kernel = plan.kernel
        self._keeps_count = {node.name for node in plan.nodes if math.isfinite(node.link.up.queue)}
        self._network = Network(plan.seed)
        for node in plan.nodes:
            self._network.add(node.name, tc.remaining(node.link, self._kernel))
        self._coming: dict[str, _Message] = {}  # of each sender, for it sends one after the other
        self._signs: dict[str, float] = {}  # when the hub last said something to a sender that sends parts
        self._held: dict[int, _Piece] = {}
        self._numbered = 0
        self._missed = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unreceived(self) -> int:
        """Messages that are still on their way, or came when the receiver's program had ended."""
        coming = [message for message in self._coming.values() if not message.header.off_clock]
        return len(coming) + sum(piece.last for piece in self._held.values()) + self._missed

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def take(self, header: Header, frames: list[zmq.Frame]) -> None:
        """A message, its head or a part, from its sender; raises `WireError` for a part of nothing."""
        header.due = None
        forwarded: list[Any] = list(frames)
        if header.kind is Kind.PART:
            message = self._part(header, frames)
        else:
            message = self._begin(header, frames)
            forwarded[0] = wire.pack(header)
        last = message.left == 0
        if last:
            self._coming.pop(header.sender, None)
        if message.header.off_clock:
            self._post(header.receiver, forwarded)
            return
        if last:
            self._credit(message.header)
        piece = _Piece(header.receiver, forwarded, last)
        if not self._held and self._network.promises_nothing(header.sender, header.receiver):
            self._deliver(piece)
            return
        self._numbered += 1
        self._held[self._numbered] = piece
        nbytes = sum(len(frame) for frame in frames)
        now = self.clock.now()
        self._network.send(now, header.sender, header.receiver, nbytes, self._numbered, jitter=message.jitter)
        self._pump()

    def update(self, node: str, link: LinkProfile) -> float:
        """Have the hub emulate what is now left of the node's links; returns the emulated time of it.

        What the kernel does of them changes in the kernel, a moment earlier or later.
        """
        now = self.clock.now()
        if math.isfinite(link.up.queue):
            self._keeps_count.add(node)  # and it stays: what was counted has to be credited
        self._tell(self._network.update(now, node, tc.remaining(link, self._kernel)))
        self._pump()
        return now

    def carry_out(self, at: float, effect: Effect) -> float:
        """The kernel's links change when it is done with it, and not at a time: no scenario has them do so."""
        raise AssertionError(f"a scenario changes {effect.who} while links are the kernel's")

    def _begin(self, header: Header, frames: list[zmq.Frame]) -> _Message:
        broken_off = self._coming.pop(header.sender, None)  # its connection was lost, and the rest with it
        if broken_off is not None and not broken_off.header.off_clock:
            self._missed += 1
        to_come = sum(wire.tensor_sizes(header)) if header.kind is Kind.HEAD else 0
        header.nbytes = sum(len(frame) for frame in frames) + to_come
        message = _Message(header, to_come, self._network.draw(header.sender, header.receiver))
        if to_come:
            self._coming[header.sender] = message
        return message

    def _part(self, header: Header, frames: list[zmq.Frame]) -> _Message:
        message = self._coming.get(header.sender)
        nbytes = sum(len(frame) for frame in frames[1:])
        if message is None or len(frames) != 2 or not 0 < nbytes <= message.left:
            raise WireError(f"{header.sender} sends a part of no message")
        if (header.receiver, header.off_clock) != (message.header.receiver, message.header.off_clock):
            raise WireError(f"{header.sender} sends a part of another message than the one it began")
        message.left -= nbytes
        # The sender's own heartbeats wait behind its message, and the hub's answers with them.
        if time.monotonic() - self._signs.get(header.sender, 0.0) >= SIGN_SECONDS:
            self._signs[header.sender] = time.monotonic()
            self._post(header.sender, [wire.pack(Header(Kind.BEAT))])
        return message

    def _pump(self) -> None:
        """Deliver what is due, and wake again when the next is."""
        self._tell(self._network.advance(self.clock.now()))
        self.close()
        wakeup = self._network.wakeup()
        if wakeup is not None:
            when = self.clock.host_time(wakeup)
            self._timer = asyncio.get_running_loop().call_at(when, self._pump)

    def _tell(self, happened: list[Arrival | Departure]) -> None:
        for news in happened:
            if isinstance(news, Arrival):
                self._deliver(self._held.pop(news.token))

    def _deliver(self, piece: _Piece) -> None:
        if piece.last and piece.receiver in self.ended:
            self._missed += 1
        self._post(piece.receiver, piece.frames)

    def _credit(self, header: Header) -> None:
        """Tell the sender, if it keeps count, that its link has carried the message: it is here."""
        if header.sender in self._keeps_count:
            fields = {"number": header.number, "departed": self.clock.now()}
            self._post(header.sender, [wire.pack(Header(Kind.CREDIT, fields=fields))])
