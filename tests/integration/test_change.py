"""Changes of nodes and segments while a run goes on, over real sockets: what becomes of what is under way."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from emulator.bus import wire
from emulator.bus.wire import Header, Kind
from emulator.change import DEVICE_CHANGE, LINK_CHANGE, SEGMENT_CHANGE, is_live
from emulator.errors import DeadlineExceeded, Refused
from emulator.profiles import Channel, DeviceProfile, LinkProfile
from emulator.timeline import CARRY_SECONDS, Span
from tests.integration.bus_world import SECONDS, Joined, World, in_cell, make_plan, on_loop, world
from tests.tolerance import assert_close

pytestmark = pytest.mark.alone

MB = 10**6


def link(name: str = "other", *, down: dict[str, str] | None = None, **up: str) -> LinkProfile:
    return LinkProfile(
        name=name,
        source="a test",
        up=Channel(**{"rate": "unlimited"} | up),
        down=Channel(**{"rate": "unlimited"} | (down or {})),
    )


def device(gflops: float) -> DeviceProfile:
    return DeviceProfile(name="slow", training=f"{gflops:g} GFLOP/s", memory="unlimited", source="a test")


async def _delivered(bus: World, server: Any, client: Any, number: int = 1) -> list[dict[str, Any]]:
    """The spans of the client's messages, all of which the server has received."""
    for _ in range(number):
        await server.receive("upload", "client", timeout=SECONDS)
    await server.run(_nothing)
    return await bus.spans(stage="upload")


def _check_slowed(span: dict[str, Any], at: float) -> None:
    """A message of 4 MB took what it takes at 40 Mbit/s up to a change, at 16 Mbit/s from then on, and 5 ms."""
    before = at - span["start"]
    assert 0 < before < 4 * MB * 8 / 40e6
    predicted = before + (span["bytes"] * 8 - before * 40e6) / 16e6 + 0.005
    assert_close(span["due"] - span["start"], predicted, relative=0.005, what="promised seconds")
    assert_close(span["end"] - span["start"], predicted, relative=0.02, what="seconds")


# -- links


@pytest.mark.parametrize("where", ["up", "down"])
@on_loop
async def test_a_message_goes_on_at_the_new_rate_from_the_moment_of_the_change(where: str) -> None:
    slow = {"rate": "40 Mbit/s", "delay": "5 ms"}
    plan = make_plan("server", "client", **{where: slow})
    async with world(plan) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "upload", tensors={"x": np.zeros(4 * MB, np.uint8)})
        await asyncio.sleep(0.3)
        other = (
            link(rate="16 Mbit/s", delay="5 ms") if where == "up" else link(down={"rate": "16 Mbit/s", "delay": "5 ms"})
        )
        event = await bus.controller.change("client" if where == "up" else "server", link=other)
        (span,) = await _delivered(bus, server, client)
    _check_slowed(span, at=event.fields["at"])


@on_loop
async def test_what_is_in_transit_is_there_at_once_when_its_link_becomes_unlimited() -> None:
    async with world(make_plan("server", "client", up={"rate": "8 kbit/s"})) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "upload", tensors={"x": np.zeros(MB, np.uint8)})  # for 1000 s
        await asyncio.sleep(0.05)
        at = (await bus.controller.change("client", link=link())).fields["at"]
        (span,) = await _delivered(bus, server, client)
    assert at <= span["end"] < at + SECONDS


@on_loop
async def test_a_queue_that_becomes_limited_holds_its_sender_up_and_never_for_good() -> None:
    async with world(make_plan("server", "client", up={"rate": "8 Mbit/s", "queue": "unlimited"})) as bus:
        server, client = await bus.nodes("server", "client")
        load = {"x": np.zeros(50_000, np.uint8)}
        sent = 0
        for queue in ("unlimited", "64 KiB", "unlimited", "64 KiB", "1 MiB"):
            await bus.controller.change("client", link=link(rate="8 Mbit/s", queue=queue))
            for _ in range(3):
                await client.send("server", "upload", {"number": sent}, load)
                sent += 1
        for number in range(sent):
            assert (await server.receive("upload", "client", timeout=SECONDS)).fields["number"] == number
        await client.run(_nothing)
        waits = await bus.spans(stage="wait", node="client")
    assert len(waits) >= 2, "64 KiB do not hold two"


