"""The links of a testbed as one network: messages cross the sender's `up` link, then the receiver's `down` link.

Sans-IO, like the links: `send` and `update` take the time, `advance` says what has arrived, `wakeup` when to look
again. A message travels in chunks, so that the second link starts on it before the first has finished, and messages
that share a link interleave as packets do. Chunks are accounted for when somebody looks; nobody wakes for one.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

import numpy as np

from emulator.link import Link, Transfer
from emulator.profiles import LinkProfile

CHUNK_BYTES = 16 * 1024
CHUNK_SECONDS = 0.002
CHUNKS = 4096
"""A chunk is at least CHUNK_BYTES or what the slower link carries in CHUNK_SECONDS, and a message at most CHUNKS."""


@dataclass(frozen=True)
class Arrival:
    """The last byte of message `token` has reached the receiver at `due`."""

    token: int
    due: float


@dataclass(frozen=True)
class Departure:
    """Message `token` has left its sender's `up` link."""

    token: int
    time: float


@dataclass
class _Flight:
    """A message on its way."""

    token: int
    sender: str
    receiver: str
    nbytes: int
    sent: float
    jitter: tuple[float, float]


class _Step(Enum):
    """What happens to a chunk."""

    DEPART = auto()
    """The last chunk of a message has left the up link."""
    CROSS = auto()
    """A chunk has crossed the up link and comes to the down link."""
    ARRIVE = auto()
    """The last chunk of a message has crossed the down link."""


@dataclass(order=True)
class _Event:
    time: float
    order: int
    step: _Step = field(compare=False)
    flight: _Flight = field(compare=False)
    transfer: Transfer = field(compare=False)
    nbytes: float = field(compare=False)
    last: bool = field(compare=False)
    pending: bool = field(default=True, compare=False)

    def retime(self) -> None:
        self.time = self.transfer.sent if self.step is _Step.DEPART else self.transfer.due


