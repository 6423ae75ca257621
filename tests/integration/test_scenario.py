"""Scenarios over real sockets, and the same one as processes and in virtual time."""

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from emulator.bus import wire
from emulator.bus.wire import Header, Kind
from emulator.change import CONNECTION_CHANGE, DEVICE_CHANGE, LINK_CHANGE, STAGES
from emulator.host import CORE_FLOPS
from emulator.plan import Plan
from emulator.scenario import Change
from emulator.timeline import CARRY_SECONDS
from tests.integration.bus_world import SECONDS, make_plan, on_loop, world
from tests.integration.running import edgebed, write_experiment
from tests.tolerance import assert_close

MB = 10**6


def plan(*changes: Change, **keys: Any) -> Plan:
    return make_plan("server", "client", **keys).model_copy(update={"scenario": list(changes)})


def change(at: float = 0.0, node: str = "client", **fields: Any) -> Change:
    return Change(**{"entry": 0, "key": "a test", "at": at, "node": node} | fields)


async def nothing(_: Any) -> None:
    """A program that ends at once: what the node has noted goes out."""


pytestmark = pytest.mark.timeout(400)

# -- in the hub


@on_loop
async def test_a_link_changes_at_its_very_time_with_what_is_on_it() -> None:
    slower = change(0.3, link={"up": {"rate": "16 Mbit/s"}})
    async with world(plan(slower, up={"rate": "40 Mbit/s", "delay": "5 ms"})) as bus:
        server, client = await bus.nodes("server", "client")
        await client.send("server", "upload", tensors={"x": np.zeros(4 * MB, np.uint8)})
        await server.receive("upload", timeout=SECONDS)
        await server.run(nothing)
        (span,) = await bus.spans(stage="upload")
        (told,) = await bus.spans(stage=LINK_CHANGE)
    before = 0.3 - span["start"]
    predicted = before + (span["bytes"] * 8 - before * 40e6) / 16e6 + 0.005
    assert_close(span["due"] - span["start"], predicted, what="promised seconds")
    assert (told["start"], told["due"], told["node"], told["off_clock"]) == (0.3, 0.3, "client", True)
    assert told["end"] >= 0.3, "when the hub had done it"


@on_loop
async def test_a_node_that_is_away_sends_and_is_sent_when_it_is_back() -> None:
    away, back = change(0.1, connected=False), change(1.5, connected=True)
    async with world(plan(away, back, up={"rate": "8 Mbit/s"})) as bus:
        server, client = await bus.nodes("server", "client")
        await asyncio.sleep(0.15)
        await client.send("server", "upload")
        await server.send("client", "download")
        await server.receive("upload", timeout=SECONDS)
        await client.receive("download", timeout=SECONDS)
        await server.run(nothing)
        await client.run(nothing)
        spans = [(await bus.spans(stage=stage))[0] for stage in ("upload", "download")]
        told = await bus.spans(stage=CONNECTION_CHANGE)
        events = [event.fields.get("connected") for event in bus.events_of("changed")]
    assert all(1.5 <= span["due"] < 1.51 and span["start"] < 1.5 for span in spans)
    assert [span["detail"] for span in told] == ["disconnected", "reconnected"]
    assert events == [False, True]


@on_loop
async def test_what_was_sent_before_a_change_crosses_what_was_there_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.bus.changing.LAG_SECONDS", SECONDS / 4)  # this host may be busy
    away = change(0.2, connected=False)
    async with world(plan(away, up={"rate": "8 Mbit/s"})) as bus:
        member = await bus.raw_member("client")
        server = await (await bus.join("server")).started()
        await member.next(Kind.START)
        await asyncio.sleep(0.3)
        member.send(wire.pack(Header(Kind.DATA, "client", "server", "upload", number=1, sent=0.19)))
        await server.receive("upload", timeout=SECONDS)
        await server.run(nothing)
        (span,) = await bus.spans(stage="upload")
    assert span["due"] < 0.2


