"""The bus over real sockets: who gets on it, what crosses it, and what it refuses."""

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from emulator.bus import wire
from emulator.bus.controller import Controller
from emulator.bus.endpoint import Endpoint
from emulator.bus.socket import Socket
from emulator.bus.wire import Header, Kind, WireError
from emulator.errors import DeadlineExceeded, InputError, Refused
from emulator.runtime.process import Member
from emulator.system import host_id
from emulator.timeline import CARRY_SECONDS
from tests.integration.bus_world import SECONDS, TOKEN, Joined, Proxy, make_plan, on_loop, world


def data(sender: str, receiver: str, **more: Any) -> Header:
    return Header(Kind.DATA, sender, receiver, "greeting", **more)


# -- getting on it


@on_loop
async def test_nodes_register_start_together_exchange_a_message_and_end() -> None:
    async with world(make_plan("server", "client", runs=2)) as bus:
        server, client = bus.peer(), bus.peer()
        for peer, name in ((server, "server"), (client, "client")):
            peer.send(wire.pack(Header(Kind.REGISTER, name, fields={"token": TOKEN})))
            welcome = (await peer.next(Kind.WELCOME)).fields
            assert welcome["role"] == name
            assert welcome["peers"] == {"server": ["server"], "client": ["client"]}
            await bus.event("registered", name)
        for number in (1, 2):
            server.send(wire.pack(Header(Kind.READY if number == 1 else Kind.DONE, "server")))
            client.send(wire.pack(Header(Kind.READY if number == 1 else Kind.DONE, "client")))
            for peer in (server, client):
                start = (await peer.next(Kind.START)).fields
                assert (start["run"], start["config"]) == (f"run-{number}", {"number": number})
            sent = wire.encode(data("client", "server", number=1), {"x": np.arange(3)})
            client.send(*map(bytes, sent))
            header, frames = await server.frames(Kind.DATA)
            assert (header.sender, header.stage, header.nbytes) == ("client", "greeting", sum(map(len, sent)))
            assert frames == [bytes(sent[1])]
            assert (await client.next(Kind.CREDIT)).fields == {"number": 1, "departed": header.sent}
        for peer, name in ((server, "server"), (client, "client")):
            peer.send(wire.pack(Header(Kind.DONE, name)))
        for peer in (server, client):
            await peer.next(Kind.END)


@on_loop
async def test_a_run_waits_for_the_last_node() -> None:
    async with world(make_plan("server", "client")) as bus:
        server = await bus.join("server")
        await bus.event("ready", "server")
        assert server.node is None
        await bus.join("client")
        assert (await server.started()).name == "server"


@pytest.mark.parametrize(
    ("name", "token", "reason"),
    [
        ("server", TOKEN, "refused by the hub: the name 'server' is already registered"),
        ("client", "a guess", "refused by the hub: the token is wrong: start nodes with the token of their testbed"),
        ("clinet", TOKEN, "refused by the hub: the testbed has no node 'clinet'"),
    ],
)
@on_loop
async def test_a_node_that_may_not_register_is_told_why(name: str, token: str, reason: str) -> None:
    async with world(make_plan("server", "client")) as bus:
        first = await bus.join("server")
        second = Endpoint(name, bus.address, token, lambda *_: None)
        try:
            with pytest.raises(Refused, match=reason):
                await second.register(SECONDS)
        finally:
            second.close()
        shown = "an unknown node" if name == "clinet" else name
        assert (await bus.event("refused", shown)).fields["reason"] in reason
        await bus.join("client")
        await first.started()  # nobody else was disturbed


@on_loop
async def test_one_socket_cannot_have_two_names() -> None:
    async with world(make_plan("server", "client")) as bus:
        peer = await bus.raw_member("server")
        peer.send(wire.pack(Header(Kind.REGISTER, "client", fields={"token": TOKEN})))
        assert "'server'" in (await peer.next(Kind.REFUSED)).fields["reason"]


