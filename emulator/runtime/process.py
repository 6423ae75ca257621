"""The process of one node: joins the bus, loads its program, runs it, and says how it ended.

The hub's address, the node's name and the testbed's token come in the environment; all else comes from the hub.
"""

import asyncio
import math
import os
import resource
import sys
import traceback
from typing import Any

from emulator.bus.client import BusNode
from emulator.bus.endpoint import Endpoint
from emulator.bus.system import die_with_parent
from emulator.bus.wire import Header, Kind
from emulator.clock import new_event_loop
from emulator.errors import EdgebedError
from emulator.runtime.program import load
from emulator.units import SIZE, show

REGISTER_SECONDS = 30.0


def environment(address: str, name: str, token: str) -> dict[str, str]:
    """What `main` reads, to be added to a node's environment."""
    return {"EDGEBED_HUB": address, "EDGEBED_NAME": name, "EDGEBED_TOKEN": token}


def limit_memory(nbytes: float) -> None:
    """Refuse this process more than `nbytes` of private memory, its interpreter and libraries included."""
    if math.isfinite(nbytes):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = int(nbytes) if hard == resource.RLIM_INFINITY else min(int(nbytes), hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def failure_line(error: BaseException, device: str, memory: float) -> str:
    """One line for what ended a program."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return f"out of memory: its device '{device}' has {show(memory, SIZE, 4)}"
    if isinstance(error, EdgebedError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def serve(address: str, name: str, token: str) -> int:
    """Take part in a run under `name`; returns the exit status."""
    pending: list[tuple[Any, Any]] = []
    node: BusNode | None = None

    def on_message(header: Header, frames: list[Any]) -> None:
        if node is None:
            pending.append((header, frames))
        else:
            node.on_message(header, frames)

    endpoint = Endpoint(name, address, token, on_message)
    try:
        welcome = await endpoint.register(REGISTER_SECONDS)
    except EdgebedError as error:
        sys.stderr.write(f"{error}\n")
        endpoint.close()
        return error.exit_status
    node = BusNode(endpoint, welcome)
    for header, frames in pending:
        node.on_message(header, frames)
    try:
        program = load(welcome["program"])
        limit_memory(welcome["memory"])
        endpoint.send(Header(Kind.READY))
        await _until_lost(node.run(program), endpoint)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if not isinstance(error, EdgebedError):
            traceback.print_exc()
        status = error.exit_status if isinstance(error, EdgebedError) else 1
        line = failure_line(error, welcome["device"], welcome["memory"])
        sys.stderr.write(f"{line}\n")
        endpoint.send(Header(Kind.FAILED, fields={"error": line, "exit_status": status}))
        return status
    else:
        endpoint.send(Header(Kind.DONE))
        return 0
    finally:
        endpoint.close()


async def _until_lost(running: Any, endpoint: Endpoint) -> None:
    """Await `running`, but no longer than the hub is there."""
    task = asyncio.ensure_future(running)
    await asyncio.wait({task, endpoint.lost}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        endpoint.lost.result()
    task.result()


def main() -> int:
    """The entry point of a node's process."""
    die_with_parent()
    address, name, token = (os.environ[key] for key in ("EDGEBED_HUB", "EDGEBED_NAME", "EDGEBED_TOKEN"))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(serve(address, name, token))


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # A computation may still run in the device's thread: nobody waits for its result.
    os._exit(status)
