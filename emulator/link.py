"""One direction of a link: a transmitter, then a propagation delay.

Sans-IO: time comes in as a parameter (seconds of any clock), so the hub, the virtual runtime and the tests use the
same object. Rates are in bit/s, sizes in bytes. The transmitter's rate is constant, or follows a trace, whose time is
that of the clock. It serves first come, first served, or its flows in turn (see `turns`).
"""

import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from emulator.profiles import Channel
from emulator.rate import of_channel
from emulator.transport import payload, repair_delay
from emulator.turns import Turns

ROUNDING = 1.0
"""Bytes that are none: what arithmetic makes of the terabytes that a trace may have carried is far less."""


class Transfer:
    """One piece of traffic on one link; `update` and `hold` re-time it while it is in transit."""

    __slots__ = ("arrived", "begun", "due", "flow", "jitter", "left", "sent", "start")

    def __init__(self, arrived: float, left: float, jitter: float, flow: Hashable) -> None:
        self.arrived = arrived
        """When its last byte reached the link."""
        self.flow = flow
        """Whose it is."""
        self.jitter = jitter
        """Its place in the jitter's distribution, in standard deviations."""
        self.left = left
        """Bytes still to transmit at `start`."""
        self.start = arrived
        """From when the transmitter works on what is `left`, at the rate now in force."""
        self.begun = arrived
        """When its first bit leaves the transmitter."""
        self.sent = arrived
        """When its last byte leaves the transmitter; infinity while it waits for its turn or stands still."""
        self.due = arrived
        """When its last byte reaches the far end; infinity while nobody can know."""


