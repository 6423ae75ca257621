"""One direction of a link: a first-come-first-served transmitter, then a propagation delay.

Sans-IO: time comes in as a parameter (seconds of any clock), so the hub, the virtual runtime and the tests use the
same object. Rates are in bit/s, sizes in bytes.
"""

import math
from collections import deque

from emulator.profiles import Channel
from emulator.trace import of_channel
from emulator.transport import payload, repair_delay


class Transfer:
    """One piece of traffic on one link; `Link.update` re-times it while it is in transit."""

    __slots__ = ("arrived", "begun", "due", "jitter", "left", "sent", "start")

    def __init__(self, arrived: float, left: float, jitter: float) -> None:
        self.arrived = arrived
        """When its last byte reached the link."""
        self.jitter = jitter
        """Its place in the jitter's distribution, in standard deviations."""
        self.left = left
        """Bytes still to transmit at `start`."""
        self.start = arrived
        """From when the transmitter works on what is `left`, at the rate now in force."""
        self.begun = arrived
        """When its first bit leaves the transmitter."""
        self.sent = arrived
        """When its last byte leaves the transmitter."""
        self.due = arrived
        """When its last byte reaches the far end."""


class Link:
    """The traffic of one direction, in order, never above the rate.

    A message sent whole or in pieces is due at the same time. Delay does not cap the rate: it counts from the end of
    the transmission. Jitter never reorders: what would overtake waits.
    """

    def __init__(self, channel: Channel) -> None:
        self._transit: deque[Transfer] = deque()
        self._free = -math.inf  # when the transmitter has nothing left to do
        self._last_due = -math.inf
        self._configure(channel)

    def send(self, now: float, nbytes: float, *, since: float | None = None, jitter: float = 0.0) -> Transfer:
        """Enqueue `nbytes` whose last byte is here at `now` and whose first came at `since` (default: `now`).

        With `since` the transmitter starts on the first byte before the last has come, as a packet network does.
        `jitter` is a draw from the unit normal distribution. Returns the transfer; its `due` holds until `update`.
        """
        while self._transit and self._transit[0].due <= now:
            self._transit.popleft()
        transfer = Transfer(now, nbytes, jitter)
        transfer.start = transfer.begun = max(now if since is None else since, self._free)
        self._finish(transfer)
        self._transit.append(transfer)
        return transfer

    def update(self, now: float, channel: Channel) -> None:
        """Change the link at `now`: what is not yet transmitted goes on at the new rate, what is not yet delivered
        gets the new delay, and nothing arrives before `now`."""
        old_rate, old_trace = self._rate, self._trace
        self._configure(channel)
        self._last_due = now
        cursor = now
        for transfer in self._transit:
            if transfer.due <= now:
                continue
            if transfer.sent > now:
                if transfer.start < now:
                    span = transfer.start, now
                    done = (now - transfer.start) * old_rate / 8 if old_trace is None else old_trace.carried(*span)
                    transfer.left = max(0.0, transfer.left - done)
                else:
                    transfer.begun = cursor
                transfer.start = cursor
                self._finish(transfer)
                cursor = self._free
            else:
                self._land(transfer)

    def backlog(self, now: float) -> float:
        """Bytes that wait for the transmitter at `now`."""
        if self._trace is not None:
            return self._trace.carried(now, self._free) if self._free > now else 0.0
        return 0.0 if math.isinf(self._rate) else max(0.0, self._free - now) * self._rate / 8

    def below(self, nbytes: float) -> float:
        """The time from which at most `nbytes` wait, if no more traffic comes."""
        if self._trace is not None:
            return self._trace.finish(0.0, self._trace.carried(0.0, max(0.0, self._free)) - nbytes)
        return self._free - nbytes * 8 / self._rate

    @property
    def channel(self) -> Channel:
        """The profile in force."""
        return self._channel

    @property
    def rate(self) -> float:
        """Bit/s of payload after loss; of a trace, its mean."""
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
        self._delay = channel.delay + repair_delay(channel.delay, channel.loss, channel.burst)

    def _finish(self, transfer: Transfer) -> None:
        if self._trace is None:
            self._free = transfer.start + transfer.left * 8 / self._rate
        else:
            self._free = self._trace.finish(transfer.start, transfer.left)
        transfer.sent = max(self._free, transfer.arrived)
        self._land(transfer)

    def _land(self, transfer: Transfer) -> None:
        delay = max(0.0, self._delay + transfer.jitter * self._channel.jitter)
        transfer.due = self._last_due = max(transfer.sent + delay, self._last_due)
