"""The controller's side of the bus: hears from the hub what happens to the nodes, and collects what they noted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from emulator.bus.endpoint import Endpoint
from emulator.bus.wire import Header, Kind
from emulator.errors import EdgebedError
from emulator.profiles import CONTROLLER


@dataclass(frozen=True)
class Event:
    """What happened to a node: registered, ready, done, failed, silent, refused, or a 'bad frame' from it."""

    name: str
    node: str
    fields: dict[str, Any]


class Controller:
    """Registered with the hub as `controller`. `on_entry` gets each span or metric as its plain fields."""

    def __init__(self, address: str, token: str, on_entry: Callable[[dict[str, Any]], None]) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.hub_priority: str | None = None
        self._on_entry = on_entry
        self._endpoint = Endpoint(CONTROLLER, address, token, self._receive)
        self.lost = self._endpoint.lost

    async def connect(self, timeout: float) -> None:
        """Register; raises as `Endpoint.register` does."""
        welcome = await self._endpoint.register(timeout)
        self.hub_priority = welcome["priority"]

    def ready(self) -> None:
        """Let the first run start as soon as every node is ready."""
        self._endpoint.send(Header(Kind.READY))

    def close(self) -> None:
        """Leave the bus."""
        self._endpoint.close(linger=0.0)  # it says nothing that anyone waits for

    def _receive(self, header: Header, _: list[zmq.Frame]) -> None:
        if header.kind is Kind.TELEMETRY:
            try:
                for entry in header.fields["entries"]:
                    self._on_entry(entry)
            # The event loop would print these and go on: they are for whoever waits for the run.
            except EdgebedError as error:
                self._fail(error)
            except (KeyError, TypeError, ValueError) as error:
                self._fail(EdgebedError(f"what {header.sender} noted cannot be read: {error}"))
        elif header.kind is Kind.EVENT:
            fields = dict(header.fields)
            self.events.put_nowait(Event(fields.pop("event"), fields.pop("node"), fields))

    def _fail(self, error: EdgebedError) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