@on_loop
async def test_a_hub_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        endpoint = Endpoint("client", address, TOKEN, lambda *_: None)
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=f"client: no answer from the hub at {address} within 0.2 s"):
            await endpoint.register(0.2)
        endpoint.close()
        assert time.monotonic() - began < 2, "closing waits for a hub that was never there"


# -- what crosses it


@on_loop
async def test_tensors_arrive_as_they_were_sent() -> None:
    random = np.random.default_rng(1)
    sent: dict[str, Any] = {
        f"of {code}": (100 * random.random((3, 5))).astype(code)
        for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
    }
    sent |= {
        "large": random.random(600_000).astype(np.float32),
        "transposed": np.arange(12.0).reshape(3, 4).T,
        "every other": np.arange(10)[::2],
        "empty": np.zeros((0, 4), np.float32),
        "a scalar": np.array(2.5),
    }
    async with world(make_plan("server", "client")) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "greeting", {"of": ["any", {"kind": None}], "π": 3.14}, sent)
        message = await server.receive("greeting", "client", timeout=SECONDS)
    assert message.fields == {"of": ["any", {"kind": None}], "π": 3.14}
    assert list(message.tensors) == list(sent)
    for name, array in sent.items():
        assert message.tensors[name].dtype == array.dtype, name
        assert message.tensors[name].shape == array.shape, name
        np.testing.assert_array_equal(message.tensors[name], array, name)


@on_loop
async def test_bytes_are_counted_with_the_header() -> None:
    async with world(make_plan("server", "client")) as bus:
        raw = await bus.raw_member("client")
        server = await (await bus.join("server")).started()
        await raw.next(Kind.START)
        frames = wire.encode(data("client", "server", number=1, fields={"k": "v"}), {"x": np.zeros(1000, np.float32)})
        raw.send(*map(bytes, frames))
        await server.receive("greeting", timeout=SECONDS)
        await server.run(_nothing)  # hands over what it noted
        (span,) = await bus.spans(stage="greeting")
    assert span["bytes"] == len(frames[0]) + 4000 > 4000


@on_loop
async def test_the_hub_says_how_hard_a_run_was_for_it_when_a_node_is_done() -> None:
    async with world(make_plan("server", "client", up={"rate": "8 Mbit/s"})) as bus:
        joined = [await bus.join(name) for name in ("server", "client")]
        server, client = [await node.started() for node in joined]
        began = time.monotonic()
        while time.monotonic() - began < 0.3:
            await client.send("server", "greeting", tensors={"x": np.zeros(1000, np.uint8)})
            await server.receive("greeting", timeout=SECONDS)
        for node in joined:
            node.endpoint.send(Header(Kind.DONE))
            pulse = (await bus.event("done", node.endpoint.name)).fields["hub"]
    assert 0.0 < pulse["busiest"] < 1.5
    assert 0.0 < pulse["cpu"] < 4.0
    assert 0.0 <= pulse["late_p95"] < SECONDS


@on_loop
async def test_a_message_is_delivered_when_it_is_due_and_not_before() -> None:
    plan = make_plan("server", "client", up={"rate": "8 Mbit/s", "delay": "30 ms"}, down={"rate": "unlimited"})
    async with world(plan) as bus:
        server, client = await bus.nodes("server", "client")
        for size in (1, 50_000):
            await asyncio.sleep(2 * CARRY_SECONDS)  # else it may count from when the run began
            began = time.monotonic()
            await client.send("server", "greeting", tensors={"x": np.zeros(size, np.uint8)})
            await server.receive("greeting", timeout=SECONDS)
            assert time.monotonic() - began >= 0.030 + size / 1e6 - 1e-4
        await server.run(_nothing)
        spans = await bus.spans(stage="greeting")
    for span in spans:
        assert span["due"] - span["start"] == pytest.approx(0.030 + span["bytes"] / 1e6, rel=1e-6)
        assert span["end"] >= span["due"]


