"""What every runtime does once its hub listens: serves the control API, starts the nodes, and follows them."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from emulator import timeline
from emulator.bus.controller import Controller
from emulator.control.changes import Changes, OnDevice, OnLink
from emulator.control.server import served, terminable
from emulator.control.state import State
from emulator.plan import Plan
from emulator.runtime.watch import Homes, Observer, Outcome, Watch
from emulator.system import giving_way

HUB_SECONDS = 30.0
LOOPBACK = "127.0.0.1"


async def follow(
    plan: Plan,
    homes: Homes,
    observer: Observer,
    start_nodes: Callable[[], Awaitable[None]],
    *,
    address: str,
    token: str,
    runtime: str,
    folder: Path,
    control_host: str | None = LOOPBACK,
    on_device: OnDevice | None = None,
    on_link: OnLink | None = None,
) -> Outcome:
    """Carry out `plan` with the hub that listens at `address`; `start_nodes` starts whatever the nodes live in.

    The control API is served on the interface `control_host` for as long as this takes (None: there is no API, and no
    command finds this testbed); `folder` is where the run's results go. `on_device(node, device, cores)` is awaited
    before a node's device changes, and again after it where the new one takes fewer cores of this host;
    `on_link(node, link)` before its link does. If one raises `EdgebedError`, nothing changes; when the hub refuses the
    change, it is called again with what was before.

    Raises as `Controller.connect`, `start_nodes` and `Watch.until_done` do; `InputError` when the API's port is taken.
    """
    state = State(plan, runtime, folder)

    def on_entry(fields: dict[str, Any]) -> None:
        entry = timeline.entry(fields)
        observer.entry(entry)
        state.entry(entry)

    controller = Controller(address, token, on_entry, state.event)
    try:
        await controller.connect(HUB_SECONDS)
        async with contextlib.AsyncExitStack() as stack:
            if control_host is None:
                stack.enter_context(terminable())
            else:
                changes = Changes(state, controller, on_device, on_link)
                await stack.enter_async_context(served(state, changes, control_host))
            await start_nodes()
            # What the nodes note can wait; their messages, on cores that are not many, cannot.
            stack.enter_context(giving_way())
            return await Watch(plan, controller, homes, observer).until_done()
    finally:
        controller.close()
