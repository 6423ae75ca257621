"""A file that is young for as long as a node is in touch with the hub: what a container's health check looks at."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Protocol

ALIVE = "EDGEBED_ALIVE"
"""Environment: the file's path; without it there is none."""
SECONDS = 5.0
"""A container's health check lets some of them pass (docker/Dockerfile)."""


class InTouch(Protocol):
    """Whoever knows whether the hub answers, such as an `Endpoint`."""

    @property
    def in_touch(self) -> bool: ...


async def show_life(endpoint: InTouch) -> None:
    """Touch the file every SECONDS while the hub answers, until cancelled."""
    path = Path(os.environ[ALIVE]) if os.environ.get(ALIVE) else None
    while path is not None:
        if endpoint.in_touch:
            with contextlib.suppress(OSError):  # an unhealthy container is as much as can be said then
                path.touch()
        await asyncio.sleep(SECONDS)
