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
        self._taken = Taken(*_times())

    async def beat(self) -> None:
        """Look, some fifty times a second, how late this comes to it; until cancelled."""
        while True:
            await asyncio.sleep(self._taken.due - time.monotonic())
            self._taken.beat(*_times())

    def pulse(self) -> dict[str, float]:
        """The fields of a `Pulse`."""
        return self._taken.fields(*_times())


def _times() -> tuple[float, float, float]:
    return time.monotonic(), time.thread_time(), time.process_time()
