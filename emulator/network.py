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

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from emulator.link import Link, Transfer
from emulator.profiles import LinkProfile
from emulator.ways import Links, Pair, Way, Ways

CHUNK_BYTES = 16 * 1024
CHUNK_SECONDS = 0.002
CHUNKS = 4096
"""A chunk is at least CHUNK_BYTES or what the slowest link carries in CHUNK_SECONDS, and a message at most CHUNKS."""

DRAWN = 32
"""Places in the jitter that are drawn at a time."""


class Arrival(NamedTuple):
    """The last byte of message `token` has reached the receiver at `due`."""

    token: int
    due: float


class Departure(NamedTuple):
    """Message `token` has left its sender's `up` link."""

    token: int
    time: float


News = list[Arrival | Departure]


@dataclass(slots=True, eq=False)
class _Flight:
    """A message on its way."""

    token: int
    way: Way
    nbytes: int
    jitter: Sequence[float]
    chunk: float = 0.0
    """Bytes of each of its chunks."""


class _Step(Enum):
    """What happens to a chunk."""

    DEPART = auto()
    """The last chunk of a message has left the up link."""
    CROSS = auto()
    """A chunk has crossed a link and comes to the next."""
    FOLLOW = auto()
    """The last chunk of a message has, and does."""
    ARRIVE = auto()
    """The last chunk of a message has crossed the last link."""


_CROSS, _FOLLOW, _DEPART, _ARRIVE = _Step  # looking one up in its class takes as long as what is done with it

_Event = tuple[float, int, _Step, _Flight, Transfer, int]
"""When it happens, a number that sorts those of one time, what happens to which message, and by its transfer on the
link of which place on its way."""