@on_loop
async def test_a_sender_waits_while_its_queue_is_full_and_the_wait_is_in_the_timeline() -> None:
    plan = make_plan("server", "client", up={"rate": "8 Mbit/s", "queue": "64 KiB"})
    async with world(plan) as bus:
        server, client = await bus.nodes("server", "client")
        for number in range(4):
            await client.send("server", "greeting", {"number": number}, {"x": np.zeros(50_000, np.uint8)})
        for number in range(4):
            assert (await server.receive("greeting", timeout=SECONDS)).fields["number"] == number
        await client.run(_nothing)
        waits = await bus.spans(stage="wait", node="client")
    assert len(waits) == 3  # only the first finds room: 64 KiB do not hold two
    for wait in waits:
        assert wait["end"] - wait["start"] == pytest.approx(0.050, rel=0.5)


@on_loop
async def test_a_sender_that_never_gets_room_names_the_receiver() -> None:
    plan = make_plan("server", "client", up={"rate": "1 kbit/s", "queue": "1 KiB"}, message="200 ms")
    async with world(plan) as bus:
        _, client = await bus.nodes("server", "client")
        await client.send("server", "greeting", tensors={"x": np.zeros(1000, np.uint8)})
        with pytest.raises(
            DeadlineExceeded, match=r"client: its up link had no room for 1000 B to server within 0.2 s"
        ):
            await client.send("server", "greeting", tensors={"x": np.zeros(1000, np.uint8)})


@on_loop
async def test_a_message_off_the_clock_crosses_no_link() -> None:
    slow = {"rate": "1 kbit/s", "delay": "1 h"}
    async with world(make_plan("server", "client", up=slow, down=slow)) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "model", tensors={"x": np.zeros(100_000)}, off_clock=True)
        assert (await server.receive("model", timeout=SECONDS)).tensors["x"].nbytes == 800_000
        await server.run(_nothing)
        (span,) = await bus.spans(stage="model")
    assert span["off_clock"] is True
    assert "due" not in span


@on_loop
async def test_a_deadline_names_the_peer_and_what_it_should_have_sent() -> None:
    async with world(make_plan("server", "client")) as bus:
        server, _ = await bus.nodes("server", "client")
        with pytest.raises(DeadlineExceeded, match=r"server: no 'greeting' from client within 0.05 s of host time"):
            await server.receive("greeting", "client", timeout=0.05)
        with pytest.raises(DeadlineExceeded, match=r"server: no message from any peer within 0.05 s"):
            await server.receive(timeout=0.05)


@on_loop
async def test_what_was_due_by_a_deadline_is_in_time_however_late_the_host_brings_it() -> None:
    async with world(make_plan("server", "client", up={"delay": "100 ms"})) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "greeting")
        by = server.deadline(0.3)
        await asyncio.sleep(0.6)
        assert server.deadline(0.0).at > by.at  # the program was held up, and looks only now
        assert (await server.receive("greeting", "client", by=by)).sender == "client"


@on_loop
async def test_what_is_due_after_a_deadline_is_late_and_stays_for_later() -> None:
    async with world(make_plan("server", "client", up={"delay": "300 ms"})) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "greeting")
        by = server.deadline(0.1)
        await asyncio.sleep(0.5)
        assert server.deadline(0.0).at > by.at + 0.3
        with pytest.raises(DeadlineExceeded, match=r"no 'greeting' from any peer within 0\.1 s"):
            await server.receive("greeting", by=by)
        assert (await server.receive("greeting", timeout=SECONDS)).sender == "client"


@on_loop
async def test_after_a_deadline_a_node_goes_on_from_its_very_moment() -> None:
    async with world(make_plan("server", "client")) as bus:
        server, _ = await bus.nodes("server", "client")
        server.round = 1
        by = server.deadline(0.2)
        with pytest.raises(DeadlineExceeded):
            await server.receive(by=by)
        server.waited(by)
        server.leave_out("client")
        await server.compute("serve", lambda: None)
        await server.run(_nothing)  # hands over what it noted
        ((wait,), (mark,), (serve,)) = [await bus.spans(stage=stage) for stage in ("wait", "left_out", "serve")]
    assert wait["start"] == by.since
    assert wait["end"] >= by.at
    # A host that is held up for longer than a node may make up for shows.
    assert wait["end"] == by.at or wait["end"] > by.at + CARRY_SECONDS
    assert serve["start"] == pytest.approx(wait["end"], abs=1e-6) or serve["start"] > by.at + CARRY_SECONDS
    assert (mark["node"], mark["off_clock"]) == ("client", True)


