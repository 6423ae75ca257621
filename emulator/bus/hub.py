"""The hub: a ROUTER through which every message goes, and in which the links live (see `transit`).

It runs in a process of its own, outside every CPU limit, so that a throttled node cannot distort its own network. It
believes nobody: a frame that is no message of a registered node is dropped, and the controller told of the first of
each peer.
"""

import asyncio
import hmac
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import zmq

from emulator.bus import wire
from emulator.bus.changing import Changing
from emulator.bus.heart import Heart
from emulator.bus.kernel_transit import KernelTransit
from emulator.bus.socket import Socket, bind
from emulator.bus.transit import Transit
from emulator.bus.wire import MAX_HEADER, MAX_NAME, Header, Kind, WireError
from emulator.clock import new_event_loop
from emulator.errors import EdgebedError
from emulator.plan import Plan
from emulator.profiles import CONTROLLER, HUB
from emulator.system import collecting_seldom, die_with_parent, host_id, keep, raise_priority
from emulator.timeline import Span

_CARRIERS: dict[str, type[Transit] | type[KernelTransit]] = {"bus": Transit, "kernel": KernelTransit}
PRIORITY = 2
"""Above a server's (see `emulator.runtime.process`)."""
BEAT_SECONDS = 1.0
CONTROLLER_SILENCE = 60.0
CLOCK_TOLERANCE = 1e-3
"""Emulated seconds by which a sender's clock may be ahead: all nodes of a host share one."""


@dataclass
class _Peer:
    """A registered node, and when it was last heard of (host's time)."""

    identity: bytes
    heard: float
    ready: bool = False
    """To start the next run."""
    watched: bool = False
    """Its heartbeat is expected: from when it is first ready, for while it imports its program it has none."""
    given_up: bool = False
    """Failed or silent: the controller knows."""
    clock_error: float = 0.0
    """Seconds by which its clock, on another host, may be off."""
    unsent: list[list[Any]] = field(default_factory=list)
    """What came for it while its connection was broken."""


