"""A hub on the test's own event loop, and those who talk to it: nodes, raw sockets, and a proxy that breaks."""

import asyncio
import contextlib
import functools
import io
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec

import zmq

from emulator.bus import wire
from emulator.bus.client import BusNode
from emulator.bus.controller import Controller, Event
from emulator.bus.endpoint import Endpoint
from emulator.bus.hub import Hub
from emulator.bus.wire import Header, Kind
from emulator.clock import new_event_loop
from emulator.plan import NodePlan, Plan, RunPlan, SegmentPlan
from emulator.profiles import Bus, Channel, Deadlines, DeviceProfile, LinkProfile

TOKEN = "the-token-of-this-testbed"
SECONDS = 20.0
"""The deadline of every wait: far beyond what anything here takes, however busy the machine is."""

P = ParamSpec("P")


def on_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run a test on the event loop that edgebed's own processes use, with a deadline."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within() -> None:
            async with asyncio.timeout(2 * SECONDS):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(within())

    return run


def make_plan(
    *names: str,
    up: dict[str, str] | None = None,
    down: dict[str, str] | None = None,
    runs: int = 1,
    max_message: str = "64 MiB",
    slowdown: float = 1.0,
    **deadlines: str,
) -> Plan:
    """A plan of equal nodes, named as given: 'server' is the server, all others are clients."""
    device = DeviceProfile(name="board", training="unlimited", memory="unlimited", source="a test")
    link = LinkProfile(
        name="wire",
        source="a test",
        up=Channel(**{"rate": "unlimited"} | (up or {})),
        down=Channel(**{"rate": "unlimited"} | (down or {})),
    )
    nodes = [
        NodePlan(
            name=name,
            role="server" if name == "server" else "client",
            program="nowhere:main",
            device=device,
            link=link,
            slowdown=slowdown,
        )
        for name in names
    ]
    return Plan(
        experiment="a-test",
        testbed="a-world",
        runs=[RunPlan(name=f"run-{number}", config={"number": number}) for number in range(1, runs + 1)],
        seed=1,
        scale=1.0,
        core_flops=1e9,
        cores=2,
        nodes=nodes,
        deadlines=Deadlines(**deadlines),
        bus=Bus(max_message=max_message),
    )


def in_cell(plan: Plan, **up: str) -> Plan:
    """`plan` with all clients in one segment, `cell`, of such a link."""
    link = LinkProfile(name="radio", source="a test", up=Channel(**up), down=Channel(rate="unlimited"))
    nodes = [node.model_copy(update={"segment": "cell"} if node.role == "client" else {}) for node in plan.nodes]
    return plan.model_copy(update={"nodes": nodes, "segments": {"cell": SegmentPlan(link=link)}})


class World:
    """A hub with its controller; `entries` are the spans and metrics that came, `events` what was said of nodes."""

    def __init__(self, address: str, controller: Controller, entries: list[dict[str, Any]]) -> None:
        self.address = address
        self.controller = controller
        self.entries = entries
        self.events: list[Event] = []
        self._closing: list[Callable[[], None]] = []

    async def event(self, name: str, node: str | None = None) -> Event:
        """The next event of that name, of that node if one is given."""
        async with asyncio.timeout(SECONDS):
            while True:
                event = await self.controller.events.get()
                self.events.append(event)
                if event.name == name and node in (None, event.node):
                    return event

    def events_of(self, name: str) -> list[Event]:
        """All events of that name so far."""
        while not self.controller.events.empty():
            self.events.append(self.controller.events.get_nowait())
        return [event for event in self.events if event.name == name]

    def peer(self, address: str | None = None) -> "RawPeer":
        """A socket that speaks to the hub without any of edgebed's checks."""
        peer = RawPeer(address or self.address)
        self._closing.append(peer.close)
        return peer

    async def join(self, name: str, address: str | None = None) -> "Joined":
        """A node that has registered and is ready."""
        joined = Joined(name, address or self.address)
        self._closing.append(joined.endpoint.close)
        await joined.join()
        return joined

    async def raw_member(self, name: str) -> "RawPeer":
        """A socket without checks that has registered as a node and is ready."""
        peer = self.peer()
        peer.send(wire.pack(Header(Kind.REGISTER, name, fields={"token": TOKEN})))
        await peer.next(Kind.WELCOME)
        peer.send(wire.pack(Header(Kind.READY, name)))
        return peer

    async def nodes(self, *names: str) -> "list[BusNode]":
        """Nodes in their first run; they must be all that the run waits for."""
        joined = [await self.join(name) for name in names]
        return [await node.started() for node in joined]

    async def spans(self, **wanted: object) -> list[dict[str, Any]]:
        """The spans that have come with these fields; waits for the first."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            found = [entry for entry in self.entries if wanted.items() <= entry.items()]
            if found:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"no span with {wanted} among {self.entries}")

    def close(self) -> None:
        for close in reversed(self._closing):
            close()


@contextlib.asynccontextmanager
async def world(plan: Plan) -> AsyncIterator[World]:
    """A hub for `plan`, with a controller."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        serving = asyncio.create_task(Hub(plan, TOKEN).serve(context))
        await asyncio.sleep(0)
    if serving.done():
        serving.result()
    address = said.getvalue().strip()
    entries: list[dict[str, Any]] = []
    controller = Controller(address, TOKEN, entries.append)
    await controller.connect(SECONDS)
    controller.ready()
    inside = World(address, controller, entries)
    try:
        yield inside
        assert not serving.done(), "the hub has ended"
    finally:
        inside.close()
        controller.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        context.term()