@on_loop
async def test_others_messages_stay_for_later_while_one_is_waited_for() -> None:
    async with world(make_plan("server", "one", "two")) as bus:
        server, one, two = await bus.nodes("server", "one", "two")
        for number, (sender, kind) in enumerate([(one, "a"), (two, "b"), (one, "b"), (one, "a")]):
            await sender.send("server", kind, {"number": number})
            await asyncio.sleep(0.01)
        order = [
            (await server.receive(kind, sender, timeout=SECONDS)).fields["number"]
            for kind, sender in (("b", "one"), ("b", None), ("a", "one"), (None, None))
        ]
    assert order == [2, 1, 0, 3]


@on_loop
async def test_a_message_that_comes_with_the_start_is_not_lost() -> None:
    """A node whose process was held up finds both in its socket at once."""
    with _fake_hub() as (router, address):
        member = Member(address, "client", TOKEN)
        serving = asyncio.create_task(member.serve())
        identity = await _next(router, Kind.REGISTER)
        welcome = {
            "host": host_id(),
            "role": "client",
            "program": f"{__name__}:greeted",
            "slowdown": 1.0,
            "compute": "stretched",
            "device": "board",
            "memory": float("inf"),
            "peers": {"server": ["server"], "client": ["client"]},
            "bus": {
                "max_message": 1e6,
                "silence": SECONDS,
                "message_deadline": 2.0,
                "scenario": False,
                "window": 1e6,
                "real_time": False,
            },
        }
        router.send_multipart([identity, wire.pack(Header(Kind.WELCOME, fields=welcome))])
        await _next(router, Kind.READY)
        start = {"node": welcome, "run": "run", "config": {}, "epoch": time.monotonic(), "scale": 1.0}
        router.send_multipart([identity, wire.pack(Header(Kind.START, fields=start))])
        router.send_multipart([identity, wire.pack(data("server", "client", number=1))])
        time.sleep(0.1)  # noqa: ASYNC251 - so that both have arrived when the node looks
        await _next(router, Kind.DONE)
        router.send_multipart([identity, wire.pack(Header(Kind.END))])
        assert await asyncio.wait_for(serving, SECONDS) == 0


# -- what it refuses: the sender's own check


