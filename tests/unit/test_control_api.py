"""The API without sockets: what it says, and what it refuses. The hub is a stand-in that agrees, or does not."""

import asyncio
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.bus.controller import Event
from emulator.change import changed, differences, segment_differences, segment_in_force
from emulator.control.api import make_app
from emulator.control.changes import Changes
from emulator.control.state import State
from emulator.errors import DeadlineExceeded, EdgebedError, Refused
from emulator.library import load
from emulator.profiles import DeviceProfile, LinkProfile
from emulator.rate import said as said_of
from emulator.timeline import Metric, Span
from emulator.trace import spread
from tests.integration.bus_world import in_cell, make_plan
from tests.tolerance import assert_close

TOKEN = "the-token"
GFLOP = 1e9
LINK = {"source": "a test", "up": {"rate": "1 Mbit/s"}, "down": {"rate": "2 Mbit/s"}}
BOARD = {"name": "board", "training": "0.25 GFLOP/s", "memory": "1 GiB", "source": "a test"}


class Hub:
    """Confirms every change, unless it is given an error to refuse it with."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.error: EdgebedError | None = None
        self.asked: list[tuple[str, LinkProfile | None, DeviceProfile | None]] = []

    async def change(self, node: str, *, link: LinkProfile | None = None, device: DeviceProfile | None = None) -> Event:
        self.asked.append((node, link, device))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        when = {"run": "run-1", "round": 3, "at": 1.5}
        if node in self._state.segments:
            assert link is not None
            details = segment_differences(self._state.segments[node].link, link)
            event = Event("changed", node, {**when, "details": details, **segment_in_force(link)})
            self._state.event(event)
            return event
        before = self._state.nodes[node]
        after = changed(before, link, device, self._state.plan.core_flops)
        profiles = {"link": after.link.model_dump(mode="json"), "device": after.device.model_dump(mode="json")}
        event = Event("changed", node, {**when, **profiles, "details": differences(before, after)})
        self._state.event(event)
        return event


class World:
    """A testbed of a server and two clients, and its API; with `cell` they are in a segment of that name."""

    def __init__(self, *, cell: bool = False) -> None:
        self.plan = make_plan("server", "client-1", "client-2", runs=2)
        self.plan = in_cell(self.plan, rate="8 Mbit/s") if cell else self.plan
        for run in self.plan.runs:
            run.config["rounds"] = 1
        self.state = State(self.plan, "local", Path("runs/a-test-1"))
        self.hub = Hub(self.state)
        self.cores: list[tuple[str, float]] = []
        self.links: list[tuple[str, str]] = []
        self.no_room: EdgebedError | None = None
        self.least = 0.0
        changes = Changes(self.state, self.hub, self._on_device, self._on_link)  # type: ignore[arg-type]
        self.app = make_app(self.state, changes, TOKEN)

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN) -> httpx.Response:
        """One request, with the right token unless another is given."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://testbed", headers=headers) as client:
                return await client.request(method, path, json=body)

        return asyncio.run(send())

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and reason of a request that must change nothing."""
        before = dict(self.state.nodes), dict(self.state.segments)
        answer = self.ask(method, path, body)
        assert (self.state.nodes, self.state.segments) == before, "half-applied"
        detail = answer.json()["detail"]
        assert isinstance(detail, str)
        assert "\n" not in detail
        return answer.status_code, detail

    async def _on_device(self, node: str, device: DeviceProfile, cores: float) -> None:
        if self.no_room is not None:
            raise self.no_room
        if cores < self.least:
            raise EdgebedError(f"{node}: {cores:g} cores are too few")
        self.cores.append((node, cores))

    async def _on_link(self, node: str, link: LinkProfile) -> None:
        self.links.append((node, link.name))


# -- who may ask


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/status", None),
        ("GET", "/nodes", None),
        ("GET", "/nodes/client-1", None),
        ("GET", "/nodes/nobody", None),
        ("GET", "/events", None),
        ("PATCH", "/nodes/client-1", {"link": "lte"}),
        ("POST", "/nodes/client-1/apply", {"profile": "lte"}),
        ("GET", "/segments", None),
        ("PATCH", "/segments/cell", {"link": "lte"}),
        ("POST", "/segments/cell/apply", {"profile": "lte"}),
    ],
)
@pytest.mark.parametrize("token", [None, "", "the-tokem", "the-token-and-more"])
def test_without_the_token_nothing_is_said_and_nothing_changed(
    method: str, path: str, body: Any, token: str | None
) -> None:
    world = World()
    answer = world.ask(method, path, body, token=token)
    assert answer.status_code == 401
    assert answer.json()["detail"].endswith("send 'Authorization: Bearer TOKEN' with the token of this testbed")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not world.hub.asked


def test_the_api_describes_itself() -> None:
    world = World()
    assert world.ask("GET", "/docs", token=None).status_code == 200
    described = world.ask("GET", "/openapi.json", token=None).json()
    of_one = {f"/{kind}{path}" for kind in ("nodes", "segments") for path in ("", "/{name}", "/{name}/apply")}
    assert {"/status", "/events", "/metrics"} | of_one == set(described["paths"])


# -- what it says


def test_nodes_are_shown_with_their_figures_in_units() -> None:
    world = World()
    shown = world.ask("GET", "/nodes").json()
    assert [(node["name"], node["role"], node["state"]) for node in shown] == [
        ("server", "server", "expected"), ("client-1", "client", "expected"), ("client-2", "client", "expected"),
    ]  # fmt: skip
    assert shown[1] == world.ask("GET", "/nodes/client-1").json()
    assert shown[1]["link"]["up"]["rate"] == "unlimited"
    assert shown[1]["link"]["up"]["queue"] == "64 MiB"
    assert shown[1]["device"]["name"] == "board"
    assert shown[1]["busy_s"] is None


def test_states_follow_what_the_hub_says() -> None:
    world = World()

    def states() -> list[str]:
        return [node["state"] for node in world.ask("GET", "/nodes").json()]

    for name in world.state.nodes:
        world.state.event(Event("registered", name, {}))
    world.state.event(Event("ready", "client-1", {}))
    assert states() == ["registered", "ready", "registered"]
    world.state.event(Event("started", "hub", {"run": "run-1"}))
    assert states() == ["running"] * 3
    world.state.event(Event("done", "client-2", {}))
    world.state.event(Event("failed", "client-1", {"error": "out of memory"}))
    world.state.event(Event("silent", "server", {"seconds": 15.2}))
    assert states() == ["silent", "failed", "done"]
    nodes = world.ask("GET", "/nodes").json()
    assert (nodes[0]["reason"], nodes[1]["reason"]) == ("silent for 15 s", "out of memory")


def test_the_status_follows_the_runs() -> None:
    world = World()
    first = world.ask("GET", "/status").json()
    assert (first["run"], first["runs_done"], first["runs_left"]) == (None, [], ["run-1", "run-2"])
    assert (first["experiment"], first["runtime"], first["folder"]) == ("a-test", "local", "runs/a-test-1")
    world.state.event(Event("started", "hub", {"run": "run-1"}))
    for start, end, node in ((0.0, 1.0, "server"), (0.0, 0.2, "client-1"), (0.2, 0.9, "client-2")):
        world.state.entry(Span("run-1", 1, node, "x", start, end))
    for node, value in (("client-1", 0.4), ("client-2", 0.6)):
        world.state.entry(Metric("run-1", 1, node, "accuracy", value))
    world.state.entry(Metric("run-1", 1, "server", "loss", 9.0))
    during = world.ask("GET", "/status").json()
    assert (during["run"], during["round"], during["last_round"]) == ("run-1", 1, None)
    assert_close(during["accuracy"], 0.5)
    world.state.event(Event("finished", "hub", {"run": "run-1"}))
    after = world.ask("GET", "/status").json()
    assert (after["run"], after["runs_done"], after["runs_left"]) == (None, ["run-1"], ["run-2"])
    assert (after["last_round"], after["slowest"]) == (1, "client-2")
    assert_close(after["round_latency_s"], 1.0)
    world.state.event(Event("started", "hub", {"run": "run-2"}))
    world.state.entry(Span("run-1", 9, "server", "x", 0.0, 1.0))
    next_one = world.ask("GET", "/status").json()
    assert (next_one["run"], next_one["runs_left"], next_one["round"]) == ("run-2", [], 0)
    assert (next_one["last_round"], next_one["accuracy"]) == (None, None)


# -- what it changes


def test_a_shipped_profile_is_applied_whatever_its_kind() -> None:
    world = World()
    said = world.ask("POST", "/nodes/client-1/apply", {"profile": "lte"}).json()
    assert (said["node"], said["run"], said["round"], said["at"]) == ("client-1", "run-1", 3, 1.5)
    assert said["details"]["link_change"].startswith("wire -> lte (up 7.6 Mbit/s, delay 10.5 ms")
    node = world.ask("GET", "/nodes/client-1").json()
    assert (node["link"]["name"], node["link"]["up"]["rate"]) == ("lte", "7.6 Mbit/s")
    assert node["device"]["name"] == "board"
    said = world.ask("POST", "/nodes/client-1/apply", {"profile": BOARD}).json()
    assert said["details"] == {"device_change": "board -> board (250 MFLOP/s, 1 GiB)"}
    assert world.cores == [("client-1", 1.0), ("client-1", 0.25)]  # the cores are given back last
    assert world.links == [("client-1", "lte")]


def test_some_figures_are_changed_on_top_of_those_in_force() -> None:
    world = World()
    world.ask("PATCH", "/nodes/client-1", {"link": {"up": {"rate": "2 Mbit/s"}}})
    world.ask("PATCH", "/nodes/client-1", {"link": {"up": {"delay": "50 ms"}}, "device": {"training": "0.5 GFLOP/s"}})
    node = world.ask("GET", "/nodes/client-1").json()
    assert (node["link"]["up"]["rate"], node["link"]["up"]["delay"]) == ("2 Mbit/s", "50 ms")
    assert node["link"]["down"]["rate"] == "unlimited"
    assert (node["device"]["training"], node["device"]["memory"]) == ("500 MFLOP/s", "unlimited")


def test_a_link_that_follows_a_trace_begins_where_its_node_does_and_a_rate_ends_it() -> None:
    world = World()
    for name in ("client-1", "client-2"):
        said = world.ask("POST", f"/nodes/{name}/apply", {"profile": "lte-trace"}).json()
        assert "trace lte, 6.775 Mbit/s mean, offset" in said["details"]["link_change"]
    offsets = [node.link.up.offset for node in world.state.nodes.values()]
    assert offsets[1:] == [spread(1, 300.0), spread(2, 300.0)]
    world.ask("PATCH", "/nodes/client-1", {"link": {"up": {"rate": "5 Mbit/s"}}})
    world.ask("PATCH", "/nodes/client-1", {"link": {"down": {"trace": "wifi"}}})
    link = world.state.nodes["client-1"].link
    assert (link.up.rate, link.up.trace) == (5e6, None)
    assert said_of(link.down, 3) == "trace wifi, 13.1 Mbit/s mean"


def test_changes_at_the_same_time_lose_nothing_of_each_other() -> None:
    world = World()

    async def both() -> None:
        changes = Changes(world.state, world.hub)  # type: ignore[arg-type]
        await asyncio.gather(
            changes.alter("client-1", {"up": {"rate": "2 Mbit/s"}}, None),
            changes.alter("client-1", {"up": {"delay": "50 ms"}}, None),
        )

    asyncio.run(both())
    up = world.state.nodes["client-1"].link.up
    assert_close(up.rate, 2e6)
    assert_close(up.delay, 0.05)


# -- segments


def test_a_segments_link_is_shown_and_changed_as_a_nodes() -> None:
    world = World(cell=True)
    (shown,) = world.ask("GET", "/segments").json()
    assert shown == world.ask("GET", "/segments/cell").json()
    assert (shown["name"], shown["segment"], shown["nodes"]) == ("cell", None, ["client-1", "client-2"])
    assert shown["link"]["up"]["rate"] == "8 Mbit/s"
    said = world.ask("POST", "/segments/cell/apply", {"profile": "lte"}).json()
    assert (said["node"], said["run"], said["round"], said["at"]) == ("cell", "run-1", 3, 1.5)
    assert said["details"]["segment_change"].startswith("radio -> lte (up 7.6 Mbit/s, delay 10.5 ms")
    world.ask("PATCH", "/segments/cell", {"link": {"down": {"rate": "2 Mbit/s"}}})
    link = world.ask("GET", "/segments/cell").json()["link"]
    assert (link["name"], link["up"]["rate"], link["down"]["rate"]) == ("lte-changed", "7.6 Mbit/s", "2 Mbit/s")
    assert not world.links, "the runtime has a part in nodes' links alone"


def test_a_segment_follows_a_trace_from_the_place_behind_the_nodes() -> None:
    world = World(cell=True)
    world.ask("PATCH", "/segments/cell", {"link": "lte-trace"})
    assert world.state.segments["cell"].link.up.offset == spread(3, 300.0)


def test_what_a_scenario_does_to_a_segment_is_over_with_its_run_and_what_a_user_does_is_not() -> None:
    world = World(cell=True)
    world.ask("POST", "/segments/cell/apply", {"profile": "wifi-5"})
    lte = segment_in_force(load(LinkProfile, "lte"))
    when = {"run": "run-1", "round": 3, "at": 1.5, "details": {}, "scenario": True}
    world.state.event(Event("changed", "cell", {**when, **lte}))
    assert world.state.segment("cell").link.name == "lte"
    world.state.event(Event("started", "hub", {"run": "run-2"}))
    assert world.state.segment("cell").link.name == "wifi-5"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/segments/cel", None, 404, "the testbed has no segment 'cel': did you mean 'cell'?"),
        ("PATCH", "/segments/client-1", {"link": "lte"}, 404, "the testbed has no segment 'client-1': choose one of"),
        ("PATCH", "/segments/cell", {"link": "lt"}, 422, "unknown link 'lt': did you mean 'lte'?"),
        ("PATCH", "/segments/cell", {"link": {"up": {"rate": "0 bit/s"}}}, 422, "up.rate: Input should be greater"),
        ("PATCH", "/segments/cell", {}, 422, "link: Field required"),
        ("PATCH", "/segments/cell", {"device": "phone-mid"}, 422, "link: Field required"),
        (
            "POST",
            "/segments/cell/apply",
            {"profile": "phone-mid"},
            422,
            "'phone-mid' is a device: a segment has a link and nothing else",
        ),
    ],
)
def test_what_cannot_be_done_to_a_segment_is_refused(
    method: str, path: str, body: Any, status: int, detail: str
) -> None:
    world = World(cell=True)
    said = world.refused(method, path, body)
    assert said[0] == status
    assert detail in said[1]
    assert not world.hub.asked


def test_a_testbed_without_segments_says_so() -> None:
    world = World()
    assert world.ask("GET", "/segments").json() == []
    refused = world.refused("PATCH", "/segments/cell", {"link": "lte"})
    assert refused == (404, "the testbed has no segment 'cell': it has none")


# -- what it refuses


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/nodes/clint-1", {"link": "lte"}, 404, "the testbed has no node 'clint-1': did you mean 'client-1'?"),
        ("/nodes/client-1", {"link": "lt"}, 422, "unknown link 'lt': did you mean 'lte'?"),
        ("/nodes/client-1", {"device": "lte"}, 422, "unknown device 'lte': choose one of"),
        ("/nodes/client-1", {"link": {"up": {"rate": 5}}}, 422, "up.rate: 5 has no unit: write a rate such as"),
        ("/nodes/client-1", {"link": {"up": {"loss": "200 %"}}}, 422, "up.loss: Input should be less than 1"),
        (
            "/nodes/client-1",
            {"link": {"up": {"trace": "lti"}}},
            422,
            "up.trace: unknown trace 'lti': did you mean 'lte'?",
        ),
        (
            "/nodes/client-1",
            {"link": {"up": {"trace": "a.csv"}}},
            422,
            "up.trace: 'a.csv' is a file: send what it says",
        ),
        ("/nodes/client-1", {"link": "./mine.yaml"}, 422, "'./mine.yaml' is a file: send what it says"),
        ("/nodes/client-1", {"link": "../../etc/passwd"}, 422, "is a file: send what it says"),
        ("/nodes/client-1", {}, 422, "nothing to change: give a link, a device, or both"),
        ("/nodes/client-1", {"lnik": "lte"}, 422, "lnik: Extra inputs are not permitted"),
        ("/nodes/client-1", [], 422, "Input should be"),
        (
            "/nodes/client-1",
            {"link": "lte", "device": {"training": "0 FLOP/s"}},
            422,
            "training: Input should be greater than 0",
        ),
        (
            "/nodes/client-1",
            {"link": "lte", "device": {"training": "2 GFLOP/s"}},
            422,
            "client-1: its device is 2 times as fast as a core of this host at time scale 1",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_is_half_applied(
    path: str, body: Any, status: int, detail: str
) -> None:
    world = World()
    said = world.refused("PATCH", path, body)
    assert said[0] == status
    assert detail in said[1]
    assert not world.hub.asked
    assert not world.cores


@pytest.mark.parametrize(
    ("profile", "detail"),
    [
        ("lt", "unknown profile 'lt': did you mean 'lte'?"),
        ("./mine.yaml", "unknown profile './mine.yaml'"),
        ({}, "the profile: neither a link nor a device: it has none of the keys up, down, training, memory"),
        ({"nodes": []}, "neither a link nor a device"),
        (LINK | {"delay": "5 ms"}, "delay: unknown key"),
        ({"up": {"rate": "1 Mbit/s"}}, "is missing"),
        (5, "profile"),
    ],
)
def test_a_profile_that_cannot_be_applied_is_refused(profile: Any, detail: str) -> None:
    world = World()
    status, said = world.refused("POST", "/nodes/client-1/apply", {"profile": profile})
    assert status == 422
    assert detail in said
    assert not world.hub.asked


@pytest.mark.parametrize(
    ("error", "status"), [(Refused("all runs are over"), 409), (DeadlineExceeded("the hub has not confirmed"), 504)]
)
def test_what_the_hub_refuses_leaves_the_runtime_as_it_was(error: EdgebedError, status: int) -> None:
    world = World()
    world.hub.error = error
    body = {"device": {"training": "0.5 GFLOP/s"}, "link": "lte"}
    assert world.refused("PATCH", "/nodes/client-1", body) == (status, str(error))
    assert world.cores == [("client-1", 1.0), ("client-1", 1.0)]
    assert world.links == [("client-1", "lte"), ("client-1", "wire")]


def test_what_the_runtime_refuses_at_last_is_taken_back_from_the_hub() -> None:
    world = World()
    world.least = 0.75
    status, detail = world.refused("PATCH", "/nodes/client-1", {"device": {"training": "0.5 GFLOP/s"}})
    assert (status, detail) == (502, "client-1: 0.5 cores are too few")
    assert [(node, device.training) for node, _, device in world.hub.asked if device] == [
        ("client-1", 0.5e9),
        ("client-1", math.inf),
    ]


def test_what_the_runtime_refuses_never_reaches_the_hub() -> None:
    world = World()
    world.no_room = EdgebedError("client-1: its container's CPU limit cannot be changed")
    status, detail = world.refused("PATCH", "/nodes/client-1", {"device": {"training": "0.5 GFLOP/s"}, "link": "lte"})
    assert (status, detail) == (502, str(world.no_room))
    assert not world.hub.asked
    assert not world.links


def test_a_fault_of_its_own_is_one_line() -> None:
    world = World()

    async def broken(*_: object, **__: object) -> Event:
        raise RuntimeError("the wires\nare crossed")

    world.hub.change = broken  # type: ignore[method-assign]
    assert world.refused("PATCH", "/nodes/client-1", {"link": "lte"}) == (500, "RuntimeError: the wires are crossed")
