"""What happens in a testbed, for any number of readers, none of whom can hold it up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

LENGTH = 256
"""Events that may wait for a reader; the oldest go first."""

Fields = dict[str, Any]


class Feed:
    """Hands each event to every reader; `close` ends what they read."""

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self._readers: set[_Reader] = set()
        self._closed = False

    def publish(self, event: Fields) -> None:
        """Give `event` to all who read now."""
        for reader in self._readers:
            reader.put(event)

    async def read(self, idle: float) -> AsyncIterator[Fields | None]:
        """The events from now on; None whenever there was none for `idle` seconds.

        Where a reader was too slow, `{"event": "lost", "number": N}` stands for the N events that it missed.
        """
        reader = _Reader(self._length)
        self._readers.add(reader)
        try:
            while not self._closed:
                try:
                    async with asyncio.timeout(idle):
                        await reader.some.wait()
                except TimeoutError:
                    yield None
                for event in reader.take():
                    yield event
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """Nothing more will happen."""
        self._closed = True
        for reader in self._readers:
            reader.some.set()


class _Reader:
    """What waits for one reader."""

    def __init__(self, length: int) -> None:
        self.some = asyncio.Event()
        self._waiting: deque[Fields] = deque(maxlen=length)
        self._lost = 0

    def put(self, event: Fields) -> None:
        self._lost += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(event)
        self.some.set()

    def take(self) -> list[Fields]:
        taken = [*([{"event": "lost", "number": self._lost}] if self._lost else []), *self._waiting]
        self._waiting.clear()
        self._lost = 0
        self.some.clear()
        return taken
