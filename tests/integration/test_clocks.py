"""Nodes on several hosts, whose clocks do not agree."""

import time

import numpy as np
import pytest

from emulator.bus import endpoint
from emulator.timeline import Span
from tests.integration.bus_world import Joined, World, make_plan, on_loop, world
from tests.tolerance import assert_close

pytestmark = pytest.mark.alone

AHEAD = 1234.5
"""Seconds that the other host's clock is ahead."""


async def join_from_elsewhere(bus: World, name: str, monkeypatch: pytest.MonkeyPatch) -> Joined:
    """A node on a host of its own."""
    joined = Joined(name, bus.address)
    joined.endpoint.host_time = lambda: time.monotonic() + AHEAD
    with monkeypatch.context() as patched:
        patched.setattr(endpoint, "host_id", lambda: "another host")
        await joined.join()
    return joined


@on_loop
async def test_nodes_of_one_host_share_its_clock() -> None:
    async with world(make_plan("server", "client")) as bus:
        server = await bus.join("server")
        assert server.endpoint.hub_ahead.offset == 0
        assert server.endpoint.hub_ahead.error_at(time.monotonic()) == 0


@on_loop
async def test_another_hosts_clock_is_measured_before_its_node_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(make_plan("server", "client")) as bus:
        server = await join_from_elsewhere(bus, "server", monkeypatch)
        ahead = server.endpoint.hub_ahead
        assert_close(ahead.offset, -AHEAD, absolute=ahead.error, what="seconds that the hub is ahead")
        assert 0 < ahead.error < 1
        server.endpoint.close()


@on_loop
async def test_spans_between_hosts_are_in_the_hubs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan("server", "client", up={"rate": "unlimited", "delay": "50 ms"})
    async with world(plan) as bus:
        here, elsewhere = await bus.join("client"), await join_from_elsewhere(bus, "server", monkeypatch)
        server, client = await elsewhere.started(), await here.started()
        await client.send("server", "there", tensors={"x": np.zeros(4)})
        await server.receive("there", "client")
        await server.send("client", "back", tensors={"x": np.zeros(4)})
        await client.receive("back", "server")
        for node in (server, client):
            node._flush()
        there, back = [Span.from_fields((await bus.spans(stage=stage))[0]) for stage in ("there", "back")]
        error = elsewhere.endpoint.hub_ahead.error_at(elsewhere.endpoint.host_time())
        for span in (there, back):
            assert span.due is not None
            assert_close(span.due - span.start, 0.05, what=f"promised for '{span.stage}'")
            assert -error <= span.end - span.due
        assert_close(back.start, there.settled, absolute=2 * error + 0.01, what="the answer's start")
        elsewhere.endpoint.close()
