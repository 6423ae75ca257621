"""What the hub does where the kernel limits the links: here nobody limits them, so that what is left is the hub's."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
import zmq

from emulator.bus import wire
from emulator.bus.kernel_transit import KernelTransit
from emulator.bus.parts import split
from emulator.bus.wire import Header, Kind
from emulator.plan import Plan
from emulator.profiles import Channel, LinkProfile
from emulator.tc import Kernel
from tests.integration.bus_world import SECONDS, make_plan, on_loop, world

BUCKETS = Kernel(tbf=True, htb=True, ifb=True, netem=False)
JITTER = 0.2
EVERYTHING = BUCKETS.model_copy(update={"netem": True})


def plan(*names: str, kernel: Kernel = BUCKETS, **channel: str) -> Plan:
    made = make_plan(*names, up=channel, down=channel)
    return made.model_copy(update={"links": "kernel", "kernel": kernel})


def noise(nbytes: int, seed: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)


@on_loop
async def test_a_large_message_arrives_as_it_was_sent_with_its_bytes_and_no_promise() -> None:
    async with world(plan("a", "server")) as inside:
        a, server = await inside.nodes("a", "server")
        tensors = {"x": noise(2**20).view(np.float32), "none": np.empty((0, 3), np.float64), "y": noise(1000)}
        await a.send("server", "uplink", {"loss": 0.5}, tensors)
        message = await server.receive("uplink", "a", timeout=SECONDS)
        assert (message.fields, message.sender) == ({"loss": 0.5}, "a")
        for name, array in tensors.items():
            assert message.tensors[name].tobytes() == array.tobytes()
            assert message.tensors[name].shape == array.shape
        server._flush()
        (span,) = await inside.spans(stage="uplink")
        assert 2**20 + 1000 < span["bytes"] < 2**20 + 1300
        assert "due" not in span
        assert span["end"] > span["start"]


@on_loop
async def test_the_rate_is_left_to_the_kernel_and_the_delay_to_the_hub() -> None:
    # At 10 kbit/s the hub would take minutes.
    async with world(plan("a", "server", rate="10 kbit/s", delay="150 ms")) as inside:
        a, server = await inside.nodes("a", "server")
        await a.send("server", "uplink", tensors={"x": noise(2**18)})
        await server.receive("uplink", timeout=SECONDS)
        server._flush()
        (span,) = await inside.spans(stage="uplink")
        assert 2 * 0.150 <= span["end"] - span["start"] < 0.1 * 2**18 * 8 / 10e3


@on_loop
async def test_what_the_kernel_delays_the_hub_does_not() -> None:
    async with world(plan("a", "server", kernel=EVERYTHING, rate="10 kbit/s", delay="10 s", jitter="1 s")) as inside:
        a, server = await inside.nodes("a", "server")
        async with asyncio.timeout(5):
            await a.send("server", "uplink")
            await server.receive("uplink")


@on_loop
async def test_a_delay_counts_from_when_the_message_has_come_and_not_from_its_time_stamp() -> None:
    async with world(plan("a", "server", rate="10 kbit/s", delay="100 ms")) as inside:
        peer = await inside.raw_member("a")
        server = await (await inside.join("server")).started()
        start = (await peer.next(Kind.START)).fields
        header = Header(Kind.DATA, "a", "server", "uplink", sent=0.0)
        await asyncio.sleep(0.3)
        peer.send(wire.pack(header))
        await server.receive("uplink", timeout=SECONDS)
        assert start["scale"] == 1.0
        server._flush()
        (span,) = await inside.spans(stage="uplink")
        assert span["end"] >= 0.3 + 2 * 0.1


@on_loop
async def test_parts_of_a_message_share_its_jitter() -> None:
    posted: list[tuple[float, Kind]] = []
    there = asyncio.Event()

    def post(_: str, frames: list[Any]) -> None:
        posted.append((time.monotonic(), wire.unpack(frames[0]).kind))
        if sum(kind in (Kind.HEAD, Kind.PART) for _, kind in posted) == len(pieces):
            there.set()

    jittery = plan("a", "server", rate="10 Mbit/s", delay=f"{5 * JITTER} s", jitter=f"{JITTER} s")
    transit = KernelTransit(jittery, post)
    header = Header(Kind.DATA, "a", "server", "uplink", number=1)
    pieces = [[zmq.Frame(bytes(frame)) for frame in frames] for frames in split(header, _encoded(header, 1))]
    for frames in pieces:
        transit.take(wire.unpack(frames[0].buffer), frames)
    await there.wait()
    (credited,) = (at for at, kind in posted if kind is Kind.CREDIT)
    delivered = [(at, kind) for at, kind in posted if kind in (Kind.HEAD, Kind.PART)]
    assert [kind for _, kind in delivered] == [Kind.HEAD] + [Kind.PART] * (len(pieces) - 1)
    times = [at for at, _ in delivered]
    # Each with a jitter of its own, the last would be several standard deviations behind the first.
    assert max(times) - min(times) < 2 * JITTER
    assert min(times) > credited
    assert transit.unreceived == 0


@on_loop
async def test_messages_with_jitter_stay_in_order() -> None:
    async with world(plan("a", "server", rate="10 Mbit/s", delay="20 ms", jitter="15 ms")) as inside:
        a, server = await inside.nodes("a", "server")
        for number in range(10):
            await a.send("server", "uplink", {"number": number}, {"x": noise(2**16, number)})
        for number in range(10):
            message = await server.receive("uplink", timeout=SECONDS)
            assert message.fields == {"number": number}
            assert message.tensors["x"].tobytes() == noise(2**16, number).tobytes()


@on_loop
async def test_messages_of_several_senders_on_and_off_the_clock_do_not_mix() -> None:
    async with world(plan("a", "b", "server", rate="10 Mbit/s", delay="30 ms")) as inside:
        a, b, server = await inside.nodes("a", "b", "server")
        await a.send("server", "on", tensors={"x": noise(2**18, 1)})
        await a.send("server", "off", tensors={"x": noise(2**18, 2)}, off_clock=True)
        await b.send("server", "on", tensors={"x": noise(2**18, 3)})
        for kind, sender, seed in (("on", "a", 1), ("off", "a", 2), ("on", "b", 3)):
            message = await server.receive(kind, sender, timeout=SECONDS)
            assert message.tensors["x"].tobytes() == noise(2**18, seed).tobytes()


@on_loop
async def test_a_sender_waits_until_the_hub_has_what_it_sent() -> None:
    async with world(plan("a", "server", rate="10 kbit/s", queue="100 KiB")) as inside:
        a, server = await inside.nodes("a", "server")
        for _ in range(5):
            async with asyncio.timeout(SECONDS):
                await a.send("server", "uplink", tensors={"x": noise(60 * 1024)})
        a._flush()
        for wait in await inside.spans(stage="wait"):
            assert wait["due"] <= wait["end"]
        for _ in range(5):
            await server.receive("uplink", timeout=SECONDS)


@on_loop
async def test_a_change_of_the_delay_holds_for_what_is_under_way() -> None:
    async with world(plan("a", "server", rate="10 kbit/s", delay="60 s")) as inside:
        a, server = await inside.nodes("a", "server")
        await a.send("server", "uplink", tensors={"x": noise(2**16)})
        channel = Channel(rate="10 kbit/s", delay="50 ms")
        link = LinkProfile(source="a test", up=channel, down=channel)
        for node in ("a", "server"):
            await inside.controller.change(node, link=link)
        async with asyncio.timeout(SECONDS):
            message = await server.receive("uplink")
        assert message.tensors["x"].tobytes() == noise(2**16).tobytes()


# -- what is no message


@on_loop
async def test_a_part_of_no_message_is_refused_and_the_next_message_arrives() -> None:
    async with world(plan("a", "server")) as inside:
        peer = await inside.raw_member("a")
        server = await (await inside.join("server")).started()
        await peer.next(Kind.START)
        part = Header(Kind.PART, "a", "server", "uplink", tensors=[("", "|u1", (4,))])
        peer.send(wire.pack(part), b"abcd")
        assert "part of no message" in (await inside.event("bad frame", "a")).fields["reason"]
        peer.send(wire.pack(Header(Kind.DATA, "a", "server", "after")))
        await server.receive("after", timeout=SECONDS)


@on_loop
async def test_a_message_that_breaks_off_does_not_spoil_the_next_one() -> None:
    async with world(plan("a", "server")) as inside:
        peer = await inside.raw_member("a")
        server = await (await inside.join("server")).started()
        await peer.next(Kind.START)
        for seed, count in ((1, 3), (2, None)):
            header = Header(Kind.DATA, "a", "server", f"message-{seed}")
            pieces = [[bytes(frame) for frame in frames] for frames in split(header, _encoded(header, seed))]
            for frames in pieces[:count]:
                peer.send(*frames)
        message = await server.receive(timeout=SECONDS)
        assert message.kind == "message-2"
        assert message.tensors["x"].tobytes() == noise(2**16, 2).tobytes()


@on_loop
async def test_a_hub_that_limits_the_links_itself_takes_no_parts() -> None:
    async with world(make_plan("a", "server")) as inside:
        peer = await inside.raw_member("a")
        await inside.join("server")
        await peer.next(Kind.START)
        peer.send(wire.pack(Header(Kind.HEAD, "a", "server", "uplink", tensors=[("x", "|u1", (4,))])))
        assert "may not send 'head'" in (await inside.event("bad frame", "a")).fields["reason"]


@on_loop
async def test_a_message_over_the_limit_is_refused_by_its_head() -> None:
    made = plan("a", "server")
    limited = made.model_copy(update={"bus": made.bus.model_copy(update={"max_message": 2**20})})
    async with world(limited) as inside:
        peer = await inside.raw_member("a")
        await inside.join("server")
        await peer.next(Kind.START)
        peer.send(wire.pack(Header(Kind.HEAD, "a", "server", "uplink", tensors=[("x", "|u1", (2**21,))])))
        assert "over the limit" in (await inside.event("bad frame", "a")).fields["reason"]


def test_a_sender_hears_of_the_hub_while_its_own_beats_wait_behind_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = 0.2
    monkeypatch.setattr("emulator.bus.kernel_transit.SIGN_SECONDS", quiet)

    @on_loop
    async def run() -> None:
        async with world(plan("a", "server")) as inside:
            peer = await inside.raw_member("a")
            await inside.join("server")
            await peer.next(Kind.START)
            header = Header(Kind.DATA, "a", "server", "uplink")
            for frames in list(split(header, _encoded(header, 1)))[:5]:
                peer.send(*(bytes(frame) for frame in frames))
                await asyncio.sleep(quiet)
            await peer.next(Kind.BEAT)  # and has sent none itself

    run()


def _encoded(header: Header, seed: int) -> list[wire.Buffer]:
    return wire.encode(header, {"x": noise(2**16, seed)})