@on_loop
async def test_a_sender_that_waits_for_room_goes_on_when_its_queue_grows() -> None:
    up = {"rate": "8 kbit/s", "queue": "64 KiB"}
    async with world(make_plan("server", "client", up=up)) as bus:
        _, client = await bus.nodes("server", "client")
        load = {"x": np.zeros(50_000, np.uint8)}  # 50 s on its way
        await client.send("server", "upload", tensors=load)
        waiting = asyncio.create_task(client.send("server", "upload", tensors=load))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        at = (await bus.controller.change("client", link=link(rate="8 kbit/s", queue="1 MiB"))).fields["at"]
        await asyncio.wait_for(waiting, SECONDS)
        await client.run(_nothing)
        (wait,) = await bus.spans(stage="wait", node="client")
    assert wait["due"] == at, "the wait was the queue's doing until then, and no lateness of this host"


@on_loop
async def test_a_queue_that_shrinks_holds_the_next_message_up() -> None:
    async with world(make_plan("server", "client", up={"rate": "8 kbit/s"}, message="300 ms")) as bus:
        _, client = await bus.nodes("server", "client")
        await client.send("server", "upload", tensors={"x": np.zeros(50_000, np.uint8)})
        await bus.controller.change("client", link=link(rate="8 kbit/s", queue="1 KiB"))
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceeded, match="client: its up link had no room"):
            await client.send("server", "upload")


# -- segments


@on_loop
async def test_what_crosses_a_segment_goes_on_at_its_new_rate_from_the_moment_of_the_change() -> None:
    plan = in_cell(make_plan("server", "client", up={"rate": "1 Gbit/s"}), rate="40 Mbit/s", delay="5 ms")
    async with world(plan) as bus:
        server, client = await bus.nodes("server", "client")
        client.round = 2
        await client.send("server", "upload", tensors={"x": np.zeros(4 * MB, np.uint8)})
        await asyncio.sleep(0.3)
        event = await bus.controller.change("cell", link=link(rate="16 Mbit/s", delay="5 ms"))
        (span,) = await _delivered(bus, server, client)
        (change,) = await bus.spans(stage=SEGMENT_CHANGE)
    at = event.fields["at"]
    _check_slowed(span, at)
    assert change == {
        "run": "run-1", "round": 2, "node": "cell", "stage": SEGMENT_CHANGE, "start": at, "end": at, "off_clock": True,
        "detail": "radio -> other (up 16 Mbit/s, delay 5 ms; down unlimited)",
    }  # fmt: skip
    assert is_live(Span.from_fields(change))


@on_loop
async def test_what_a_segment_is_changed_to_lasts_over_the_runs_that_follow() -> None:
    async with world(in_cell(make_plan("server", "client", runs=2), rate="1 Gbit/s")) as bus:
        server, client = await bus.join("server"), await bus.join("client")
        await server.started()
        await client.started()
        first = await bus.controller.change("cell", link=link("narrow", rate="8 Mbit/s"))
        again = await bus.controller.change("cell", link=link("narrow", rate="8 Mbit/s"))
        assert first.fields["details"][SEGMENT_CHANGE].startswith("radio -> narrow (up 8 Mbit/s")
        assert again.fields["details"] == {}
        in_second = await _next_run(server, client)
        await in_second[1].send("server", "upload", tensors={"x": np.zeros(10_000, np.uint8)})
        await in_second[0].receive("upload", timeout=SECONDS)
        await in_second[0].run(_nothing)
        (span,) = await bus.spans(stage="upload", run="run-2")
        (recorded,) = await bus.spans(stage=SEGMENT_CHANGE, run="run-2")
    assert_close(span["due"] - span["start"], span["bytes"] * 8 / 8e6, relative=1e-6, what="promised seconds")
    assert (recorded["start"], recorded["round"], recorded["node"]) == (0.0, 0, "cell")