class Link:
    """The traffic of one direction, in order, never above the rate.

    A message sent whole or in pieces is due at the same time. Delay does not cap the rate: it counts from the end of
    the transmission. Jitter never reorders: what would overtake waits. Where `sharing` is fair, each flow is served in
    order, and flows are served alike: what comes to a busy transmitter has no due time until `serve` gives it one.
    """

    def __init__(self, channel: Channel) -> None:
        self._transit: deque[Transfer] = deque()  # whose turn has come, in order
        self._turns: Turns[Transfer] | None = None  # where the link is shared fairly
        self._still: list[tuple[float, Transfer]] = []  # what stands still, and since when
        self._free = -math.inf  # when the transmitter has nothing left to do, or is free for the next
        self._last_due = -math.inf
        self._configure(channel)

    def send(
        self, now: float, nbytes: float, *, since: float | None = None, jitter: float = 0.0, flow: Hashable = None
    ) -> Transfer:
        """Enqueue `nbytes` whose last byte is here at `now` and whose first came at `since` (default: `now`).

        With `since` the transmitter starts on the first byte before the last has come, as a packet network does.
        `jitter` is a draw from the unit normal distribution. Returns the transfer; its `due` holds until `update` or
        `hold`.
        """
        transit = self._transit
        while transit and transit[0].due <= now:
            transit.popleft()
        transfer = Transfer(now, nbytes, jitter, flow)
        first = now if since is None else since
        if self._turns is not None:
            if self._turns or self._free > now:
                transfer.begun, transfer.sent, transfer.due = first, math.inf, math.inf
                self._turns.add(transfer)
                return transfer
            self._turns.idle()
            self._turns.add(transfer)
            self._turns.next()
        transfer.start = transfer.begun = max(first, self._free)
        self._finish(transfer)
        transit.append(transfer)
        return transfer

    def serve(self, now: float) -> list[Transfer]:
        """Begin those whose turn has come by `now`; they have their due times. Nothing where nobody takes turns."""
        begun: list[Transfer] = []
        while self._turns and self._free <= now:
            transfer = self._turns.next()
            transfer.start = transfer.begun = max(transfer.begun, self._free)
            self._finish(transfer)
            self._transit.append(transfer)
            begun.append(transfer)
        return begun

    @property
    def next_turn(self) -> float | None:
        """When `serve` will have somebody to begin. None: nobody waits for a turn."""
        return self._free if self._turns else None

    def update(self, now: float, channel: Channel) -> None:
        """Change the link at `now`: what is not yet transmitted goes on at the new rate, what is not yet delivered
        gets the new delay, and nothing arrives before `now`."""
        unsent = self._stop(now)
        self._configure(channel)
        self._go_on(now, unsent)

    def hold(self, now: float, stands: Callable[[Any], bool]) -> None:
        """From `now` on the flows of which `stands` says so stand still, and all others move.

        What stands still is nowhere in the way of others. It keeps what of it is transmitted and how far it has come;
        when it moves again, the rest of it is behind what had come in the meantime.
        """
        unsent = self._stop(now)
        moving = [entry for entry in self._still if not stands(entry[1].flow)]
        self._still = [entry for entry in self._still if stands(entry[1].flow)]
        for transfer in (*self._transit, *unsent):
            if stands(transfer.flow):
                transfer.due = math.inf
                self._still.append((now, transfer))
        transit = [transfer for transfer in self._transit if not stands(transfer.flow)]
        unsent = [transfer for transfer in unsent if not stands(transfer.flow)]
        for since, transfer in moving:
            transfer.begun = transfer.begun + (now - since) if transfer.begun < since else now
            if math.isinf(transfer.sent):
                unsent.append(transfer)
            else:
                transfer.sent += now - since
                transit.append(transfer)
        self._transit = deque(sorted(transit, key=lambda transfer: transfer.sent))
        self._go_on(now, unsent)

    def backlog(self, now: float) -> float:
        """Bytes that wait for the transmitter at `now`; not what stands still."""
        if math.isinf(self._rate):
            return 0.0
        waiting = self._turns.nbytes if self._turns else 0.0
        if self._trace is None:
            return waiting + max(0.0, self._free - now) * self._rate / 8
        return waiting + (self._trace.carried(now, self._free) if self._free > now else 0.0)

    def below(self, nbytes: float) -> float:
        """The time from which at most `nbytes` wait, if no more traffic comes."""
        waiting = self._turns.nbytes if self._turns else 0.0
        if self._trace is None:
            return self._free - (nbytes - waiting) * 8 / self._rate
        return self._trace.finish(0.0, self._trace.carried(0.0, max(0.0, self._free)) + waiting - nbytes)

    def room(self, now: float) -> float:
        """From when a sender whose message comes this way need not wait: `now`, unless the queue is over its limit."""
        if self._free <= now and not self._turns:
            return now
        # Where a trace carries nothing for a while, no later moment makes up for what rounding leaves.
        most = self._channel.queue if self._trace is None else self._channel.queue + ROUNDING
        if self.backlog(now) <= most:
            return now
        # Strictly later, or rounding could bring the same moment again for ever.
        return max(self.below(self._channel.queue), math.nextafter(now, math.inf))

    @property
    def channel(self) -> Channel:
        """The profile in force."""
        return self._channel

    @property
    def rate(self) -> float:
        """Bit/s of payload after loss; of a trace, the mean over its period."""
        return self._rate

    @property
    def latency(self) -> float:
        """Seconds from the transmitter to the far end, repairs of losses included, jitter not."""
        return self._delay

    @property
    def promises_nothing(self) -> bool:
        """Whether the link neither limits nor delays: what crosses it takes as long as the host takes."""
        return math.isinf(self._rate) and self._delay == 0 and self._channel.jitter == 0

    def _configure(self, channel: Channel) -> None:
        self._channel = channel
        trace = of_channel(channel)
        self._trace = None if trace is None else trace.mapped(lambda rate: payload(channel, rate))
        self._rate = payload(channel, channel.rate) if self._trace is None else self._trace.mean
        self._jitter = channel.jitter
        self._delay = channel.delay + repair_delay(channel.delay, channel.loss, channel.burst)
        if (channel.sharing == "fair") != (self._turns is not None):
            self._turns = Turns() if channel.sharing == "fair" else None

    def _stop(self, now: float) -> list[Transfer]:
        """Take what is not yet transmitted at `now` off the link, in order, and forget what is delivered."""
        moving = [transfer for transfer in self._transit if transfer.due > now]
        self._transit = deque(transfer for transfer in moving if transfer.sent <= now)
        unsent = [transfer for transfer in moving if transfer.sent > now]
        for transfer in unsent:
            if transfer.start < now:
                transfer.left = max(0.0, transfer.left - self._carried(transfer.start, now))
            transfer.sent = math.inf
        for transfer in self._turns.clear() if self._turns is not None else ():
            transfer.begun = now
            unsent.append(transfer)
        return unsent

    def _go_on(self, now: float, unsent: list[Transfer]) -> None:
        """Land what is on its way, and transmit `unsent` from `now` on."""
        self._last_due = now
        for transfer in self._transit:
            self._land(transfer)
        self._free = min(self._free, now)
        cursor = now
        for place, transfer in enumerate(unsent):
            if self._turns is not None and (place > 0 or transfer.begun >= now):
                transfer.begun, transfer.due = now, math.inf
                self._turns.add(transfer)
                continue
            # What was begun before `now` has its first part through already.
            transfer.begun = cursor if transfer.begun >= now else transfer.begun + (cursor - now)
            transfer.start = cursor
            self._finish(transfer)
            self._transit.append(transfer)
            cursor = self._free

    def _carried(self, since: float, until: float) -> float:
        return (until - since) * self._rate / 8 if self._trace is None else self._trace.carried(since, until)

    def _finish(self, transfer: Transfer) -> None:
        if self._trace is None:
            self._free = transfer.start + transfer.left * 8 / self._rate
        else:
            self._free = self._trace.finish(transfer.start, transfer.left)
        transfer.sent = self._free if self._free > transfer.arrived else transfer.arrived
        self._land(transfer)

    def _land(self, transfer: Transfer) -> None:
        due = transfer.sent + (max(0.0, self._delay + transfer.jitter * self._jitter) if self._jitter else self._delay)
        if due > self._last_due:  # else it waits for those before it
            self._last_due = due
        transfer.due = self._last_due
