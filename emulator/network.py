"""The links of a testbed as one network: messages cross the sender's `up` link, then the receiver's `down` link, and
between them those of the segments that lie on their way.

Sans-IO, like the links: `send` and `update` take the time, `advance` says what has arrived, `wakeup` when to look
again. A message travels in chunks, so that the next link starts on it before the one before has finished, and messages
that share a link interleave as packets do. Chunks are accounted for when somebody looks; nobody wakes for one, but
where links are shared fairly.

Nodes may be disconnected and the network partitioned: what is in transit between two nodes that cannot reach each
other stands still, on whatever link it is, out of the way of others; what is sent there waits at its sender. Nothing is
lost, and all goes on when they can.
"""

import heapq
import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import NamedTuple

import numpy as np

from emulator.link import Link, Transfer
from emulator.profiles import LinkProfile
from emulator.ways import Links, Pair, Way, Ways

CHUNK_BYTES = 16 * 1024
CHUNK_SECONDS = 0.002
CHUNKS = 4096
"""A chunk is at least CHUNK_BYTES or what the slowest link carries in CHUNK_SECONDS, and a message at most CHUNKS."""


class Arrival(NamedTuple):
    """The last byte of message `token` has reached the receiver at `due`."""

    token: int
    due: float


class Departure(NamedTuple):
    """Message `token` has left its sender's `up` link."""

    token: int
    time: float


News = list[Arrival | Departure]


@dataclass(slots=True)
class _Flight:
    """A message on its way."""

    token: int
    way: Way
    nbytes: int
    jitter: Sequence[float]


class _Step(Enum):
    """What happens to a chunk."""

    DEPART = auto()
    """The last chunk of a message has left the up link."""
    CROSS = auto()
    """A chunk has crossed a link and comes to the next."""
    ARRIVE = auto()
    """The last chunk of a message has crossed the last link."""


@dataclass(eq=False, slots=True)
class _Event:
    step: _Step
    flight: _Flight
    transfer: Transfer
    hop: int
    """The place on the way of the link that the transfer is on."""
    nbytes: float
    last: bool
    order: int
    pending: bool = True


