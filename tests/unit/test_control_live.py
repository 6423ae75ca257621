"""What the live page and Prometheus are told, by the API itself."""

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from emulator.bus.controller import Event
from emulator.control.api import make_app
from emulator.control.changes import Changes
from emulator.control.history import HAPPENED, POINTS, Curve, History
from emulator.control.rounds import SETTLE_SECONDS, Rounds
from emulator.control.state import State
from emulator.library import load, load_experiment, spread_out
from emulator.plan import make_plan
from emulator.profiles import HUB, LinkProfile
from emulator.rate import mean_rate
from emulator.timeline import Metric, Span

TOKEN = "secret"
Get = Callable[..., httpx.Response]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def state() -> State:
    experiment, _ = load_experiment("demo", {"algorithms": ["gapsl", "psl"], "time_scale": 4.0})
    return State(make_plan(experiment, core_flops=5e10, cores=2), "local", Path("runs/demo-1"))


@pytest.fixture
def get(state: State) -> Get:
    """Asks the API without a socket."""
    app = make_app(state, cast(Changes, None), TOKEN)

    async def ask(path: str, headers: Mapping[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testbed") as client:
            return await client.get(path, headers=headers)

    return lambda path, headers=HEADERS: asyncio.run(ask(path, headers))


def span(number: int, stage: str = "client_forward", start: float = 0.0, **fields: Any) -> Span:
    return Span("psl", number, stage=stage, start=start, **{"node": "client-1", "end": start + 1, **fields})


def test_a_scenario_shows_in_the_state_of_nodes_and_is_over_with_its_run(state: State) -> None:
    state.event(Event("started", HUB, {"run": "gapsl"}))
    when = {"run": "gapsl", "round": 3, "at": 1.5, "scenario": True}
    own, other = state.node("client-1").link, state.node("client-2").link
    narrow = {"link": other.model_dump(mode="json"), "device": state.node("client-1").device.model_dump(mode="json")}
    details = {"link_change": "wide -> narrow"}
    state.event(Event("changed", "client-1", {**when, "details": details, **narrow}))
    lost = {**when, "details": {"connection_change": "disconnected"}, "connected": False}
    state.event(Event("changed", "client-1", lost))
    assert (state.node("client-1").state, state.node("client-1").link) == ("disconnected", other)
    again = {"details": {"connection_change": "reconnected"}, "connected": True}
    state.event(Event("changed", "client-1", {**lost, **again}))
    assert state.node("client-1").state == "running"
    parted = {**when, "details": {"partition_change": "partition client-1 | server"}}
    state.event(Event("changed", HUB, parted))
    says = [one["says"] for one in state.history.happened()]
    assert says[1:] == [
        "client-1: link wide -> narrow at 1.500 s of gapsl, round 3",
        "client-1: disconnected at 1.500 s of gapsl, round 3",
        "client-1: reconnected at 1.500 s of gapsl, round 3",
        "hub: partition client-1 | server at 1.500 s of gapsl, round 3",
    ]
    state.event(Event("finished", HUB, {"run": "gapsl"}))
    state.event(Event("started", HUB, {"run": "psl"}))
    assert (state.node("client-1").state, state.node("client-1").link) == ("running", own)


def run_two_rounds(state: State) -> None:
    state.event(Event("started", HUB, {"run": "psl"}))
    for number, start in ((1, 10.0), (2, 20.0)):
        state.entry(span(number, start=start))
        state.entry(span(number, "uplink", start + 1, bytes=1000, peer="server"))
        state.entry(Metric("psl", number, "server", "accuracy", number / 4))
    state.event(Event("finished", HUB, {"run": "psl"}))


def test_the_page_is_for_everyone_and_holds_nothing_of_the_testbed(get: Get) -> None:
    answer = get("/", {})
    assert answer.status_code == 200
    assert "client-1" not in answer.text
    assert TOKEN not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"\bsrc=|@import|https?://", answer.text)
    assert "<option>lte</option>" in answer.text
    assert "<option>jetson-nano</option>" in answer.text


@pytest.mark.parametrize("path", ["/live", "/metrics"])
def test_what_is_measured_is_only_for_who_has_the_token(get: Get, path: str) -> None:
    assert get(path, {}).status_code == 401
    assert get(path).status_code == 200


def test_every_run_has_its_line_in_the_status(state: State, get: Get) -> None:
    state.event(Event("started", HUB, {"run": "gapsl"}))
    state.event(Event("finished", HUB, {"run": "gapsl"}))
    run_two_rounds(state)
    gapsl, psl = get("/status").json()["runs"]
    assert (gapsl["state"], gapsl["round_latency_s"]) == ("done", None)
    assert psl == {
        "run": "psl", "state": "done", "round": 2, "rounds": 60, "last_round": 2, "round_latency_s": 2.0,
        "slowest": "client-1", "accuracy": 0.5, "eta_s": None,
    }  # fmt: skip


def test_before_anything_has_run_there_is_nothing_to_draw(get: Get) -> None:
    now = get("/live").json()
    assert now["status"]["run"] is None
    assert [(run["run"], run["state"]) for run in now["status"]["runs"]] == [("gapsl", "to come"), ("psl", "to come")]
    assert (now["timeline"], now["curves"], now["events"]) == (None, {}, [])
    assert {node["name"]: node["traffic_bit_s"] for node in now["nodes"]}["client-1"] is None


def test_the_live_page_gets_curves_rounds_traffic_and_events(state: State, get: Get) -> None:
    run_two_rounds(state)
    now = get("/live").json()
    assert now["curves"] == {"psl": {"latency": [[1, 2.0], [2, 2.0]], "accuracy": [[1, 0.25], [2, 0.5]]}}
    assert [event["says"] for event in now["events"]] == ["run psl has started", "run psl is over"]
    assert set(now["timeline"]["stages"]) == set(now["timeline"]["colours"]) == {"client_forward", "uplink"}
    client = next(node for node in now["nodes"] if node["name"] == "client-1")
    assert client["rate_bit_s"] == {"up": 8e6, "down": 12e6}


def test_of_a_link_that_follows_a_trace_the_mean_is_shown_and_not_the_whole_of_it(state: State, get: Get) -> None:
    traced = spread_out(load(LinkProfile, "lte-trace"), 2)
    state.nodes["client-1"] = state.nodes["client-1"].model_copy(update={"link": traced})
    answer = get("/live")
    assert "seconds,rate" not in answer.text
    client = next(node for node in answer.json()["nodes"] if node["name"] == "client-1")
    assert client["rate_said"] == {"up": "trace lte, 6.78 Mbit/s mean", "down": "trace lte, 26.3 Mbit/s mean"}
    assert client["rate_bit_s"]["up"] == mean_rate(traced.up)
    rates = [
        sample.value
        for family in text_string_to_metric_families(get("/metrics").text)
        for sample in family.samples
        if sample.name == "edgebed_link_rate_bits_per_second" and sample.labels["node"] == "client-1"
    ]
    assert rates == [mean_rate(traced.up), mean_rate(traced.down)]


def test_prometheus_reads_what_is_exposed(state: State, get: Get) -> None:
    run_two_rounds(state)
    state.event(Event("failed", "client-2", {"error": "out of memory"}))
    answer = get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, sample.labels.get("node"), sample.labels.get("direction")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["edgebed_round_latency_seconds", None, None] == 2.0
    assert samples["edgebed_accuracy_ratio", None, None] == 0.5
    assert samples["edgebed_runs_done", None, None] == 1
    assert samples["edgebed_link_rate_bits_per_second", "client-1", "up"] == 8e6
    assert samples["edgebed_node_busy_seconds", "client-1", None] == 2.0
    assert samples["edgebed_node_bits_per_second", "client-1", "up"] == 4000.0
    assert samples["edgebed_node_up", "client-1", None] == 1
    assert samples["edgebed_node_up", "client-2", None] == 0


# -- what is kept


def test_the_latest_rounds_are_kept_from_the_last_whole_one_on() -> None:
    history = History(["server", "client-1"], {"server"})
    history.begin("psl")
    assert history.timeline() is None
    for number in range(1, 8):
        history.span(span(number, start=10.0 * number))
        if number > 3:
            history.whole("psl", number - 3, 1.0)
    made = history.timeline()
    assert made is not None
    assert made["numbers"] == [4, 5, 6]
    assert made["rounds"] == [0, 1_000_000, 2_000_000, 3_000_000]
    history.span(span(1))
    history.span(span(7, off_clock=True))
    assert history.timeline() == made


def test_what_the_latest_rounds_waited_for_is_marked_as_far_as_it_is_known() -> None:
    history = History(["server", "client-1", "client-2"], {"server"})
    history.begin("psl")
    history.span(span(1, start=10.0))
    history.span(span(1, start=10.0, node="client-2", end=10.5))
    made = history.timeline()
    assert made is not None
    assert dict(zip(made["length"], made["critical"], strict=True)) == {1_000_000: 1, 500_000: 0}
    history.span(span(1, "server_step", 10.5, node="server", end=12.0))
    history.span(span(1, "uplink", 10.5, node="client-2", end=10.5, peer="server"))
    made = history.timeline()
    assert made is not None
    marked = {
        (made["stages"][s], made["nodes"][n])
        for s, n, c in zip(made["stage"], made["node"], made["critical"], strict=True)
        if c
    }
    assert marked == {("server_step", "server"), ("uplink", "client-2"), ("client_forward", "client-2")}


def test_events_of_the_testbed_are_told_once_and_marked_in_the_latest_rounds() -> None:
    history = History(["server", "client-1"], {"server"}, host_time=lambda: 5.0)
    history.begin("psl")
    history.span(span(1, start=10.0))
    change = {"run": "psl", "round": 1, "at": 10.25, "details": {"link_change": "wifi-5 -> lte"}}
    history.event("changed", "client-1", change)
    history.span(span(1, "link_change", 10.25, end=10.25, off_clock=True, detail="wifi-5 -> lte"))
    history.span(span(1, "disconnect", 10.5, end=10.5, off_clock=True, detail="for 2 s"))
    history.span(span(1, "evaluation", 11.0, off_clock=True))
    history.span(
        span(1, "left_out", 10.75, node="client-2", end=10.75, off_clock=True)
    )  # a mark without words is drawn, and not told
    assert [event["says"] for event in history.happened()] == [
        "client-1: link wifi-5 -> lte at 10.250 s of psl, round 1",
        "client-1: disconnect for 2 s at 10.500 s of psl, round 1",
    ]
    made = history.timeline()
    assert made is not None
    assert made["events"] == [
        {"at": 250_000, "title": "client-1: link change", "detail": "wifi-5 -> lte"},
        {"at": 500_000, "title": "client-1: disconnect", "detail": "for 2 s"},
        {"at": 750_000, "title": "client-2: left out", "detail": ""},
    ]
    history.span(span(2, start=20.0))
    history.whole("psl", 2, 1.0)
    made = history.timeline()
    assert made is not None
    assert made["events"] == []


def test_long_curves_and_many_events_are_bounded() -> None:
    curve = Curve()
    for number in range(1, 10_001):
        curve.add(number, number / 2)
        curve.add(number, number)
    assert POINTS / 2 <= len(curve.points) <= POINTS
    assert all(value == number for number, value in curve.points)
    assert curve.points[0] == (1, 1)
    assert curve.points[-1][0] > 10_000 - 2 * curve.step

    history = History(["a"], set(), host_time=lambda: 5.0)
    for _ in range(3 * HAPPENED):
        history.event("silent", "a", {"seconds": 15.2})
    history.event("ready", "a", {})
    kept = history.happened()
    assert len(kept) == HAPPENED
    assert kept[-1] == {"number": 3 * HAPPENED, "at": 5.0, "says": "a has been silent for 15 s", "warning": True}


def test_each_round_is_told_once_in_order_when_all_of_it_is_known() -> None:
    clock, told = [0.0], list[tuple[int, float]]()
    rounds = Rounds(lambda: clock[0], lambda number, seconds: told.append((number, seconds)))
    for number in range(1, 6):
        clock[0] += SETTLE_SECONDS / 2
        rounds.note(span(number, start=10.0 * number))
    assert told == [(1, 1.0), (2, 1.0)]
    rounds.finish()
    rounds.finish()
    assert [number for number, _ in told] == [1, 2, 3, 4, 5]
