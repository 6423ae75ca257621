"""The messages of one run on their way through the links: taken from their senders, delivered when they are due."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import zmq

from emulator.bus import wire
from emulator.bus.wire import Header, Kind
from emulator.clock import Clock
from emulator.in_force import Effect, carry_out
from emulator.network import Arrival, Departure
from emulator.plan import Plan
from emulator.profiles import LinkProfile

ACCOUNT_SECONDS = 0.005
EARLY_BYTES = 64 * 1024
"""From this size on, what the host takes to carry a message to its receiver is hidden in the time of the links."""

Post = Callable[[str, list[Any]], None]
"""Sends frames to the node of that name."""
Horizon = Callable[[], float]
"""The emulated time that the links may not pass yet: that of a change which is still to be made of them."""


@dataclass
class _Held:
    """A message in the links; `early` is its number where the receiver has it already."""

    header: Header
    frames: list[zmq.Frame]
    early: int | None = None


class Transit:
    """The links of `plan`, empty at first; the run's clock starts with them, at 0."""

    def __init__(self, plan: Plan, post: Post, horizon: Horizon = lambda: math.inf) -> None:
        self.clock = Clock(plan.scale)
        self.ended: set[str] = set()
        """The nodes whose program has ended: what comes for them is not received."""
        self._post = post
        self._horizon = horizon
        self._reached = 0.0  # what the links have accounted for
        self._keeps_count = {node.name for node in plan.nodes if math.isfinite(node.link.up.queue)}
        self._network = plan.network()
        self._held: dict[int, _Held] = {}
        self._numbered = 0
        self._missed = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unreceived(self) -> int:
        """Messages that are still on their way, or came when the receiver's program had ended."""
        return len(self._held) + self._missed

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self, header: Header, frames: list[zmq.Frame]) -> None:
        """A message from its sender; `frames` are the header's and the tensors'."""
        header.nbytes, header.due = sum(len(frame) for frame in frames), None
        if header.off_clock:
            self._deliver(_Held(header, frames))
            return
        if not self._held and self._network.promises_nothing(header.sender, header.receiver):
            self._deliver(_Held(header, frames))
            self._credit(header, header.sent)
            return
        self._numbered += 1
        held = self._held[self._numbered] = _Held(header, frames)
        if header.nbytes >= EARLY_BYTES:
            early = replace(header, kind=Kind.EARLY, number=self._numbered)
            self._post(header.receiver, [wire.pack(early), *frames[1:]])
            held.early, held.frames = self._numbered, []
        self._network.send(header.sent, header.sender, header.receiver, header.nbytes, self._numbered)
        self._reached = max(self._reached, header.sent)
        wakeup = self._network.wakeup()
        if wakeup is not None and wakeup <= self.clock.now():
            self._pump()
        else:
            self._wake_at(wakeup)

    def update(self, node: str, link: LinkProfile) -> float:
        """Give `node` another link, what is in transit on the one it had included; returns the emulated time of it."""
        now = self._now()
        self._count(node, link)
        self._tell(self._network.update(now, node, link))
        self._pump()
        return now

    def carry_out(self, at: float, effect: Effect) -> float:
        """Have the links be so from the emulated time `at` on, what is in transit included; returns from when they are:
        what has been accounted for is over."""
        self._reached = since = max(at, self._reached)
        if effect.node is not None:
            self._count(effect.who, effect.node.link)
        self._tell(carry_out(self._network, since, effect))
        self._pump()
        return since

    def _now(self) -> float:
        self._reached = max(self._reached, min(self.clock.now(), self._horizon()))
        return self._reached

    def _count(self, node: str, link: LinkProfile) -> None:
        if math.isfinite(link.up.queue):
            self._keeps_count.add(node)  # and it stays: what was counted has to be credited

    def _pump(self) -> None:
        """Deliver what is due, and wake again when the next may be."""
        self._tell(self._network.advance(self._now()))
        self._wake_at(self._network.wakeup())

    def _wake_at(self, wakeup: float | None) -> None:
        """Look again at that emulated time, or before."""
        if wakeup is None or wakeup > self._horizon():  # the change comes first, which looks again
            self.close()
            return
        # Looked at now and then, the chunks of a large message are not all left to account for when it is due.
        loop = asyncio.get_running_loop()
        when = min(self.clock.host_time(wakeup), loop.time() + ACCOUNT_SECONDS)
        if self._timer is None or when < self._timer.when():
            self.close()
            self._timer = loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()

    def _tell(self, happened: Iterable[Arrival | Departure]) -> None:
        """Let receivers and senders know of it."""
        for news in happened:
            if isinstance(news, Arrival):
                held = self._held.pop(news.token)
                if not self._network.promises_nothing(held.header.sender, held.header.receiver):
                    held.header.due = news.due
                self._deliver(held)
            else:
                self._credit(self._held[news.token].header, news.time)

    def _credit(self, header: Header, departed: float) -> None:
        """Tell the sender, if it keeps count, that the message left its link at the emulated time `departed`."""
        if header.sender in self._keeps_count:
            fields = {"number": header.number, "departed": departed}
            self._post(header.sender, [wire.pack(Header(Kind.CREDIT, fields=fields))])

    def _deliver(self, held: _Held) -> None:
        header = held.header
        if header.receiver in self.ended and not header.off_clock:
            self._missed += 1
        if held.early is not None:
            release = Header(Kind.RELEASE, number=held.early, due=header.due)
            self._post(header.receiver, [wire.pack(release)])
        else:
            self._post(header.receiver, [wire.pack(header), *held.frames[1:]])
