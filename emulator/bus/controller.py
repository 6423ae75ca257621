"""The controller's side of the bus: hears what happens to the nodes, collects what they noted, and changes them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import zmq

from emulator.bus.endpoint import Endpoint
from emulator.bus.wire import Header, Kind
from emulator.errors import DeadlineExceeded, EdgebedError, Refused
from emulator.profiles import CONTROLLER, DeviceProfile, LinkProfile

CHANGE_SECONDS = 5.0


@dataclass(frozen=True)
class Event:
    """What happened to a node: registered, ready, started, done, failed, silent, refused, changed, 'not changed', or a
    'bad frame' from it. A segment may have changed, too."""

    name: str
    node: str
    fields: dict[str, Any]


class Controller:
    """Registered with the hub as `controller`.

    `on_entry` gets each span or metric as its plain fields; `on_event` each event as it comes, before it is in `events`
    for whoever waits for it.
    """

    def __init__(
        self,
        address: str,
        token: str,
        on_entry: Callable[[dict[str, Any]], None],
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.hub_priority: str | None = None
        self._on_entry = on_entry
        self._on_event = on_event
        self._asked: dict[int, asyncio.Future[Event]] = {}
        self._numbers = count(1)
        self._endpoint = Endpoint(CONTROLLER, address, token, self._receive)
        self.lost = self._endpoint.lost

    async def connect(self, timeout: float) -> None:
        """Register; raises as `Endpoint.register` does."""
        welcome = await self._endpoint.register(timeout)
        self.hub_priority = welcome["priority"]

    def ready(self) -> None:
        """Let the first run start as soon as every node is ready."""
        self._endpoint.send(Header(Kind.READY))

    def gone(self, node: str) -> None:
        """Have this run and the next go on without `node`, which has ended."""
        self._endpoint.send(Header(Kind.GONE, fields={"node": node}))

    async def change(self, node: str, *, link: LinkProfile | None = None, device: DeviceProfile | None = None) -> Event:
        """Give `node`, or the segment of that name, another link or device; returns the hub's word on when and how.

        Raises `Refused` with the hub's reason, `DeadlineExceeded` when it gives none.
        """
        number = next(self._numbers)
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        profiles = {"link": link, "device": device}
        fields = {key: profile.model_dump(mode="json") for key, profile in profiles.items() if profile is not None}
        try:
            self._endpoint.send(Header(Kind.CHANGE, fields={"number": number, "node": node, **fields}))
            async with asyncio.timeout(CHANGE_SECONDS):
                event = await answer
        except TimeoutError:
            raise DeadlineExceeded(
                f"the hub has not confirmed the change of {node} within {CHANGE_SECONDS:g} s"
            ) from None
        finally:
            del self._asked[number]
        if event.name != "changed":
            raise Refused(f"{node} is not changed: {event.fields['reason']}")
        return event

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
            event = Event(fields.pop("event"), fields.pop("node"), fields)
            answer = self._asked.get(fields.get("number", 0))
            if answer is not None and not answer.done():
                answer.set_result(event)
            self._on_event(event)
            self.events.put_nowait(event)

    def _fail(self, error: EdgebedError) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
