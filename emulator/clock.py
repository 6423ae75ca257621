"""The only place that knows about time.

Emulated time is the host's monotonic time since an epoch, divided by a scale `k`. All models work in emulated time, so
a scale of 2 halves every rate and doubles every delay and every computation as the host sees them, and the results
need no correction. The monotonic clock is common to all processes of a host.
"""

import asyncio
import selectors
import time
from collections.abc import Callable


class Clock:
    """Emulated time: `scale` seconds of the host for each emulated second, 0 at the host's time `epoch`."""

    def __init__(self, scale: float = 1.0, epoch: float | None = None, host: Callable[[], float] = time.monotonic):
        self.scale = scale
        self.epoch = host() if epoch is None else epoch
        self._host = host

    def now(self) -> float:
        """Emulated seconds since the epoch."""
        return (self._host() - self.epoch) / self.scale

    def host_time(self, emulated: float) -> float:
        """The host's monotonic time at an emulated one: what an event loop's `call_at` takes."""
        return self.epoch + emulated * self.scale

    async def sleep_until(self, emulated: float) -> None:
        """Return at `emulated`, or at once when it is past. Absolute, so that errors do not add up."""
        delay = self.host_time(emulated) - self._host()
        if delay > 0:
            await asyncio.sleep(delay)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop with timers of microseconds: epoll's are rounded up to whole milliseconds, select's are not."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