class Network:
    """All links between the nodes, and what is in transit on them."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._ways = Ways()
        self._random: dict[str, np.random.Generator] = {}
        self._events: list[tuple[float, int, _Event]] = []
        self._alarms: list[tuple[float, int, _Event]] = []  # the events that end a message's way over a link
        self._untimed: dict[Transfer, list[_Event]] = {}  # of what waits for its turn or stands still
        self._turns: list[tuple[float, int, Link]] = []  # when the next has its turn, at links where some wait for it
        self._taking_turns: set[Link] = set()  # those in `_turns`
        self._waiting: dict[Pair, deque[_Flight]] = {}  # for room in a link on the way, in order
        self._admissions: list[tuple[float, int, Pair]] = []
        self._parked: list[_Flight] = []  # at senders that cannot reach the receiver
        self._order = count()
        self._news: News = []  # accounted for, and not yet told
        self._accounted = -math.inf

    # -- what there is

    def add(self, node: str, profile: LinkProfile, segment: str | None = None) -> None:
        """Connect `node`, in `segment` if there is one. Its jitter depends on the network's seed and the node's place
        in the order of adding."""
        self._ways.add(node, profile, segment)
        self._random[node] = np.random.default_rng([self._seed, len(self._random)])

    def add_segment(self, name: str, profile: LinkProfile, parent: str | None = None) -> None:
        """Have a segment reach the network, or the segment `parent`, by links of its own: `up` away from its nodes."""
        self._ways.add_segment(name, profile, parent)

    def promises_nothing(self, sender: str, receiver: str) -> bool:
        """Whether no link on the way limits or delays, and the receiver can be reached."""
        return self._ways.between((sender, receiver)).promises_nothing

    # -- messages

    def draw(self, sender: str, receiver: str) -> Sequence[float]:
        """A message's place in the jitter of the links on its way, in standard deviations."""
        return self._draw(self._ways.between((sender, receiver)))

    def send(
        self,
        sent: float,
        sender: str,
        receiver: str,
        nbytes: int,
        token: int,
        *,
        jitter: Sequence[float] | None = None,
    ) -> None:
        """Put a message on its way that `sender` sent at `sent`; the past is allowed, and made up for.

        It waits at its sender while any later link on its way is over its queue's limit, or the receiver cannot be
        reached. With `jitter` it shares another's `draw`, of which it is a part.
        """
        # The queue it may have to wait for must be as full as it is by then, whoever looked last.
        self._account(sent)
        # One draw for the whole message and link: its chunks are delayed together, as a reliable stream's are.
        way = self._ways.between((sender, receiver))
        self._enter(_Flight(token, way, nbytes, jitter or self._draw(way)), sent)

    def advance(self, now: float) -> News:
        """Account for everything up to `now`; returns what left and what arrived, in order of time."""
        self._account(now)
        news, self._news = self._news, []
        return news

    def wakeup(self) -> float | None:
        """When `advance` may have news: the earliest end of a message's way over a link. None: nothing is."""
        while self._alarms and not self._alarms[0][2].pending:
            heapq.heappop(self._alarms)
        times = [self._alarms[0][0]] if self._alarms else []
        if self._admissions:
            times.append(self._admissions[0][0])
        if self._turns:
            times.append(self._turns[0][0])
        if self._news:
            times.append(self._accounted)
        return min(times, default=None)

    # -- changes; each returns what `advance` would have

    def update(self, now: float, node: str, profile: LinkProfile) -> News:
        """Change a node's links at `now`, what is in transit included."""
        return self._update(now, self._ways.of_node(node), profile)

    def update_segment(self, now: float, name: str, profile: LinkProfile) -> News:
        """Change a segment's links at `now`, what is in transit included."""
        return self._update(now, self._ways.of_segment(name), profile)

    def connect(self, now: float, node: str, connected: bool) -> News:
        """Let `node` reach the others from `now` on, or not."""
        done = self.advance(now)
        if self._ways.connect(node, connected):
            self._hold()
        return done

    def partition(self, now: float, groups: Sequence[Collection[str]]) -> News:
        """From `now` on nodes of different `groups` cannot reach each other; those in none reach all. No groups: all
        reach all. Raises ValueError for a node in two."""
        done = self.advance(now)
        if self._ways.partition(groups):
            self._hold()
        return done

    def _update(self, now: float, links: Links, profile: LinkProfile) -> News:
        done = self.advance(now)
        at = max(now, self._accounted)
        for link, channel in zip(links, (profile.up, profile.down), strict=True):
            link.update(at, channel)
        self._ways.forget()
        self._retime(at)
        return done

    def _hold(self) -> None:
        """Have stand still from now on what has to, and let move what may."""
        now = self._accounted
        for link in self._ways.links:
            link.hold(now, self._ways.apart)
        self._retime(now)
        for pair in [pair for pair in self._waiting if self._ways.apart(pair)]:
            self._parked += self._waiting.pop(pair)
        self._admissions = [entry for entry in self._admissions if entry[2] in self._waiting]
        heapq.heapify(self._admissions)
        parked, self._parked = self._parked, []
        for flight in parked:
            self._enter(flight, now)

    def _retime(self, now: float) -> None:
        """Look up anew when everything happens: it may have changed."""
        events = [event for _, _, event in self._events]
        events += (event for of_one in self._untimed.values() for event in of_one)
        self._untimed = {}
        self._events, self._alarms = [], []
        for event in events:
            self._await(event)
        self._admissions = [(now, order, pair) for _, order, pair in self._admissions]
        heapq.heapify(self._admissions)
        self._turns = []
        self._taking_turns = set()
        for link in self._ways.links:
            self._serve(now, link)

    # -- what happens

    def _account(self, now: float) -> None:
        if now > self._accounted:
            self._accounted = now
        events = self._events
        while True:
            time = events[0][0] if events else math.inf
            turn = self._turns[0][0] if self._turns else math.inf
            room = self._admissions[0][0] if self._admissions else math.inf
            if min(time, turn, room) > now:
                return
            if room <= turn and room <= time:
                self._admit_next(*heapq.heappop(self._admissions))
            elif turn <= time:
                self._next_turn(*heapq.heappop(self._turns))
            else:
                self._happen(time, heapq.heappop(events)[2])

    def _happen(self, time: float, event: _Event) -> None:
        event.pending = False
        if event.step is _Step.CROSS:
            self._cross(time, event)
        elif event.step is _Step.DEPART:
            self._news.append(Departure(event.flight.token, time))
        else:
            self._news.append(Arrival(event.flight.token, time))

    def _cross(self, time: float, event: _Event) -> None:
        """A chunk comes to the next link on its way."""
        flight, crossing, hop = event.flight, event.transfer, event.hop + 1
        way = flight.way
        link = way.links[hop]
        since = crossing.due - (crossing.sent - crossing.begun)
        transfer = link.send(time, event.nbytes, since=since, jitter=flight.jitter[hop], flow=way.pair)
        if hop < way.last:
            self._schedule(_Step.CROSS, flight, transfer, hop, event.nbytes, event.last)
        elif event.last:
            self._schedule(_Step.ARRIVE, flight, transfer, hop, event.nbytes, True)
        if transfer.due == math.inf:
            self._serve(time, link)

    def _draw(self, way: Way) -> Sequence[float]:
        if not way.jittered:
            return way.no_jitter
        draws: list[float] = self._random[way.pair[0]].standard_normal(len(way.links)).tolist()
        return draws

    def _enter(self, flight: _Flight, now: float) -> None:
        """Let `flight` onto its way at `now`, or have it wait at its sender."""
        pair = flight.way.pair
        if self._ways.apart(pair):
            self._parked.append(flight)
        elif self._waiting and pair in self._waiting:
            self._waiting[pair].append(flight)
        else:
            self._admit(flight, now)

    def _admit(self, flight: _Flight, now: float) -> bool:
        """Let `flight` onto its sender's link, or have it wait while a later link is over its limit."""
        way = flight.way = self._ways.between(flight.way.pair)  # the links as they are by now
        room = max([link.room(now) for link in way.later])
        if room > now:
            self._waiting.setdefault(way.pair, deque([flight]))
            heapq.heappush(self._admissions, (room, next(self._order), way.pair))
            return False
        size = max(CHUNK_BYTES, way.rate / 8 * CHUNK_SECONDS, flight.nbytes / CHUNKS)
        chunks = max(1, math.ceil(flight.nbytes / size))
        part = flight.nbytes / chunks
        up = way.links[0]
        for index in range(1, chunks + 1):
            transfer = up.send(now, part, jitter=flight.jitter[0], flow=way.pair)
            self._schedule(_Step.CROSS, flight, transfer, 0, part, index == chunks)
        self._schedule(_Step.DEPART, flight, transfer, 0, part, True)
        if transfer.due == math.inf:
            self._serve(now, up)
        return True

    def _admit_next(self, now: float, _: int, pair: Pair) -> None:
        waiting = self._waiting[pair]
        while waiting:
            if not self._admit(waiting[0], now):
                return
            waiting.popleft()
        del self._waiting[pair]

    def _next_turn(self, now: float, _: int, link: Link) -> None:
        self._taking_turns.discard(link)
        self._serve(now, link)

    def _serve(self, now: float, link: Link) -> None:
        """Let those begin at `link` whose turn has come, and come back for the next."""
        for transfer in link.serve(now):
            for event in self._untimed.pop(transfer, ()):
                self._await(event)
        if link.next_turn is not None and link not in self._taking_turns:
            heapq.heappush(self._turns, (link.next_turn, next(self._order), link))
            self._taking_turns.add(link)

    def _schedule(self, step: _Step, flight: _Flight, transfer: Transfer, hop: int, nbytes: float, last: bool) -> None:
        self._await(_Event(step, flight, transfer, hop, nbytes, last, next(self._order)))

    def _await(self, event: _Event) -> None:
        """Have it happen when its transfer says; once that has a time."""
        transfer = event.transfer
        if transfer.due == math.inf:
            self._untimed.setdefault(transfer, []).append(event)
            return
        entry = transfer.sent if event.step is _Step.DEPART else transfer.due, event.order, event
        heapq.heappush(self._events, entry)
        if event.last:
            heapq.heappush(self._alarms, entry)
