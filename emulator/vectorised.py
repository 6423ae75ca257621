"""A round of a million clients: the links of `network` as arrays, one element a client.

The same arithmetic as the event-driven network's, without its events: messages in chunks, the second link starting
on a chunk before its last bit has come, and the server's links first come, first served. It agrees with the other to
1e-9 s wherever both can run. It is a parallel round's only: all clients send, the server works, all clients receive.
Jitter, traces and links that are shared fairly are refused; there are no segments, links are idle when a round begins,
and their queues are long enough that no sender waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.errors import InputError
from emulator.link import Link
from emulator.network import CHUNK_BYTES, CHUNK_SECONDS, CHUNKS
from emulator.profiles import Channel, LinkProfile

Times = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Lanes:
    """One direction of many links: payload rates in bit/s and one-way delays in seconds, of every client (N,)."""

    rate: Times
    delay: Times

    @classmethod
    def of(cls, channels: Sequence[Channel]) -> "Lanes":
        """Loss has its effect on both. Raises `InputError` for jitter, traces and links that are shared fairly, which
        only the event-driven network has."""
        kinds = {id(channel): channel for channel in channels}
        if any(channel.trace is not None for channel in kinds.values()):
            raise InputError(
                "a vectorised round has no rates that change: predict this testbed with fewer clients, event by event"
            )
        if any(channel.sharing == "fair" for channel in kinds.values()):
            raise InputError(
                "a vectorised round serves first come, first served: predict this testbed with fewer clients, event by "
                "event"
            )
        if any(channel.jitter > 0 for channel in kinds.values()):
            raise InputError(
                "a vectorised round has no jitter: predict this testbed with fewer clients, event by event"
            )
        links = {key: Link(channel) for key, channel in kinds.items()}
        rates = {key: link.rate for key, link in links.items()}
        delays = {key: link.latency for key, link in links.items()}
        keys = [id(channel) for channel in channels]
        return cls(np.array([rates[key] for key in keys]), np.array([delays[key] for key in keys]))


@dataclass(frozen=True)
class Fleet:
    """The clients' links and the server's."""

    up: Lanes
    down: Lanes
    server_up: Lanes
    """Of one element, as is `server_down`."""
    server_down: Lanes

    @classmethod
    def of(cls, clients: Sequence[LinkProfile], server: LinkProfile) -> "Fleet":
        """Raises as `Lanes.of` does."""
        return cls(
            Lanes.of([link.up for link in clients]),
            Lanes.of([link.down for link in clients]),
            Lanes.of([server.up]),
            Lanes.of([server.down]),
        )


@dataclass(frozen=True)
class Round:
    """When what happened, in seconds since its begin: (N,) but for the server's."""

    uplinks: Times
    served: float
    downlinks: Times
    ends: Times

    @property
    def latency(self) -> float:
        return float(self.ends.max())


def parallel_round(
    fleet: Fleet, *, forward: Times, uplink: Counts, server: float, downlink: Counts, backward: Times
) -> Round:
    """A round of PSL, EPSL or GAPSL: seconds of each client's passes and of the server's step, bytes on the wire."""
    uplinks = gather(fleet, forward, uplink)
    served = float(uplinks.max()) + server
    downlinks = scatter(fleet, served, downlink)
    return Round(uplinks, served, downlinks, downlinks + backward)


def gather(fleet: Fleet, sent: Times, nbytes: Counts) -> Times:
    """When each client's message of `nbytes` (N,), sent at `sent` (N,), is at the server."""
    chunks, part = _chunks(nbytes, np.minimum(fleet.up.rate, fleet.server_down.rate))
    owner = np.repeat(np.arange(len(chunks)), chunks)
    last = np.cumsum(chunks) - 1
    number = np.arange(len(owner)) - np.repeat(last - chunks, chunks)  # of the chunk in its message, from 1
    crossing = (part * 8 / fleet.up.rate)[owner]
    arrived = sent[owner] + number * crossing + fleet.up.delay[owner]
    order = np.lexsort((sent[owner], arrived))  # then by client and chunk, as they stand
    due = np.empty(len(owner))
    due[order] = _first_come(
        arrived[order], (arrived - crossing)[order], (part * 8 / fleet.server_down.rate)[owner[order]]
    )
    return due[last] + fleet.server_down.delay


def scatter(fleet: Fleet, at: float, nbytes: Counts) -> Times:
    """When each client has the message of `nbytes` (N,) that the server sends it at `at`, in the clients' order."""
    chunks, part = _chunks(nbytes, np.minimum(fleet.down.rate, fleet.server_up.rate))
    crossing, own = part * 8 / fleet.server_up.rate, part * 8 / fleet.down.rate
    begins = at + np.concatenate([[0.0], np.cumsum(chunks * crossing)[:-1]]) + fleet.server_up.delay
    free = np.full(len(chunks), -np.inf)
    sent = np.empty(len(chunks))
    for number in range(1, int(chunks.max()) + 1):
        more = chunks >= number
        arrived = begins[more] + number * crossing[more]
        free[more] = np.maximum(arrived - crossing[more], free[more]) + own[more]
        sent[more] = np.maximum(free[more], arrived)
    return sent + fleet.down.delay


def _first_come(arrived: Times, since: Times, service: Times) -> Times:
    """When a transmitter has sent each piece, in their order of arrival; the first bit of each is there at `since`.

    `free_i = max(since_i, free_{i-1}) + service_i`, unrolled: with C the running sum of `service`,
    `free_i = C_i + max over j <= i of (since_j - C_{j-1})`.
    """
    total = np.cumsum(service)
    free = total + np.maximum.accumulate(since - (total - service))
    return np.maximum(free, arrived)


def _chunks(nbytes: Counts, slowest: Times) -> tuple[Counts, Times]:
    """How many chunks each message travels in, and their size in bytes (see `network`)."""
    size = np.maximum(np.maximum(CHUNK_BYTES, slowest / 8 * CHUNK_SECONDS), nbytes / CHUNKS)
    chunks = np.maximum(1, np.ceil(nbytes / size)).astype(np.int64)
    return chunks, nbytes / chunks
