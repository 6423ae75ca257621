"""The hub's own pulse: how punctual its event loop is (see `emulator.pulse`)."""

import asyncio
import time

from emulator.pulse import Taken


class Heart:
    """Beats for as long as the task of `beat` runs."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Take the pulse anew."""
        self._taken = Taken(time.monotonic(), time.thread_time(), time.process_time())

    async def beat(self) -> None:
        """Look, some fifty times a second, how late this comes to it; until cancelled."""
        while True:
            await asyncio.sleep(self._taken.due - time.monotonic())
            self._taken.beat(time.monotonic(), time.thread_time())

    def pulse(self) -> dict[str, float]:
        """The fields of a `Pulse`."""
        return self._taken.fields(time.monotonic(), time.process_time())