@pytest.mark.parametrize(
    ("to", "kind", "fields", "tensors", "error"),
    [
        ("nobody", "greeting", {}, {}, "client: cannot send 'greeting' to 'nobody': no such peer in this testbed"),
        ("client", "greeting", {}, {}, "client: cannot send 'greeting' to 'client'"),
        (
            "server",
            "greeting",
            {},
            {"x": np.zeros(70_000, np.uint8)},
            r"client: 'greeting' to server has 68.36 KiB, over the bus's limit of 64 KiB: raise bus.max_message",
        ),
        ("server", "greeting", {}, {"x": np.zeros(3, complex)}, "tensor 'x' is of type complex128"),
        ("server", "greeting", {}, {"x": np.zeros(3, ">f4")}, "tensor 'x' is of type >f4"),
        ("server", "greeting", {"a": object()}, {}, "the fields of 'greeting' cannot be packed"),
        ("server", "greeting", {"by client": {1: 0.5}}, {}, "int is not allowed for map key"),
        (
            "server",
            "greeting",
            {"all": "x" * 5_000_000},
            {},
            "the fields of .greeting. take 50000.. bytes, over the limit",
        ),
        ("server", "g" * 65, {}, {}, "not a name of at most 64 characters"),
        ("server", "greeting", {}, {str(i): np.zeros(1) for i in range(5000)}, "not a list of at most 4096"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
@on_loop
async def test_a_program_hears_at_once_of_a_message_the_bus_cannot_carry(
    to: str, kind: str, fields: dict[str, Any], tensors: dict[str, Any], error: str
) -> None:
    async with world(make_plan("server", "client", max_message="64 KiB")) as bus:
        server, client = await bus.nodes("server", "client")
        with pytest.raises((InputError, WireError), match=error):
            await client.send(to, kind, fields, tensors)
        await _still_delivers(client, server)
        assert bus.events_of("bad frame") == []


# -- what it refuses: the hub's check of senders that have none


def _packed(sender: str, **changes: Any) -> bytes:
    """The frame of a good message from `sender` to the server, but for `changes`."""
    places = (
        "version", "kind", "sender", "receiver", "stage", "number", "round", "sent", "off_clock", "fields", "tensors",
        "due", "nbytes",
    )  # fmt: skip
    body = msgpack.unpackb(wire.pack(data(sender, "server", number=1)))
    for place, value in changes.items():
        body[places.index(place)] = value
    return bytes(msgpack.packb(body))


BAD_FROM_ANYONE: dict[str, tuple[Callable[[str], list[bytes]], str]] = {
    "empty": (lambda _: [b""], "not msgpack"),
    "garbage": (lambda _: [b"\xc1\xff\x00garbage"], "not msgpack"),
    "another list": (lambda _: [msgpack.packb([1, 2, 3])], "the header has 3 fields, not 13"),
    "another protocol": (lambda _: [msgpack.packb({"jsonrpc": "2.0"})], "not a list of fields"),
    "deeply nested": (lambda _: [b"\x91" * 100_000], "not msgpack"),
    "foreign version": (lambda me: [_packed(me, version=2)], "protocol version 2 is not 1"),
    "foreign kind": (lambda me: [_packed(me, kind="teleport")], "unknown kind of message 'teleport'"),
    "kind of no text": (lambda me: [_packed(me, kind=["data"])], "unknown kind of message"),
    "kind of a map": (lambda me: [_packed(me, kind={"a": 1})], "unknown kind of message"),
    "long name": (lambda me: [_packed(me, stage="s" * 65)], "not a name of at most 64 characters"),
    "negative count": (lambda me: [_packed(me, round=-1)], "round -1 is not a count"),
    "no time": (lambda me: [_packed(me, sent=float("nan"))], "the time of sending nan is not a time"),
    "fields of no map": (lambda me: [_packed(me, fields=[1])], "fields is not a map"),
    "tensor of no type": (lambda me: [_packed(me, tensors=[["x", ["f4"], [1]]]), b"1234"], "unknown type"),
    "tensor of objects": (lambda me: [_packed(me, tensors=[["x", "|O", [1]]]), b"12345678"], "unknown type '|O'"),
    "tensor without end": (lambda me: [_packed(me, tensors=[["x", "<f4", [2**62] * 9]]), b"1234"], "tensor 'x'"),
    "cut header": (lambda me: [_packed(me)[:-4]], "not msgpack"),
    "a frame less": (lambda me: [_packed(me, tensors=[["x", "<f4", [1]]])], "1 tensors announced, 0 frames came"),
    "a frame more": (lambda me: [_packed(me), b"1234"], "0 tensors announced, 1 frames came"),
    "a short frame": (lambda me: [_packed(me, tensors=[["x", "<f4", [2]]]), b"1234"], "does not fit its frame"),
    "too large": (
        lambda me: [_packed(me, tensors=[["x", "|u1", [70_000]]]), bytes(70_000)],
        "message of 70000 bytes is over the limit of 65536",
    ),
    "too large a header": (lambda _: [bytes(4 * 2**20 + 1)], "no header, or one that is too long"),
}
BAD_FROM_A_NODE: dict[str, tuple[Callable[[str], list[bytes]], str]] = {
    "spoofed": (lambda _: [_packed("client")], "raw says it is 'client'"),
    "to nobody": (lambda me: [_packed(me, receiver="nobody")], "raw has no peer 'nobody'"),
    "to itself": (lambda me: [_packed(me, receiver=me)], "raw has no peer 'raw'"),
    "to the controller": (lambda me: [_packed(me, receiver="controller")], "raw has no peer 'controller'"),
    "from the future": (lambda me: [_packed(me, sent=3600.0)], "sent it at 3600 s, which is not in this run's past"),
    "from before": (lambda me: [_packed(me, sent=-1.0)], "sent it at -1 s, which is not in this run's past"),
    "the hub's word": (lambda me: [wire.pack(Header(Kind.START, me))], "a node may not send 'start'"),
}


@pytest.mark.parametrize("case", BAD_FROM_ANYONE)
@pytest.mark.parametrize("known", [True, False], ids=["from a node", "from a stranger"])
@on_loop
async def test_a_bad_frame_is_reported_once_and_the_hub_goes_on(case: str, known: bool) -> None:
    await _send_badly(*BAD_FROM_ANYONE[case], known=known)


@pytest.mark.parametrize("case", BAD_FROM_A_NODE)
@on_loop
async def test_a_frame_that_a_node_may_not_send_is_reported_once_and_the_hub_goes_on(case: str) -> None:
    await _send_badly(*BAD_FROM_A_NODE[case], known=True)


async def _send_badly(frames: Callable[[str], list[bytes]], reason: str, *, known: bool) -> None:
    async with world(make_plan("server", "client", "raw", max_message="64 KiB")) as bus:
        member = await bus.raw_member("raw")
        server, client = await bus.nodes("server", "client")
        await member.next(Kind.START)
        bad = member if known else bus.peer()
        for _ in range(3):
            bad.send(*frames("raw" if known else "stranger"))
        await bad.settle()
        await _still_delivers(client, server)
        if known:  # what one node does wrong once is no reason to lose it
            member.send(_packed("raw"))
            assert (await server.receive("greeting", "raw", timeout=SECONDS)).sender == "raw"
        await bus.event("bad frame", "raw" if known else "an unknown peer")
        (event,) = bus.events_of("bad frame")
        assert reason in event.fields["reason"]


@on_loop
async def test_a_stranger_is_told_that_it_is_not_registered() -> None:
    async with world(make_plan("server", "client")) as bus:
        server, client = await bus.nodes("server", "client")
        stranger = bus.peer()
        for _ in range(2):
            stranger.send(_packed("client"))
            assert (await stranger.next(Kind.REFUSED)).fields["reason"] == "not registered with this hub"
        await _still_delivers(client, server)
        (event,) = bus.events_of("bad frame")
        assert event.node == "an unknown peer"
        assert event.fields["reason"] == "a 'data' from a peer that has not registered"


@on_loop
async def test_data_before_the_run_has_started_is_refused() -> None:
    async with world(make_plan("server", "client", "raw")) as bus:
        raw = await bus.raw_member("raw")
        raw.send(_packed("raw"))
        await raw.settle()
        assert (await bus.event("bad frame", "raw")).fields["reason"] == "raw sends outside of a run"
        server, client = await bus.nodes("server", "client")
        await _still_delivers(client, server)


@on_loop
async def test_a_frame_larger_than_the_hub_would_allocate_ends_the_connection_alone() -> None:
    async with world(make_plan("server", "client", "raw", max_message="64 KiB")) as bus:
        raw = await bus.raw_member("raw")
        server, client = await bus.nodes("server", "client")
        await raw.next(Kind.START)
        huge = 64 * 2**20
        raw.send(_packed("raw", tensors=[["x", "|u1", [huge]]]), bytes(huge))
        await _still_delivers(client, server)
        # ZeroMQ connects anew, and what comes then is welcome.
        raw.send(_packed("raw"))
        assert (await server.receive("greeting", "raw", timeout=SECONDS)).sender == "raw"


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00NULL" + bytes(48) + b"no frames of ZeroMQ" * 50,
        np.random.default_rng(3).bytes(100_000),
        b"",
    ],
    ids=["http", "greeting, then garbage", "noise", "nothing"],
)
@on_loop
async def test_foreign_bytes_on_the_port_do_not_disturb_the_hub(words: bytes) -> None:
    async with world(make_plan("server", "client")) as bus:
        server, client = await bus.nodes("server", "client")
        port = int(bus.address.rpartition(":")[2])
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(words)
            await asyncio.sleep(0.01)
            writer.transport.abort()
        await _still_delivers(client, server)


@on_loop
async def test_a_message_that_cannot_be_handled_does_not_hold_up_the_next() -> None:
    came: list[bytes] = []

    def handle(frames: list[zmq.Frame]) -> None:
        came.append(frames[0].bytes)
        if len(came) == 1:
            raise RuntimeError("a fault of edgebed's own")

    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sink, source = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    source.connect(f"tcp://127.0.0.1:{sink.bind_to_random_port('tcp://127.0.0.1')}")
    for number in range(3):
        source.send(b"%d" % number)
    time.sleep(0.1)  # noqa: ASYNC251 - so that one edge stands for all three
    receiving = Socket(sink, handle)
    await _until(lambda: len(came) == 3)
    receiving.close(0)
    source.close(0)
    context.term()
    assert [str(error) for error in said] == ["a fault of edgebed's own"]


# -- what is lost and found


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_a_node_that_falls_silent_is_reported_once() -> None:
    async with world(make_plan("server", "raw", silence="300 ms")) as bus:
        await bus.raw_member("raw")
        await (await bus.join("server")).started()
        event = await bus.event("silent")
        assert event.node == "raw"
        assert event.fields["seconds"] > 0.3
        await asyncio.sleep(0.5)
        assert [event.node for event in bus.events_of("silent")] == ["raw"]


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_a_node_that_is_not_yet_ready_may_be_silent() -> None:
    """Its program is being imported; for that there is `deadlines.start`."""
    async with world(make_plan("server", "raw", silence="200 ms")) as bus:
        loading = bus.peer()
        loading.send(wire.pack(Header(Kind.REGISTER, "raw", fields={"token": TOKEN})))
        await loading.next(Kind.WELCOME)
        await bus.join("server")
        await asyncio.sleep(0.6)
        assert bus.events_of("silent") == []


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_a_node_whose_hub_is_gone_ends_and_names_it() -> None:
    with _fake_hub() as (router, address):
        joined = Joined("client", address)
        joining = asyncio.create_task(joined.join())
        identity = await _next(router, Kind.REGISTER)
        router.send_multipart(
            [identity, wire.pack(Header(Kind.WELCOME, fields={"bus": {"silence": 0.3}, "host": host_id()}))]
        )
        await joining
    with pytest.raises(DeadlineExceeded, match=rf"client: the hub at {address} has been silent for 0.3 s"):
        await asyncio.wait_for(asyncio.shield(joined.endpoint.lost), SECONDS)
    joined.endpoint.close()


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_a_node_that_was_held_up_does_not_take_its_hub_for_gone() -> None:
    with _fake_hub() as (router, address):
        joined = Joined("client", address)
        joining = asyncio.create_task(joined.join())
        identity = await _next(router, Kind.REGISTER)
        router.send_multipart(
            [identity, wire.pack(Header(Kind.WELCOME, fields={"bus": {"silence": 0.3}, "host": host_id()}))]
        )
        await joining
        time.sleep(1.0)  # noqa: ASYNC251 - as a program does that imports something large
        for _ in range(10):
            await _next(router, Kind.BEAT)
            router.send_multipart([identity, wire.pack(Header(Kind.BEAT))])
        assert not joined.endpoint.lost.done()
        joined.endpoint.close()


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_messages_flow_again_after_a_connection_broke() -> None:
    async with world(make_plan("server", "client")) as bus, Proxy(bus.address) as proxy:
        joined = await bus.join("client", proxy.address)
        server = await (await bus.join("server")).started()
        client = await joined.started()
        await _still_delivers(client, server)
        for _ in range(2):
            before = proxy.connections
            proxy.cut()
            await _until(lambda: proxy.connections > before)  # noqa: B023 - awaited here
            await _still_delivers(client, server)
            await _still_delivers(server, client)
        assert bus.events_of("silent") == []
        joined.endpoint.close()


@pytest.mark.usefixtures("quick_beats")
@on_loop
async def test_what_is_sent_while_a_connection_is_broken_arrives_later() -> None:
    async with world(make_plan("server", "client")) as bus, Proxy(bus.address) as proxy:
        joined = await bus.join("client", proxy.address)
        server = await (await bus.join("server")).started()
        client = await joined.started()
        await _still_delivers(client, server)
        proxy.cut(reopen=False)
        await asyncio.sleep(0.2)
        await server.send("client", "down")
        await client.send("server", "up")
        await asyncio.sleep(0.1)
        proxy.mend()
        assert (await client.receive("down", timeout=SECONDS)).sender == "server"
        assert (await server.receive("up", timeout=SECONDS)).sender == "client"
        joined.endpoint.close()


@on_loop
async def test_the_hub_is_a_process_that_says_where_it_listens_and_ends_with_its_parent() -> None:
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulator.bus.hub", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert hub.stdin is not None
    assert hub.stdout is not None
    hub.stdin.write(f"{TOKEN}\n{make_plan('server', 'client').model_dump_json()}\n".encode())
    address = (await asyncio.wait_for(hub.stdout.readline(), SECONDS)).decode().strip()
    try:
        assert address.startswith("tcp://127.0.0.1:")
        controller = Controller(address, TOKEN, lambda _: None)
        await controller.connect(SECONDS)
        one, two = Joined("server", address), Joined("client", address)
        await one.join()
        await two.join()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.started(), 0.2)  # not before the controller is ready, too
        controller.ready()
        await _still_delivers(await one.started(), await two.started())
        for endpoint in (one.endpoint, two.endpoint, controller):
            endpoint.close()
    finally:
        hub.kill()
        await hub.wait()