class Network:
    """All links between the nodes, and what is in transit on them."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._up: dict[str, Link] = {}
        self._down: dict[str, Link] = {}
        self._random: dict[str, np.random.Generator] = {}
        self._events: list[_Event] = []
        self._alarms: list[_Event] = []  # the events that end a message's way over a link
        self._waiting: dict[tuple[str, str], deque[_Flight]] = {}  # for room in the receiver's link, in order
        self._admissions: list[tuple[float, int, tuple[str, str]]] = []
        self._order = count()
        self._news: list[Arrival | Departure] = []  # accounted for, and not yet told
        self._accounted = -math.inf

    def add(self, node: str, profile: LinkProfile) -> None:
        """Connect `node`. Its jitter depends on the network's seed and the node's place in the order of adding."""
        self._up[node] = Link(profile.up)
        self._down[node] = Link(profile.down)
        self._random[node] = np.random.default_rng([self._seed, len(self._random)])

    def promises_nothing(self, sender: str, receiver: str) -> bool:
        """Whether no link on the way limits or delays."""
        return self._up[sender].promises_nothing and self._down[receiver].promises_nothing

    def draw(self, sender: str, receiver: str) -> tuple[float, float]:
        """A message's place in the jitter of its two links, in standard deviations."""
        if not (self._up[sender].channel.jitter or self._down[receiver].channel.jitter):
            return 0.0, 0.0
        up, down = self._random[sender].standard_normal(2)
        return float(up), float(down)

    def send(
        self,
        sent: float,
        sender: str,
        receiver: str,
        nbytes: int,
        token: int,
        *,
        jitter: tuple[float, float] | None = None,
    ) -> None:
        """Put a message on its way that `sender` sent at `sent`; the past is allowed, and made up for.

        With `jitter` it shares another's `draw`, of which it is a part.
        """
        # The queue it may have to wait for must be as full as it is by then, whoever looked last.
        self._account(sent)
        # One draw for the whole message and link: its chunks are delayed together, as a reliable stream's are.
        flight = _Flight(token, sender, receiver, nbytes, sent, jitter or self.draw(sender, receiver))
        line = self._waiting.get((sender, receiver))
        if line is None:
            self._admit(flight, sent)
        else:
            line.append(flight)

    def advance(self, now: float) -> list[Arrival | Departure]:
        """Account for everything up to `now`; returns what left and what arrived, in order of time."""
        self._account(now)
        news, self._news = self._news, []
        return news

    def _account(self, now: float) -> None:
        self._accounted = max(self._accounted, now)
        while True:
            event_time = self._events[0].time if self._events else math.inf
            admission_time = self._admissions[0][0] if self._admissions else math.inf
            if min(event_time, admission_time) > now:
                return
            if admission_time <= event_time:
                self._admit_next(*heapq.heappop(self._admissions))
                continue
            event = heapq.heappop(self._events)
            event.pending = False
            flight = event.flight
            if event.step is _Step.DEPART:
                self._news.append(Departure(flight.token, event.time))
            elif event.step is _Step.ARRIVE:
                self._news.append(Arrival(flight.token, event.time))
            else:
                crossing = event.transfer
                transfer = self._down[flight.receiver].send(
                    event.time,
                    event.nbytes,
                    since=crossing.due - (crossing.sent - crossing.begun),
                    jitter=flight.jitter[1],
                )
                if event.last:
                    self._schedule(_Step.ARRIVE, flight, transfer, event.nbytes, last=True)

    def wakeup(self) -> float | None:
        """When `advance` may have news: the earliest end of a message's way over a link. None: nothing is."""
        while self._alarms and not self._alarms[0].pending:
            heapq.heappop(self._alarms)
        times = [self._alarms[0].time] if self._alarms else []
        if self._admissions:
            times.append(self._admissions[0][0])
        if self._news:
            times.append(self._accounted)
        return min(times, default=None)

    def update(self, now: float, node: str, profile: LinkProfile) -> list[Arrival | Departure]:
        """Change a node's links at `now`, what is in transit included; returns what `advance` would have."""
        done = self.advance(now)
        self._up[node].update(now, profile.up)
        self._down[node].update(now, profile.down)
        for event in self._events:
            event.retime()
        heapq.heapify(self._events)
        self._alarms = [event for event in self._events if event.last]
        heapq.heapify(self._alarms)
        self._admissions = [(now, order, line) for _, order, line in self._admissions]
        heapq.heapify(self._admissions)
        return done

    def _admit(self, flight: _Flight, now: float) -> bool:
        """Let `flight` onto its sender's link, or have it wait while the receiver's link is over its limit."""
        down, line = self._down[flight.receiver], (flight.sender, flight.receiver)
        if down.backlog(now) > down.channel.queue:
            self._waiting.setdefault(line, deque([flight]))
            # Strictly later, or rounding could bring the same moment again for ever.
            retry = max(down.below(down.channel.queue), math.nextafter(now, math.inf))
            heapq.heappush(self._admissions, (retry, next(self._order), line))
            return False
        up = self._up[flight.sender]
        slowest = min(up.rate, down.rate)
        size = max(CHUNK_BYTES, slowest / 8 * CHUNK_SECONDS, flight.nbytes / CHUNKS)
        chunks = max(1, math.ceil(flight.nbytes / size))
        part = flight.nbytes / chunks
        for index in range(1, chunks + 1):
            transfer = up.send(now, part, jitter=flight.jitter[0])
            self._schedule(_Step.CROSS, flight, transfer, part, last=index == chunks)
        self._schedule(_Step.DEPART, flight, transfer, part, last=True)
        return True

    def _admit_next(self, now: float, _: int, line: tuple[str, str]) -> None:
        waiting = self._waiting[line]
        while waiting:
            if not self._admit(waiting[0], now):
                return
            waiting.popleft()
        del self._waiting[line]

    def _schedule(self, step: _Step, flight: _Flight, transfer: Transfer, nbytes: float, *, last: bool) -> None:
        event = _Event(0.0, next(self._order), step, flight, transfer, nbytes, last)
        event.retime()
        heapq.heappush(self._events, event)
        if last:
            heapq.heappush(self._alarms, event)