@on_loop
async def test_a_round_begins_with_its_first_message_which_crosses_the_new_link() -> None:
    narrow = change(round=2, link={"up": {"rate": "1 Mbit/s"}})
    async with world(plan(narrow, up={"rate": "8 Mbit/s"})) as bus:
        server, client = await bus.nodes("server", "client")
        load = {"x": np.zeros(10_000, np.uint8)}
        for client.round in (1, 2):
            await client.send("server", "upload", tensors=load)
            await server.receive("upload", timeout=SECONDS)
        await server.run(nothing)
        first, second = await bus.spans(stage="upload")
        (told,) = await bus.spans(stage=LINK_CHANGE)
    assert_close(first["due"] - first["start"], first["bytes"] * 8 / 8e6, what="seconds in round 1")
    assert_close(second["due"] - second["start"], second["bytes"] * 8 / 1e6, absolute=0.005, what="seconds in round 2")
    assert told["due"] == second["start"]


@on_loop
async def test_a_computation_goes_on_at_the_new_speed_from_the_time_of_the_change() -> None:
    made = plan(change(0.3, slow=4.0), slowdown=10.0)
    board = made.nodes[1].device.model_copy(update={"training": 1e8})  # a tenth of a core of that host
    nodes = [node.model_copy(update={"device": board}) for node in made.nodes]
    async with world(made.model_copy(update={"nodes": nodes})) as bus:
        _, client = await bus.nodes("server", "client")
        await client.compute("think", _busy)
        await client.run(nothing)
        (span,) = await bus.spans(stage="think")
        (told,) = await bus.spans(stage=DEVICE_CHANGE)
    before = 0.3 - span["start"]
    assert 0 < before < 10 * span["cpu"]
    expected = before + 40 * (span["cpu"] - before / 10)
    assert_close(span["due"] - span["start"], expected, what="seconds of the device")
    assert told["due"] == 0.3


def _busy() -> None:
    end = time.thread_time() + 0.06
    while time.thread_time() < end:
        pass


@on_loop
async def test_seconds_stand_still_while_a_program_is_off_the_clock() -> None:
    async with world(plan(change(0.1, connected=False), change(0.2, connected=True))) as bus:
        server, client = await bus.nodes("server", "client")
        await client.off_clock(lambda: time.sleep(0.3))
        await bus.spans(stage=CONNECTION_CHANGE, detail="reconnected")
        away, back = await bus.spans(stage=CONNECTION_CHANGE)
        await server.run(nothing)
    assert away["due"] > 0.3, "a tenth of a second on the clock, and what was off it"
    assert_close(back["due"] - away["due"], 0.1, what="seconds between two changes")


@on_loop
async def test_a_users_change_wins_over_an_earlier_one_and_lasts_and_the_scenarios_does_not() -> None:
    other = make_plan("client", up={"rate": "1 Gbit/s"}).nodes[0].link
    scenario = (change(link={"up": {"rate": "1 Mbit/s"}}), change(link={"down": {"delay": "1 s"}}, node="server"))
    async with world(plan(*scenario, up={"rate": "8 Mbit/s"}, runs=2)) as bus:
        server, client = await bus.join("server"), await bus.join("client")
        for node in (server, client):
            await node.started()
        await bus.spans(stage=LINK_CHANGE, node="server")
        event = await bus.controller.change("client", link=other)
        assert event.fields["details"][LINK_CHANGE].startswith("wire-changed -> wire (up 1 Gbit/s")
        for node in (server, client):
            node.endpoint.send(Header(Kind.DONE))
        for node in (server, client):
            await node.started()
        await bus.spans(stage=LINK_CHANGE, run="run-2", due=0.0, node="server")
        again = await bus.spans(stage=LINK_CHANGE, run="run-2", node="client")
    assert [span["detail"].split(" (")[0] for span in again] == ["wire -> wire", "wire -> wire-changed"]
    assert "up 1 Gbit/s" in again[0]["detail"], "the user's, as the run began"
    assert "up 1 Mbit/s" in again[1]["detail"], "the scenario's, from its start"


