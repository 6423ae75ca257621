"""The process of one node: joins the bus, loads its program, runs it for each run, and says how that ended.

The hub's address, the node's name and the testbed's token come in the environment; all else comes from the hub.
"""

import asyncio
import gc
import math
import os
import resource
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, TypeVar

from emulator.bus.client import BusNode
from emulator.bus.endpoint import Endpoint
from emulator.bus.wire import Header, Kind
from emulator.clock import new_event_loop
from emulator.errors import EdgebedError
from emulator.runtime.program import load
from emulator.system import die_with_parent, host_id
from emulator.units import SIZE, show

REGISTER_SECONDS = 30.0
LEAST_MEMORY = 16 * 2**20
"""Bytes that a program must have on top of what it takes to be started: the device's thread alone needs 8 MiB."""

T = TypeVar("T")


def environment(address: str, name: str, token: str) -> dict[str, str]:
    """What `main` reads, to be added to a node's environment."""
    return {"EDGEBED_HUB": address, "EDGEBED_NAME": name, "EDGEBED_TOKEN": token}


def limit_memory(nbytes: float) -> None:
    """Refuse this process more than `nbytes` of private memory, its interpreter and libraries included.

    Raises `MemoryError` when nothing is left of that already.
    """
    if math.isfinite(nbytes):
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


class Member:
    """A node's process on the bus: runs its program once for each run the hub starts."""

    def __init__(self, address: str, name: str, token: str) -> None:
        self._endpoint = Endpoint(name, address, token, self._receive)
        self._node: BusNode | None = None
        self._runs: asyncio.Queue[BusNode | None] = asyncio.Queue()
        self._welcome: dict[str, Any] = {}
        self._ahead = 0.0

    async def serve(self) -> int:
        """Take part until the hub says that it is over; returns the exit status."""
        try:
            self._welcome = await self._endpoint.register(REGISTER_SECONDS)
            self._ahead = self._endpoint.hub_ahead.offset
            program = load(self._welcome["program"])
            limit_memory(self._welcome["memory"])
            self._endpoint.send(Header(Kind.READY, fields=self._clock()))
            while (node := await _until_lost(self._runs.get(), self._endpoint)) is not None:
                await _until_lost(node.run(program), self._endpoint)
                self._node = None
                gc.collect()  # what a run leaves is not to be collected in the next one's time
                self._endpoint.send(Header(Kind.DONE, fields=self._clock()))
            return 0
        except Exception as error:
            return self._fail(error)
        finally:
            self._endpoint.close()

    def _receive(self, header: Header, frames: list[Any]) -> None:
        if header.kind is Kind.START:
            # At once: what another node sends may be the very next message.
            self._ahead = self._endpoint.hub_ahead.offset
            self._node = BusNode(self._endpoint, self._welcome, header.fields)
            self._runs.put_nowait(self._node)
        elif header.kind is Kind.END:
            self._runs.put_nowait(None)
        elif self._node is not None:
            self._node.on_message(header, frames)

    def _clock(self) -> dict[str, Any]:
        """Whose clock this node's times are by, and how many seconds they may be off the hub's."""
        drifted = abs(self._endpoint.hub_ahead.offset - self._ahead)
        error = self._endpoint.hub_ahead.error_at(self._endpoint.host_time()) + drifted
        return {"host": host_id(), "clock_error": error}

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


async def _until_lost(running: Coroutine[Any, Any, T], endpoint: Endpoint) -> T:
    """Await `running`, but no longer than the hub is there."""
    task = asyncio.create_task(running)
    waits: list[asyncio.Future[Any]] = [task, endpoint.lost]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        endpoint.lost.result()
    return task.result()


def main() -> int:
    """The entry point of a node's process."""
    die_with_parent()
    address, name, token = (os.environ[key] for key in ("EDGEBED_HUB", "EDGEBED_NAME", "EDGEBED_TOKEN"))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(address, name, token))


async def _serve(address: str, name: str, token: str) -> int:
    return await Member(address, name, token).serve()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # A computation may still run in the device's thread: nobody waits for its result.
    os._exit(status)