class Hub:
    """Routes the messages of an experiment's runs, each of which starts when every node is ready for it.

    The first waits for the controller's word as well.
    """

    def __init__(self, plan: Plan, token: str, priority: str | None = None) -> None:
        self._plan = plan
        self._token = token
        self._peers: dict[str, _Peer] = {}
        self._names: dict[bytes, str] = {}
        self._waiting_runs = list(plan.runs)
        self._running = False
        self._run = plan.runs[0].name  # the current one, or the one that comes next
        self._changing = Changing(plan, self)
        self._transit = self._new_links()
        self._gone: set[str] = set()  # nodes that have ended before the runs are over
        self._reported: set[tuple[str, str]] = set()
        self._heart = Heart()
        self._priority = priority  # None: raised; else why not

    async def serve(self, context: zmq.Context[zmq.Socket[bytes]], host: str = "127.0.0.1") -> None:
        """Listen on `host` until cancelled, or until the controller is gone.

        Writes the address to standard output once it listens.

        Raises `InputError` when the port is taken.
        """
        router = context.socket(zmq.ROUTER)
        address = bind(router, host, self._plan.bus)
        self._socket = Socket(router, self._receive)
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        beating = asyncio.create_task(self._heart.beat())
        try:
            while not self._abandoned():
                await asyncio.sleep(BEAT_SECONDS)
                self._look_for_the_silent()
        finally:
            beating.cancel()
            self._socket.close(linger=2.0)

    # -- what comes in

    def _receive(self, frames: list[zmq.Frame]) -> None:
        identity = frames[0].bytes
        try:
            if len(frames) < 2 or len(frames[1]) > MAX_HEADER:
                raise WireError("no header, or one that is too long")
            header = wire.unpack(frames[1].buffer)
            sizes = [len(frame) for frame in frames[2:]]
            wire.check_frames(header, sizes, self._plan.bus.max_message)
            self._handle(identity, header, frames[1:])
        except WireError as error:
            self._refuse(identity, str(error))

    def _handle(self, identity: bytes, header: Header, frames: list[zmq.Frame]) -> None:
        if header.kind is Kind.REGISTER:
            self._register(identity, header)
            return
        name = self._names.get(identity)
        if name is None:
            self._say(identity, Kind.REFUSED, {"reason": "not registered with this hub"})
            raise WireError(f"a '{header.kind}' from a peer that has not registered")
        if header.sender != name:
            raise WireError(f"{name} says it is '{header.sender:.64}'")
        if name in self._gone:  # it was silent for too long, and comes back: the others no longer reckon with it
            reason = "the others have gone on without it for good (deadlines.silence)"
            self._socket.send([identity, wire.pack(Header(Kind.REFUSED, fields={"reason": reason}))])
            return
        peer = self._peers[name]
        peer.heard = time.monotonic()
        unsent, peer.unsent = peer.unsent, []
        for late in unsent:
            self._send(identity, late)
        match header.kind:
            case Kind.DATA:
                self._route(header, frames)
            case Kind.HEAD | Kind.PART if self._plan.links == "kernel":
                self._route(header, frames)
            case Kind.BEAT:
                self._say(identity, Kind.BEAT, {**header.fields, "there": time.monotonic()})
            case Kind.TELEMETRY:
                self._forward(CONTROLLER, frames)
            case Kind.READY if name == CONTROLLER:
                peer.ready = True
                if self._complete():
                    self._go_on()
            case Kind.READY | Kind.DONE:
                peer.ready = peer.watched = True
                peer.clock_error = wire.seconds(header.fields.get("clock_error", 0.0))
                self._transit.ended.add(name)
                complete = self._complete()
                if complete and self._running:
                    self._report_run()
                self._event(header.kind.value, name, {**header.fields, "hub": self._heart.pulse()})
                if complete:
                    self._go_on()
            case Kind.GONE if name == CONTROLLER:
                self._go_without(str(header.fields.get("node"))[:MAX_NAME])
            case Kind.CHANGE if name == CONTROLLER:
                self._changing.order(header.fields, over=not self._running and not self._waiting_runs)
            case Kind.OFF_CLOCK if name != CONTROLLER:
                if self._running:
                    self._changing.off_clock(name, self._past(header), begins=bool(header.fields.get("begins")))
            case Kind.FAILED:
                peer.given_up = True
                self._event("failed", name, header.fields)
            case _:
                raise WireError(f"a node may not send '{header.kind}'")

    def _register(self, identity: bytes, header: Header) -> None:
        name, token = header.sender, header.fields.get("token")
        known = self._peers.get(name)
        other = self._names.get(identity, name)
        reason = None
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token.encode()):
            reason = "the token is wrong: start nodes with the token of their testbed"
        elif name != CONTROLLER and name not in self._changing.nodes:
            reason = f"the testbed has no node '{name}'"
        elif known is not None and known.identity != identity:
            reason = f"the name '{name}' is already registered"
        elif other != name:
            reason = f"it is already registered as '{other}'"
        if reason is not None:
            self._say(identity, Kind.REFUSED, {"reason": reason})
            self._report_first("refused", name if name in self._changing.nodes else "an unknown node", reason)
            return
        if known is None:
            self._peers[name] = _Peer(identity, time.monotonic())
            self._names[identity] = name
        self._say(identity, Kind.WELCOME, self._welcome(name))
        if known is None:
            self._event("registered", name)

    def _welcome(self, name: str) -> dict[str, Any]:
        bus = {
            "max_message": self._plan.bus.max_message,
            "silence": self._plan.deadlines.silence,
            "message_deadline": self._plan.deadlines.message,
            "scenario": bool(self._plan.scenario),
        }
        if name == CONTROLLER:
            return {"bus": bus, "host": host_id(), "priority": self._priority}
        node = self._changing.nodes[name]
        return {
            "bus": {**bus, "window": node.link.up.queue, "real_time": self._plan.links == "kernel"},
            "host": host_id(),
            "role": node.role,
            "program": node.program,
            "slowdown": node.slowdown,
            "compute": self._plan.compute,
            "device": node.device.name,
            "memory": node.device.memory,
            "peers": self._plan.peers,
        }

    def _complete(self) -> bool:
        """Whether all are ready for the next run; for the first the controller has to be, too."""
        return all(name in self._peers and self._peers[name].ready for name in (CONTROLLER, *self._there()))

    def _there(self) -> list[str]:
        """The nodes that have not ended before their time."""
        return [name for name in self._changing.nodes if name not in self._gone]

    def _go_without(self, name: str) -> None:
        """Wait for a node no longer, send it nothing more, and tell the others."""
        if name not in self._changing.nodes or name in self._gone:
            return
        self._gone.add(name)
        self._transit.ended.add(name)
        if name in self._peers:
            self._peers[name].given_up = True
            self._peers[name].unsent.clear()
        for other in self._there():
            if other in self._peers:
                self._say(self._peers[other].identity, Kind.GONE, {"node": name})
        if self._running and self._complete():
            self._report_run()
            self._go_on()

    def _report_run(self) -> None:
        """Tell the controller what the run's figures lack."""
        self._changing.report_left()
        if self._transit.unreceived:
            said = f"{self._transit.unreceived} messages were not received before the run ended: they are in no figure"
            self._event("unreceived", "the hub", {"reason": said})

    def _go_on(self) -> None:
        """Start the next run, or tell the nodes that there is none."""
        if self._running:
            self._event("finished", HUB, {"run": self._run})
        self._transit.close()
        self._changing.end()
        # A run begins at time 0, on empty links.
        self._transit = self._new_links()
        self._running = bool(self._waiting_runs)
        if not self._waiting_runs:
            for name in self._there():
                self._say(self._peers[name].identity, Kind.END)
            return
        run = self._waiting_runs.pop(0)
        self._run = run.name
        self._heart.begin()
        clock = {"epoch": self._transit.clock.epoch, "scale": self._transit.clock.scale}
        self._transit.ended.update(self._gone)
        for name in self._there():
            self._peers[name].ready = False
            start = {"node": self._welcome(name), "run": run.name, "config": run.config, **clock}
            self._say(self._peers[name].identity, Kind.START, start)
            for gone in sorted(self._gone):
                self._say(self._peers[name].identity, Kind.GONE, {"node": gone})
        self._event("started", HUB, {"run": run.name, **clock})
        self._changing.begin(run.name, self._transit)

    def _new_links(self) -> Transit | KernelTransit:
        return _CARRIERS[self._plan.links](self._changing.plan, self._forward, self._changing.horizon)

    # -- who is told of what changes (see `changing`)

    def node(self, name: str, at: float) -> None:
        """It is another from the emulated time `at` on."""
        if name in self._peers:
            self._say(self._peers[name].identity, Kind.CHANGE, {**self._welcome(name), "at": at})

    def timeline(self, spans: list[Span]) -> None:
        """It is to show these."""
        if spans:
            fields = {"entries": [span.to_fields() for span in spans]}
            self._forward(CONTROLLER, [wire.pack(Header(Kind.TELEMETRY, HUB, fields=fields))])

    def controller(self, event: str, node: str, fields: dict[str, Any]) -> None:
        """It is to hear of this."""
        self._event(event, node, fields)

    # -- what goes through

    def _route(self, header: Header, frames: list[zmq.Frame]) -> None:
        if (
            header.sender not in self._changing.nodes
            or header.receiver not in self._changing.nodes
            or header.receiver == header.sender
        ):
            raise WireError(f"{header.sender} has no peer '{header.receiver:.64}'")
        if not self._running or self._peers[header.sender].ready:
            raise WireError(f"{header.sender} sends outside of a run")
        header.sent = self._past(header)
        self._changing.heard(header.round, header.sent)
        self._transit.take(header, frames)

    def _past(self, header: Header) -> float:
        """When it was sent, in emulated time."""
        error = self._peers[header.sender].clock_error / self._plan.scale
        if not -error <= header.sent <= self._transit.clock.now() + CLOCK_TOLERANCE + error:
            raise WireError(f"{header.sender} sent it at {header.sent:.6g} s, which is not in this run's past")
        return max(0.0, header.sent)

    def _forward(self, name: str, frames: list[Any]) -> None:
        peer = self._peers.get(name)
        if peer is not None:
            self._send(peer.identity, frames)

    def _send(self, identity: bytes, frames: list[Any]) -> None:
        """Send now or, to a node whose connection is broken, as soon as it is heard again."""
        name = self._names.get(identity, "")
        if name in self._gone:
            return
        peer = self._peers.get(name)
        waits = peer is not None and bool(peer.unsent)
        if (waits or not self._socket.send([identity, *frames])) and peer is not None:
            peer.unsent.append(frames)

    # -- what the hub says itself

    def _say(self, identity: bytes, kind: Kind, fields: dict[str, Any] | None = None) -> None:
        self._send(identity, [wire.pack(Header(kind, fields=fields or {}))])

    def _event(self, event: str, node: str, fields: dict[str, Any] | None = None) -> None:
        controller = self._peers.get(CONTROLLER)
        if controller is not None:
            self._say(controller.identity, Kind.EVENT, {"event": event, "node": node, **(fields or {})})

    def _refuse(self, identity: bytes, reason: str) -> None:
        self._report_first("bad frame", self._names.get(identity, "an unknown peer"), reason)

    def _report_first(self, event: str, name: str, reason: str) -> None:
        """Whoever floods the hub with what it refuses is not to flood the controller, too."""
        if (event, name) not in self._reported:
            self._reported.add((event, name))
            self._event(event, name, {"reason": reason})

    def _look_for_the_silent(self) -> None:
        now = time.monotonic()
        for name, peer in self._peers.items():
            if peer.watched and not peer.given_up and now - peer.heard > self._plan.deadlines.silence:
                peer.given_up = True
                self._event("silent", name, {"seconds": now - peer.heard})

    def _abandoned(self) -> bool:
        """Whether the controller is gone: nobody would ever stop this hub, nor the nodes that it answers."""
        controller = self._peers.get(CONTROLLER)
        return controller is not None and time.monotonic() - controller.heard > CONTROLLER_SILENCE


def main() -> int:
    """The hub's process: `hub [HOST]`, the interface to listen on.

    The token and the plan come on standard input, a line each; the address goes to standard output.
    """
    die_with_parent()
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    token = sys.stdin.readline().strip()
    plan = Plan.model_validate_json(sys.stdin.readline())
    priority = raise_priority(PRIORITY)

    async def serve() -> None:
        keep()
        await Hub(plan, token, priority).serve(zmq.Context(), host)

    try:
        with collecting_seldom(), asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve())
    except EdgebedError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
