"""The only place that knows about time: real, scaled, or virtual.

Emulated time is the host's monotonic time since an epoch, divided by a scale `k`. All models work in emulated time, so
a scale of 2 halves every rate and doubles every delay and every computation as the host sees them, and the results
need no correction. The monotonic clock is common to all processes of a host. Virtual time passes only while nothing
else is left to do: it jumps from one timer to the next.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from emulator.errors import Deadlock

T = TypeVar("T")
SAME_MOMENT = 1e-9
"""Seconds within which an event loop takes two timers for one: what arithmetic makes of equal times is far less."""


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

    def emulated(self, host_time: float) -> float:
        """The emulated time at one of the host's."""
        return (host_time - self.epoch) / self.scale

    async def sleep_until(self, emulated: float) -> None:
        """Return at `emulated`, or at once when it is past. Absolute, so that errors do not add up."""
        delay = self.host_time(emulated) - self._host()
        if delay > 0:
            await asyncio.sleep(delay)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop with timers of microseconds: epoll's are rounded up to whole milliseconds, select's are not."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class World:
    """What happens in virtual time besides timers: here, nothing."""

    def next_moment(self, until: float) -> float:
        """The loop's time, by `until`, at which something will happen; infinity where nothing will. Until then nobody
        does anything."""
        return math.inf

    def pass_moment(self) -> bool:
        """It is time for it. False where nobody can go on by it, and the next moment may follow at once."""
        return False

    def stuck(self) -> str:
        """Why nothing will ever happen again, in words."""
        return "no task can go on"


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can run, and then jumps to the next timer, or to what
    happens next in its `world`.

    Nothing waits, and the same program does the same at the same times on any machine. What would run in a thread
    runs at once. When nothing can run and nothing is to come, nothing ever will: it raises `Deadlock` with what the
    world says of it.
    """

    def __init__(self) -> None:
        self._virtual_now = 0.0
        self._last: list[asyncio.Future[None]] = []  # who goes on when all else of this moment is over
        super().__init__(_Jump(self._jump))
        self.world = World()

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual_now

    async def moment_over(self) -> None:
        """Return, still at this moment, when nothing else happens at it."""
        over: asyncio.Future[None] = self.create_future()
        self._last.append(over)
        await over

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """The result of `func(*args)`, called here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _jump(self, seconds: float | None) -> None:
        """Go to the next timer, which is so many seconds away, unless the world lets somebody go on before."""
        timer = math.inf if seconds is None else self._virtual_now + seconds
        while True:
            # Who goes on when this moment is over does so at it: nothing may be taken as past that comes later.
            until = min(timer, self._virtual_now + SAME_MOMENT) if self._last else timer
            moment = self.world.next_moment(until)
            if self._last and min(moment, timer) - self._virtual_now > SAME_MOMENT:
                self._end_moment()
                return
            if moment > timer:
                self._virtual_now = timer
                return
            if moment == math.inf:
                raise Deadlock(self.world.stuck())
            self._virtual_now = max(self._virtual_now, moment)
            if self.world.pass_moment():
                return

    def _end_moment(self) -> None:
        last, self._last = self._last, []
        for over in last:
            if not over.done():
                over.set_result(None)


class _Jump(selectors.SelectSelector):
    """Where the loop would wait, time jumps instead; in virtual time nothing comes from outside."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._jump(timeout)
        return []


def virtual_clock(loop: asyncio.AbstractEventLoop, scale: float = 1.0) -> Clock:
    """The clock of a virtual loop, as of now; by its scale the results change as little as by that of a real one."""
    return Clock(scale, loop.time(), loop.time)
