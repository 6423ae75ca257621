"""The process of one node: joins the bus, loads its program, runs it for each run, and says how that ended.

The hub's address, the node's name and the testbed's token come in the environment; all else comes from the hub.
"""

import asyncio
import math
import os
import resource
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, TypeVar

from emulator import cgroup, quota
from emulator.bus.client import BusNode
from emulator.bus.endpoint import Endpoint
from emulator.bus.wire import Header, Kind
from emulator.clock import new_event_loop
from emulator.errors import EdgebedError
from emulator.offset import ONE_CLOCK
from emulator.runtime.alive import show_life
from emulator.runtime.program import load
from emulator.system import die_with_parent, host_id, keep, keep_memory, raise_priority
from emulator.units import SIZE, show

REGISTER_SECONDS = float(os.environ.get("EDGEBED_REGISTER_SECONDS", "30"))
"""How long the hub may take to answer; containers may be started well before it."""
LEAST_MEMORY = 16 * 2**20
"""Bytes that a program must have on top of what it takes to be started: the device's thread alone needs 8 MiB."""
PAGES = 2**16
"""Bytes: a control group's limit is in whole pages, which have this size at most."""
IDENTITY = "EDGEBED_IDENTITY"
"""Environment: the node's identity on the bus, in hexadecimal digits, where somebody else is to know it too."""
RAISED = "EDGEBED_RAISED"
"""Environment: set where the node's event loop, not its computing, goes before those of others if it may: a server's,
to which all clients talk, and which is not to be late because they are at work on the same few cores."""
SERVER_PRIORITY = 1

T = TypeVar("T")


def environment(address: str, name: str, token: str) -> dict[str, str]:
    """What `main` reads, to be added to a node's environment."""
    return {"EDGEBED_HUB": address, "EDGEBED_NAME": name, "EDGEBED_TOKEN": token}