class RawPeer:
    """A DEALER that checks nothing of what it sends."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, uuid.uuid4().bytes)
        self._socket.connect(address)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    async def next(self, kind: Kind) -> Header:
        """The next message of that kind; others are skipped."""
        return (await self.frames(kind))[0]

    async def frames(self, kind: Kind) -> tuple[Header, list[bytes]]:
        """The header of the next message of that kind, and the frames after it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                first, *more = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                await asyncio.sleep(0.002)
                continue
            header = wire.unpack(first)
            if header.kind is kind:
                return header, more
        raise AssertionError(f"no '{kind}' came")

    async def settle(self) -> None:
        """Return when the hub has seen all that was sent before."""
        self.send(wire.pack(Header(Kind.REGISTER, "nobody", fields={"token": "nonsense"})))
        while "token" not in (await self.next(Kind.REFUSED)).fields["reason"]:
            pass

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class Joined:
    """A node on the bus as its process would be, but on this event loop."""

    def __init__(self, name: str, address: str) -> None:
        self.endpoint = Endpoint(name, address, TOKEN, self._receive)
        self.welcome: dict[str, Any] = {}
        self.node: BusNode | None = None
        self._starts: asyncio.Queue[BusNode | None] = asyncio.Queue()

    async def join(self) -> None:
        self.welcome = await self.endpoint.register(SECONDS)
        error = self.endpoint.hub_ahead.error_at(self.endpoint.host_time())
        self.endpoint.send(Header(Kind.READY, fields={"clock_error": error}))

    async def started(self) -> BusNode:
        """The node of the run that starts next."""
        async with asyncio.timeout(SECONDS):
            node = await self._starts.get()
        assert node is not None, "there is no further run"
        return node

    async def over(self) -> bool:
        """Whether, after this, no run is left."""
        async with asyncio.timeout(SECONDS):
            return await self._starts.get() is None

    def _receive(self, header: Header, frames: list[zmq.Frame]) -> None:
        if header.kind is Kind.START:
            self.welcome = header.fields["node"]
            self.node = BusNode(self.endpoint, self.welcome, header.fields)
            self._starts.put_nowait(self.node)
        elif header.kind is Kind.END:
            self._starts.put_nowait(None)
        elif self.node is not None:
            self.node.on_message(header, frames)


class Proxy:
    """A TCP connection to the hub that can be broken."""

    def __init__(self, address: str) -> None:
        self._target = int(address.rpartition(":")[2])
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.Event()
        self._accepting.set()
        self.connections = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.set()
        self._server.close()
        self.cut()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def cut(self, *, reopen: bool = True) -> None:
        """Break all connections; unless `reopen`, new ones get nowhere until `mend`."""
        if not reopen:
            self._accepting.clear()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def mend(self) -> None:
        self._accepting.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        await self._accepting.wait()
        try:
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(hub_writer)
        self.connections += 1
        for source, sink in ((reader, hub_writer), (hub_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    @staticmethod
    async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
