"""Whose turn it is at a transmitter that its flows share: start-time fair queueing, without any time of its own.

P. Goyal, H. Vin, H. Cheng, "Start-Time Fair Queueing", SIGCOMM 1996: a chunk's tag is where its flow would be, in
bytes, had all flows been served alike; the lowest tag is next. Two flows that both have something to send are never
further apart than a chunk of each, and a flow that was silent has saved up nothing.
"""

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Generic, Protocol, TypeVar


class Chunk(Protocol):
    """What waits for its turn."""

    flow: Hashable
    left: float
    """Bytes."""


C = TypeVar("C", bound=Chunk)


class Turns(Generic[C]):
    """The chunks that wait, those of one flow in order."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, C]] = []
        self._order = count()
        self._ends: dict[Hashable, float] = {}  # the tag after each flow's last chunk
        self._reached = 0.0  # the tag of the chunk that had its turn last
        self.nbytes = 0.0
        """Of all that waits."""

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, chunk: C) -> None:
        """Have `chunk` wait for its turn."""
        tag = max(self._reached, self._ends.get(chunk.flow, 0.0))
        self._ends[chunk.flow] = tag + chunk.left
        self.nbytes += chunk.left
        heapq.heappush(self._queue, (tag, next(self._order), chunk))

    def next(self) -> C:
        """The chunk whose turn it is; it waits no more."""
        self._reached, _, chunk = heapq.heappop(self._queue)
        self.nbytes = self.nbytes - chunk.left if self._queue else 0.0
        return chunk

    def idle(self) -> None:
        """The transmitter has been idle: nobody is owed anything."""
        self._ends.clear()
        self._reached = 0.0

    def clear(self) -> list[C]:
        """All that waits, in the order of its turns; then it waits no more, and nobody is owed anything."""
        waiting = [chunk for _, _, chunk in sorted(self._queue)]  # by tag, then by number, which differs
        self._queue.clear()
        self.nbytes = 0.0
        self.idle()
        return waiting