@on_loop
async def test_a_node_says_nothing_of_the_clock_that_cannot_be() -> None:
    async with world(plan(change(0.1, connected=False), change(0.2, connected=True))) as bus:
        member = await bus.raw_member("client")
        await (await bus.join("server")).started()
        await member.next(Kind.START)
        member.send(wire.pack(Header(Kind.OFF_CLOCK, "client", sent=1e6, fields={"begins": True})))
        assert "not in this run's past" in (await bus.event("bad frame", "client")).fields["reason"]
        await bus.spans(stage=CONNECTION_CHANGE, detail="reconnected")


# -- as a user gives it


def test_a_scenario_is_given_on_the_command_line_checked_and_told(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, rounds=3)
    entries = ("{round: 2, node: client, disconnect: true, for: 80 ms}", "{at: 1 h, node: client, link: lte}")
    (tmp_path / "storm.yaml").write_text("scenario:\n" + "".join(f"  - {entry}\n" for entry in entries))
    checked = edgebed("profiles", "check", "storm.yaml", cwd=tmp_path)
    assert (checked.status, checked.out) == (0, "storm.yaml: a valid scenario file\n")
    done = edgebed("run", experiment, "--scenario", "storm.yaml", "--out", "out", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert "note: tiny: 1 changes of the scenario were not due before the run ended" in done.err
    spans = [json.loads(line) for line in (tmp_path / "out" / "timeline.jsonl").read_text().splitlines()]
    told = [span["detail"] for span in spans if span["stage"] in STAGES]
    assert told == ["disconnected", "reconnected"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "client: disconnected" in page


def test_a_wrong_scenario_is_refused_before_anything_starts(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path)
    (tmp_path / "storm.yaml").write_text("scenario:\n  - {at: 1 s, node: clint, slow: 2}\n")
    refused = edgebed("run", experiment, "--scenario", "storm.yaml", "--out", "out", cwd=tmp_path)
    assert refused.status == 2
    assert refused.line == "storm.yaml:2: scenario.0.node: the testbed has no node 'clint': did you mean 'client'?"
    assert not (tmp_path / "out").exists()


# -- in two runtimes

PROGRAM = """
import time
import numpy as np
from emulator import Work

CORE = 1e10

def burn(seconds):
    def fn():
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
    return fn

async def compute(node, stage, seconds):
    await node.compute(stage, burn(seconds), Work(flops=seconds * CORE))

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for client in node.peers["client"]:
            await node.receive("ping", client)
        await compute(node, "serve", 0.002)
        for client in node.peers["client"]:
            await node.send(client, "pong", tensors={"x": np.zeros(8000, np.float32)})

async def client(node):
    place = node.peers["client"].index(node.name)
    for node.round in range(1, node.config["rounds"] + 1):
        await compute(node, "think", 0.003 + 0.002 * place)
        await node.send("server", "ping", tensors={"x": np.ones(8000, np.float32)})
        await node.receive("pong", "server")
"""
CHANGES = """
  - {at: 200 ms, node: client-1, scale: 0.25}
  - {at: 410 ms, node: client-1, slow: 2}
  - {round: 5, role: client, link: {up: {delay: 20 ms}}}
  - {round: 6, node: client-2, restore: true}
  - {at: 1300 ms, node: client-2, disconnect: true, for: 350 ms}
  - {at: 1820 ms, node: client-1, flap: {down: 60 ms, up: 90 ms, times: 3}}
  - {at: 2500 ms, partition: [[client-1], [server, client-2]], for: 200 ms}
  - {round: 12, node: client-1, restore: true}
"""
ROUNDS = 15
EVENT_SECONDS = 0.005
LATENCY_SHARE = 0.02
ATTEMPTS = 4


def write_steady(folder: Path, changes: str, rounds: int) -> Path:
    """An experiment of three nodes with computations of known times, and what changes meanwhile; returns its file."""
    device = {"training": "1 GFLOP/s", "memory": "unlimited", "source": "a test"}
    way = {"rate": "20 Mbit/s", "delay": "5 ms"}
    node = {"device": device, "link": {"source": "a test", "up": way, "down": way}}
    nodes = [{"role": "server", **node}, {"role": "client", "count": 2, **node}]
    return write_experiment(
        folder,
        PROGRAM,
        module="steady",
        testbed={"name": "three", "nodes": nodes},
        rounds=rounds,
        calibration="none",
        scenario=yaml.safe_load(changes),
    )


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The timelines of the same scenario, with computations of known times, in two runtimes.

    Other work on this host may hold a node up for longer than nodes make up for. Such a run says something of the host
    alone, so it is run anew, a few times.
    """
    folder = tmp_path_factory.mktemp("scenario")
    write_steady(folder, CHANGES, ROUNDS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(CORE_FLOPS, "10000000000")
        virtual = _timeline(folder, "virtual")
        for attempt in range(ATTEMPTS):
            local = _timeline(folder, "local", attempt)
            if _latest(local) < CARRY_SECONDS:
                return {"virtual": virtual, "local": local}
    pytest.skip(f"this host was late by {_latest(local):.3f} s, in the last of {ATTEMPTS} runs: it cannot be compared")


def _timeline(folder: Path, runtime: str, attempt: int = 0) -> list[dict[str, Any]]:
    out = f"{runtime}-{attempt}"
    finished = edgebed("run", "steady.yaml", "--runtime", runtime, "--out", out, cwd=folder)
    assert finished.status in (0, 3), finished.err
    return [json.loads(line) for line in (folder / out / "timeline.jsonl").read_text().splitlines()]


def _latest(spans: list[dict[str, Any]]) -> float:
    """By how much the host was late at the most, in what is on the clock."""
    return max(span["end"] - span["due"] for span in spans if not span.get("off_clock") and "due" in span)


def _by_event(spans: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Computations, messages and changes by what they are; of each kind in the order of time."""
    found: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span["start"]):
        number = 0 if span["stage"] in STAGES else span["round"]
        found[number, span["node"], span["stage"], span.get("peer", "")].append(span)
    return dict(found)


@pytest.mark.alone
def test_the_same_changes_happen_at_the_same_times(spans: dict[str, list[dict[str, Any]]]) -> None:
    local, virtual = (
        sorted((span["due"], span["node"], span["stage"], span["detail"]) for span in own if span["stage"] in STAGES)
        for own in (spans["local"], spans["virtual"])
    )
    assert len(virtual) == 17
    assert [one[1:] for one in local] == [one[1:] for one in virtual]
    for one, other in zip(local, virtual, strict=True):
        assert_close(one[0], other[0], absolute=EVENT_SECONDS, what=f"seconds until the {one[2]} of {one[1]}")


@pytest.mark.alone
def test_event_by_event_it_is_the_same(spans: dict[str, list[dict[str, Any]]]) -> None:
    local, virtual = _by_event(spans["local"]), _by_event(spans["virtual"])
    assert local.keys() == virtual.keys()
    for key, own in local.items():
        for one, other in zip(own, virtual[key], strict=True):
            for moment in ("start", "due"):
                assert_close(one[moment], other[moment], absolute=EVENT_SECONDS, what=f"{moment} of {key}")


@pytest.mark.alone
def test_rounds_take_as_long(spans: dict[str, list[dict[str, Any]]]) -> None:
    for number in range(1, ROUNDS + 1):
        of_round = {
            runtime: [span for span in own if span["round"] == number and not span.get("off_clock")]
            for runtime, own in spans.items()
        }
        local, virtual = (
            max(span["due"] for span in of_round[runtime]) - min(span["start"] for span in of_round[runtime])
            for runtime in ("local", "virtual")
        )
        assert_close(local, virtual, relative=LATENCY_SHARE, what=f"seconds of round {number}")