class Network:
    """All links between the nodes, and what is in transit on them."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._ways = Ways()
        self._random: dict[str, Iterator[float]] = {}
        self._events: list[_Event] = []
        self._alarms: list[float] = []  # when there is an event that ends a message's way over a link
        self._untimed: dict[Transfer, list[_Event]] = {}  # of what waits for its turn or stands still
        self._turns: list[tuple[float, int, Link]] = []  # when the next has its turn, at links where some wait for it
        self._taking_turns: set[Link] = set()  # those in `_turns`
        self._waiting: dict[Pair, deque[_Flight]] = {}  # for room in a link on the way, in order
        self._admissions: list[tuple[float, int, Pair]] = []
        self._parked: list[_Flight] = []  # at senders that cannot reach the receiver
        self._order = count()
        self._news: News = []  # accounted for, and not yet told
        self._arrived = False  # whether there are arrivals among them
        self._accounted = -math.inf

    # -- what there is

    def add(self, node: str, profile: LinkProfile, segment: str | None = None) -> None:
        """Connect `node`, in `segment` if there is one. Its jitter depends on the network's seed and the node's place
        in the order of adding."""
        self._ways.add(node, profile, segment)
        self._random[node] = _normals(np.random.default_rng([self._seed, len(self._random)]))

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
        news, self._news, self._arrived = self._news, [], False
        return news

    def wakeup(self) -> float | None:
        """When `advance` may have news: the earliest end of a message's way over a link. None: nothing is."""
        time = self._accounted if self._news else math.inf
        if self._alarms:
            time = min(time, self._alarms[0])
        if self._admissions:
            time = min(time, self._admissions[0][0])
        if self._turns:
            time = min(time, self._turns[0][0])
        return None if time == math.inf else time

    def foresee(self, until: float, *, departures: bool) -> float:
        """The time, by `until`, from which `advance` has an arrival or, with `departures`, a departure; else infinity.

        Accounts for what happens before: until then nobody may send, or change a link.
        """
        while not (self._arrived or (departures and self._news)):
            time = self._events[0][0] if self._events else math.inf
            others = self._turns or self._admissions
            if others:
                time = min([time, *(queue[0][0] for queue in (self._turns, self._admissions) if queue)])
            if time > until or time == math.inf:
                return math.inf
            if others:
                self._account(time)
            else:  # the same for the one event; what else there is at its time is accounted for by who looks then
                self._accounted = max(self._accounted, time)
                self._happen(*heappop(self._events))
        return self._accounted

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
        heapify(self._admissions)
        parked, self._parked = self._parked, []
        for flight in parked:
            self._enter(flight, now)

    def _retime(self, now: float) -> None:
        """Look up anew when everything happens: it may have changed."""
        events = self._events
        events += (event for of_one in self._untimed.values() for event in of_one)
        self._untimed = {}
        self._events, self._alarms = [], []
        for _, order, step, flight, transfer, hop in events:
            self._await(order, step, flight, transfer, hop)
        self._admissions = [(now, order, pair) for _, order, pair in self._admissions]
        heapify(self._admissions)
        self._turns = []
        self._taking_turns = set()
        for link in self._ways.links:
            self._serve(now, link)

    # -- what happens

    def _account(self, now: float) -> None:
        if now > self._accounted:
            self._accounted = now
        while True:
            if self._admissions or self._turns:
                time = self._events[0][0] if self._events else math.inf
                turn = self._turns[0][0] if self._turns else math.inf
                room = self._admissions[0][0] if self._admissions else math.inf
                if room <= now and room <= turn and room <= time:
                    self._admit_next(*heappop(self._admissions))
                    continue
                if turn <= now and turn <= time:
                    self._next_turn(*heappop(self._turns))
                    continue
            if not self._events or self._events[0][0] > now:
                return
            self._happen(*heappop(self._events))

    def _happen(self, time: float, _: int, step: _Step, flight: _Flight, transfer: Transfer, hop: int) -> None:
        if step is _CROSS:
            self._cross(time, flight, transfer, hop + 1, step)
            return
        heappop(self._alarms)  # its own: the next of all events is the next of these
        if step is _FOLLOW:
            self._cross(time, flight, transfer, hop + 1, step)
        elif step is _DEPART:
            self._news.append(Departure(flight.token, time))
        else:
            self._news.append(Arrival(flight.token, time))
            self._arrived = True

    def _cross(self, time: float, flight: _Flight, crossed: Transfer, hop: int, step: _Step) -> None:
        """A chunk comes to the link `hop` on its way."""
        way = flight.way
        link = way.links[hop]
        since = crossed.due - (crossed.sent - crossed.begun)
        transfer = link.send(time, flight.chunk, since=since, jitter=flight.jitter[hop], flow=way.pair)
        if hop < way.last:
            self._await(next(self._order), step, flight, transfer, hop)
        elif step is _FOLLOW:
            self._await(next(self._order), _ARRIVE, flight, transfer, hop)
        if transfer.due == math.inf:
            self._serve(time, link)

    def _draw(self, way: Way) -> Sequence[float]:
        if not way.jittered:
            return way.no_jitter
        return [*islice(self._random[way.pair[0]], len(way.links))]

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
            heappush(self._admissions, (room, next(self._order), way.pair))
            return False
        chunks = min(CHUNKS, math.ceil(flight.nbytes / max(CHUNK_BYTES, way.rate / 8 * CHUNK_SECONDS))) or 1
        flight.chunk = flight.nbytes / chunks
        up, order = way.links[0], self._order
        for _ in range(chunks - 1):
            transfer = up.send(now, flight.chunk, jitter=flight.jitter[0], flow=way.pair)
            self._await(next(order), _CROSS, flight, transfer, 0)
        transfer = up.send(now, flight.chunk, jitter=flight.jitter[0], flow=way.pair)
        self._await(next(order), _FOLLOW, flight, transfer, 0)
        self._await(next(order), _DEPART, flight, transfer, 0)
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
            for _, order, step, flight, _, hop in self._untimed.pop(transfer, ()):
                self._await(order, step, flight, transfer, hop)
        if link.next_turn is not None and link not in self._taking_turns:
            heappush(self._turns, (link.next_turn, next(self._order), link))
            self._taking_turns.add(link)

    def _await(self, order: int, step: _Step, flight: _Flight, transfer: Transfer, hop: int) -> None:
        """Have it happen when its transfer says; once that has a time."""
        if transfer.due == math.inf:
            self._untimed.setdefault(transfer, []).append((math.inf, order, step, flight, transfer, hop))
            return
        time = transfer.sent if step is _DEPART else transfer.due
        heappush(self._events, (time, order, step, flight, transfer, hop))
        if step is not _CROSS:
            heappush(self._alarms, time)


def _normals(generator: np.random.Generator) -> Iterator[float]:
    """Draws from the unit normal distribution; one by one they would take as long as the rest of a message."""
    while True:
        yield from generator.standard_normal(DRAWN).tolist()