def limit_memory(nbytes: float) -> None:
    """Refuse this process more than `nbytes` of private memory, its interpreter and libraries included.

    Where its container has that limit already, that is left to do it. Raises `MemoryError` when nothing is left.
    """
    if math.isfinite(nbytes) and not 0 <= nbytes - cgroup.memory_limit() < PAGES:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = int(nbytes) if hard == resource.RLIM_INFINITY else min(int(nbytes), hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        bytearray(LEAST_MEMORY)


def lift_memory_limit() -> None:
    """Let this process have what it wants again."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def failure_line(error: BaseException, device: str, memory: float) -> str:
    """One line for what ended a program."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return f"out of memory: its device '{device}' has {show(memory, SIZE, 4)}"
    if isinstance(error, EdgebedError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def killed_line(device: str, memory: float) -> str:
    """One line for what the kernel ended because its control group had reached its limit."""
    return f"killed by the memory limit: its device '{device}' has {show(memory, SIZE, 4)}"


class Member:
    """A node's process on the bus: runs its program once for each run the hub starts."""

    def __init__(
        self, address: str, name: str, token: str, identity: bytes | None = None, *, raised: bool = False
    ) -> None:
        self._endpoint = Endpoint(name, address, token, self._receive, identity)
        self._raised = raised
        self._node: BusNode | None = None
        self._runs: asyncio.Queue[BusNode | None] = asyncio.Queue()
        self._welcome: dict[str, Any] = {}
        self._starved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with an exception when a new device has less memory than is in use."""
        self._ahead = 0.0

    async def serve(self) -> int:
        """Take part until the hub says that it is over; returns the exit status."""
        life: asyncio.Task[None] | None = None
        try:
            self._welcome = await self._endpoint.register(REGISTER_SECONDS)
            life = asyncio.create_task(show_life(self._endpoint))
            self._ahead = self._endpoint.hub_ahead.offset
            program = load(self._welcome["program"])
            limit_memory(self._welcome["memory"])
            keep()
            if self._raised:
                raise_priority(SERVER_PRIORITY)
            self._endpoint.send(Header(Kind.READY, fields=self._clock()))
            read_back = self._welcome["compute"] != "quota"
            while (node := await self._unless_ended(self._runs.get())) is not None:
                if not read_back:
                    read_back = self._read_back(node.cores)
                # What the run before has left. Not at its end: others are still on the clock then.
                keep()
                await self._unless_ended(node.run(program))
                self._node = None
                self._endpoint.send(Header(Kind.DONE, fields=self._clock()))
            return 0
        except Exception as error:
            return self._fail(error)
        finally:
            if life is not None:
                life.cancel()
            if not self._starved.cancel():
                self._starved.exception()  # seen, whether or not anybody waited for it
            self._endpoint.close()

    def _receive(self, header: Header, frames: list[Any]) -> None:
        if header.kind is Kind.START:
            # At once: what another node sends may be the very next message.
            self._become(header.fields["node"])
            self._ahead = self._endpoint.hub_ahead.offset
            self._node = BusNode(self._endpoint, self._welcome, header.fields)
            self._runs.put_nowait(self._node)
        elif header.kind is Kind.END:
            self._runs.put_nowait(None)
        else:
            if header.kind is Kind.CHANGE:
                self._become(header.fields)
            if self._node is not None:
                self._node.on_message(header, frames)

    def _become(self, welcome: dict[str, Any]) -> None:
        """Be what the hub says from now on: its device may be another."""
        before, self._welcome = self._welcome, welcome
        if before and welcome["memory"] != before["memory"]:
            try:
                limit_memory(welcome["memory"])
            except MemoryError as error:
                if not self._starved.done():
                    self._starved.set_exception(error)

    async def _unless_ended(self, running: Coroutine[Any, Any, T]) -> T:
        """Await `running`, but no longer than the hub is there and the memory suffices."""
        task = asyncio.create_task(running)
        ends = (self._endpoint.lost, self._starved)
        waits: list[asyncio.Future[Any]] = [task, *ends]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for end in ends:
                if end.done():
                    end.result()
        return task.result()

    def _read_back(self, cores: float) -> bool:
        """Whether this node runs under the CPU quota that makes its device of this host; raises if it does not."""
        in_force = cgroup.bandwidth()
        quota.check(in_force, cores, self._welcome["device"])
        sys.stdout.write(f"CPU quota in force: {in_force}\n")
        return True

    def _clock(self) -> dict[str, Any]:
        """Whose clock this node's times are by, how many seconds they may be off the hub's, and what was measured.

        On the hub's own host they are off by nothing, unless it was measured that they must be.
        """
        now, used, found = self._endpoint.host_time(), self._endpoint.hub_ahead, self._endpoint.measured
        drifted = abs(used.offset - self._ahead)
        error = used.error_at(now) + drifted
        if used is ONE_CLOCK and found.proven(now) > 0:
            error = abs(found.offset) + found.error_at(now)
        known = {"offset": found.offset, "within": found.error_at(now)} if math.isfinite(found.error) else {}
        return {"host": host_id(), "clock_error": error, **known}

    def _fail(self, error: Exception) -> int:
        lift_memory_limit()  # last words take memory, too
        if not isinstance(error, EdgebedError):
            traceback.print_exc()
        status = error.exit_status if isinstance(error, EdgebedError) else 1
        line = failure_line(error, self._welcome.get("device", ""), self._welcome.get("memory", math.inf))
        sys.stderr.write(f"{line}\n")
        if self._welcome:
            self._endpoint.send(Header(Kind.FAILED, fields={"error": line, "exit_status": status}))
        return status


def main() -> int:
    """The entry point of a node's process."""
    die_with_parent()
    keep_memory()
    address, name, token = (os.environ[key] for key in ("EDGEBED_HUB", "EDGEBED_NAME", "EDGEBED_TOKEN"))
    identity = bytes.fromhex(os.environ.get(IDENTITY, ""))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(address, name, token, identity, raised=bool(os.environ.get(RAISED))))


async def _serve(address: str, name: str, token: str, identity: bytes, *, raised: bool) -> int:
    return await Member(address, name, token, identity or None, raised=raised).serve()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # A computation may still run in the device's thread: nobody waits for its result.
    os._exit(status)