# -- helpers


async def greeted(node: Any) -> None:
    """The program of the node that was held up."""
    await node.receive("greeting", "server")


async def _nothing(_: Any) -> None:
    pass


async def _still_delivers(sender: Any, receiver: Any) -> None:
    tensors = {"x": np.arange(5)}
    await sender.send(receiver.name, "still there", tensors=tensors)
    message = await receiver.receive("still there", sender.name, timeout=SECONDS)
    np.testing.assert_array_equal(message.tensors["x"], tensors["x"])


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class _fake_hub:  # noqa: N801 - used as a function
    """A ROUTER that says only what the test has it say."""

    def __enter__(self) -> tuple[Any, str]:
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.bind("tcp://127.0.0.1:*")
        return self._router, self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def __exit__(self, *_: object) -> None:
        self._router.close(linger=0)
        self._context.term()


async def _next(router: Any, kind: Kind) -> bytes:
    """The identity of whoever sends the next message of that kind; a failure's text if that comes instead."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            identity, frame = router.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            await asyncio.sleep(0.002)
            continue
        header = wire.unpack(frame)
        assert header.kind is not Kind.FAILED, header.fields
        if header.kind is kind:
            return bytes(identity)
    raise AssertionError(f"no '{kind}' came")


@on_loop
async def test_whoever_is_refused_again_and_again_is_reported_once() -> None:
    async with world(make_plan("server", "client")) as bus:
        for guess in ("one", "two", "three"):
            stranger = Endpoint("client", bus.address, guess, lambda *_: None)
            with pytest.raises(Refused, match="the token is wrong"):
                await stranger.register(SECONDS)
            stranger.close()
        await bus.event("refused", "client")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await bus.event("refused", "client")