@on_loop
async def test_a_segment_has_no_device() -> None:
    async with world(in_cell(make_plan("server", "client"), rate="1 Gbit/s")) as bus:
        await bus.nodes("server", "client")
        for given in ({"device": device(0.5)}, {}, {"link": link(), "device": device(0.5)}):
            with pytest.raises(Refused, match="cell is not changed: a segment has a link and nothing else"):
                await bus.controller.change("cell", **given)
        event = await bus.controller.change("cell", link=link("second"))
    assert event.fields["details"][SEGMENT_CHANGE].startswith("radio -> second")


# -- devices


@on_loop
async def test_another_device_takes_as_much_longer_at_once() -> None:
    plan = make_plan("server", "client")
    async with world(plan) as bus:
        _, client = await bus.nodes("server", "client")
        await client.compute("think", _busy)
        await bus.controller.change("client", device=device(0.25))  # of a host core of 1 GFLOP/s
        await _until_slow(client)
        await asyncio.sleep(2 * CARRY_SECONDS)  # else it begins when the first one ended, before the change
        await client.compute("think", _busy)
        await client.run(_nothing)
        first, second = await bus.spans(stage="think")
    assert_close(first["due"] - first["start"], first["cpu"], relative=1e-6, what="seconds of the host as it is")
    assert_close(second["due"] - second["start"], 4 * second["cpu"], relative=1e-6, what="seconds of the slow device")


# -- what is recorded, and for how long it lasts


@on_loop
async def test_a_change_is_in_the_timeline_off_the_clock_with_its_time_and_what_it_was() -> None:
    async with world(make_plan("server", "client")) as bus:
        server, client = await bus.nodes("server", "client")
        client.round = 7
        await client.send("server", "upload")
        await server.receive("upload", timeout=SECONDS)
        event = await bus.controller.change("client", link=link(rate="8 Mbit/s"), device=device(0.5))
        spans = [await bus.spans(stage=stage) for stage in (LINK_CHANGE, DEVICE_CHANGE)]
        again = await bus.controller.change("client", link=link(rate="8 Mbit/s"))
        assert again.fields["details"] == {}
    at = event.fields["at"]
    assert (event.fields["run"], event.fields["round"]) == ("run-1", 7)
    for (span,), (stage, detail) in zip(spans, event.fields["details"].items(), strict=True):
        assert span == {
            "run": "run-1", "round": 7, "node": "client", "stage": stage, "start": at, "end": at, "off_clock": True,
            "detail": detail,
        }  # fmt: skip


@on_loop
async def test_a_change_lasts_over_the_runs_that_follow_each_of_which_records_it_at_its_start() -> None:
    async with world(make_plan("server", "client", runs=3)) as bus:
        server, client = await bus.join("server"), await bus.join("client")
        await server.started()
        await client.started()
        await bus.controller.change("client", link=link("narrow", rate="8 Mbit/s", queue="64 KiB"))
        in_second = await _next_run(server, client)
        assert client.welcome["bus"]["window"] == 64 * 1024
        await in_second[1].send("server", "upload", tensors={"x": np.zeros(10_000, np.uint8)})
        await in_second[0].receive("upload", timeout=SECONDS)
        await in_second[0].run(_nothing)
        (span,) = await bus.spans(stage="upload", run="run-2")
        assert_close(span["due"] - span["start"], span["bytes"] * 8 / 8e6, relative=1e-6, what="promised seconds")
        (recorded,) = await bus.spans(stage=LINK_CHANGE, run="run-2")
        assert (recorded["start"], recorded["round"], recorded["node"]) == (0.0, 0, "client")
        before = bus.controller.change("client", link=make_plan("server", "client").nodes[1].link)
        assert "narrow -> wire" in (await before).fields["details"][LINK_CHANGE]
        await _next_run(server, client)
        await bus.event("started")
        assert not [span for span in bus.entries if span["stage"] == LINK_CHANGE and span["run"] == "run-3"]


@on_loop
async def test_what_is_changed_before_the_first_run_holds_in_it() -> None:
    async with world(make_plan("server", "client")) as bus:
        server = await bus.join("server")
        event = await bus.controller.change("client", link=link(queue="64 KiB"))
        assert (event.fields["run"], event.fields["at"]) == ("run-1", 0.0)
        client = await bus.join("client")
        await server.started()
        await client.started()
        assert client.welcome["bus"]["window"] == 64 * 1024
        (recorded,) = await bus.spans(stage=LINK_CHANGE)
        assert (recorded["run"], recorded["start"]) == ("run-1", 0.0)


# -- what is refused


@on_loop
async def test_a_node_may_not_change_anything() -> None:
    async with world(make_plan("server", "client")) as bus:
        member = await bus.raw_member("client")
        wanted = link(rate="1 bit/s").model_dump(mode="json")
        member.send(wire.pack(Header(Kind.CHANGE, "client", fields={"number": 1, "node": "server", "link": wanted})))
        assert (await bus.event("bad frame", "client")).fields["reason"] == "a node may not send 'change'"
        assert not bus.events_of("changed")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"node": "clint"}, "the testbed has no node or segment 'clint'"),
        ({"node": None}, "the testbed has no node or segment 'None'"),
        ({}, "the testbed has no node or segment 'None'"),
        ({"node": "client", "link": {"up": {"rate": "fast"}}}, "source: is missing"),
        ({"node": "client", "link": "lte"}, "Input should be a valid dictionary"),
        (
            {"node": "client", "link": link().model_dump(mode="json"), "device": {"training": "0 FLOP/s"}},
            "training: Input should be greater than 0",
        ),
    ],
)
@on_loop
async def test_the_hub_refuses_what_it_cannot_do_and_changes_nothing(fields: dict[str, Any], reason: str) -> None:
    async with world(make_plan("server", "client", up={"rate": "8 Mbit/s"})) as bus:
        await bus.nodes("server", "client")
        bus.controller._endpoint.send(Header(Kind.CHANGE, fields={"number": 99, **fields}))
        refused = await bus.event("not changed")
        assert refused.fields["number"] == 99
        assert reason in refused.fields["reason"]
        event = await bus.controller.change("client", link=link("second"))
        assert event.fields["details"][LINK_CHANGE].startswith("wire -> second")


@on_loop
async def test_after_the_last_run_nothing_can_be_changed() -> None:
    async with world(make_plan("server", "client")) as bus:
        server, client = await bus.join("server"), await bus.join("client")
        for node in (server, client):
            await node.started()
            node.endpoint.send(Header(Kind.DONE))
        assert await server.over()
        with pytest.raises(Refused, match="client is not changed: all runs are over"):
            await bus.controller.change("client", link=link())


@on_loop
async def test_a_hub_that_does_not_confirm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.bus.controller.CHANGE_SECONDS", 0.1)
    monkeypatch.setattr("emulator.bus.changing.Changing.order", lambda *_, **__: None)
    async with world(make_plan("server", "client")) as bus:
        with pytest.raises(DeadlineExceeded, match=r"the hub has not confirmed the change of client within 0.1 s"):
            await bus.controller.change("client", link=link())


async def _next_run(*joined: Joined) -> list[Any]:
    for node in joined:
        node.endpoint.send(Header(Kind.DONE))
    return [await node.started() for node in joined]


def _busy() -> None:
    started = time.thread_time()
    while time.thread_time() - started < 0.03:
        pass


async def _until_slow(node: Any) -> None:
    """The hub's word travels to the node as it does to the controller, by another socket."""
    async with asyncio.timeout(SECONDS):
        while node._device._slowdowns[-1][1] == 1.0:  # noqa: ASYNC110 - nothing says so
            await asyncio.sleep(0.005)


async def _nothing(_: Any) -> None:
    """A program that ends at once: what the node has noted goes out."""
