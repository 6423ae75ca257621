"""Scenarios played in virtual time, where everything can be reckoned."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from emulator import timeline
from emulator.change import (
    CONNECTION_CHANGE,
    DEVICE_CHANGE,
    LINK_CHANGE,
    PARTITION_CHANGE,
    SEGMENT_CHANGE,
    STAGES,
    is_live,
)
from emulator.errors import Deadlock
from emulator.happening import Happening
from emulator.library import resolve_testbed
from emulator.plan import Plan, make_plan, planned_scenario
from emulator.profiles import Experiment, Testbed
from emulator.retiming import retime
from emulator.scenario import expand
from emulator.timeline import Span
from tests.tolerance import assert_close
from tests.unit.virtual_world import DEVICE, LINK, as_lines, plan, run

LATENCY = 2 * 0.010
TIMELESS = {role: f"tests.unit.timeless_programs:{role}" for role in ("server", "client")}


def played(
    *entries: Mapping[str, Any],
    check: bool = True,
    segments: Mapping[str, Any] | None = None,
    within: Collection[str] = (),
    **keys: Any,
) -> Plan:
    """The plan of `virtual_world` with a scenario; the nodes `within` are in the first of `segments`."""
    made = plan(**keys)
    named = {name: {"segment": next(iter(segments or ()))} for name in within}
    nodes = [
        {"role": node.role, "name": node.name, "device": DEVICE, "link": LINK, **named.get(node.name, {})}
        for node in made.nodes
    ]
    words = {
        "testbed": {"nodes": nodes, "segments": segments or {}},
        "programs": {"server": "a:b", "client": "a:b"},
        "rounds": made.runs[0].config["rounds"],
        "scenario": [Happening.model_validate(entry) for entry in entries],
    }
    experiment = Experiment.model_validate(words)
    assert isinstance(experiment.testbed, Testbed)
    experiment = experiment.model_copy(update={"testbed": resolve_testbed(experiment.testbed)})
    testbed = make_plan(experiment, 1e10, 2, virtual=True) if segments else made
    update = {"segments": testbed.segments, "scenario": (planned_scenario if check else expand)(experiment)}
    nodes_within = [node.model_copy(update=named.get(node.name, {})) for node in made.nodes]
    return made.model_copy(update={**update, "nodes": nodes_within})


def of(spans: list[Span], *stages: str) -> list[Span]:
    return [span for span in spans if span.stage in stages]


def seconds(nbytes: int, rate: float = 8e6) -> float:
    return nbytes * 8 / rate + LATENCY


def test_what_is_being_computed_goes_on_at_the_new_speed() -> None:
    at = {"at": "500 ms", "node": "client-1"}
    spans, _ = run(played({**at, "slow": 2.0}, {"at": "1 s", "node": "client-1", "restore": True}))
    first, second = of(spans, "think")
    assert_close(first.duration, 0.5 + 2 * 0.25 + 0.25, what="half, half a second at half the speed, the rest")
    assert_close(second.duration, 1.0, what="as the run began")
    assert_close(first.cpu or 0.0, 0.1, what="CPU seconds of a host ten times as fast")
    changes = of(spans, DEVICE_CHANGE)
    assert [(span.start, span.end, span.due, span.off_clock) for span in changes] == [
        (0.5, 0.5, 0.5, True),
        (1.0, 1.0, 1.0, True),
    ]
    assert not any(is_live(span) for span in spans)


def test_a_computation_that_ends_when_its_device_changes_is_not_touched() -> None:
    spans, _ = run(played({"at": "1 s", "node": "client-1", "slow": 10.0}))
    first, second = of(spans, "think")
    assert_close(first.duration, 1.0, what="over by then")
    assert_close(second.duration, 10.0, what="ten times slower")


def test_a_link_changes_with_what_is_on_it() -> None:
    made = {"workload": {"bytes": 100_000}}
    entry = {"at": "1.05 s", "node": "client-1", "link": {"up": {"rate": "1 Mbit/s"}}}
    spans, _ = run(played(entry, **made))
    ping = of(spans, "ping")[0]
    slow = (ping.bytes - 50_000) * 8 / 1e6
    assert_close(ping.duration, 0.05 + slow + LATENCY, relative=1e-3, what="half at 8, the rest at 1 Mbit/s")
    assert [span.detail.split(" (")[0] for span in of(spans, LINK_CHANGE)] == ["inline -> inline-changed"]


@pytest.mark.parametrize(
    ("entry", "stage"),
    [
        ({"node": "client-1", "disconnect": True, "for": "3 s"}, CONNECTION_CHANGE),
        ({"partition": [["client-1"], ["server"]], "for": "3 s"}, PARTITION_CHANGE),
    ],
)
def test_who_is_cut_off_goes_on_where_it_was(entry: dict[str, Any], stage: str) -> None:
    spans, _ = run(played({"at": "1.005 s", **entry}))
    ping = of(spans, "ping")[0]
    assert_close(ping.duration, 3.0 + seconds(ping.bytes), what="as long as it was cut off, and as long as without")
    assert [span.start for span in of(spans, stage)] == [1.005, 4.005]


def test_a_partition_does_not_touch_those_in_no_group() -> None:
    spans, _ = run(played({"at": "1.005 s", "partition": [["client-1"], ["server"]], "for": "1 s"}, clients=2))
    first, second = sorted(of(spans, "ping"), key=lambda span: span.start)[:2]
    assert {first.node, second.node} == {"client-1", "client-2"}
    by_node = {span.node: span.duration for span in (first, second)}
    assert by_node["client-1"] > 1.0 > 0.1 > by_node["client-2"]


def test_a_segments_link_is_that_of_all_its_nodes() -> None:
    wide = {"source": "a test", "up": {"rate": "80 Mbit/s"}, "down": {"rate": "80 Mbit/s"}}
    entry = {"at": "1 s", "segment": "cell", "scale": {"up": 0.01}}
    spans, _ = run(played(entry, clients=3, segments={"cell": {"link": wide}}, within={"client-1", "client-2"}))
    (change,) = of(spans, SEGMENT_CHANGE)
    assert (change.node, change.start) == ("cell", 1.0)
    assert change.detail.startswith("inline -> inline-changed (up 800 kbit/s;")
    pings = {span.node: span for span in of(spans, "ping")[:3]}
    two = sum(pings[name].bytes for name in ("client-1", "client-2"))
    assert_close(max(pings[name].duration for name in ("client-1", "client-2")), seconds(two, 8e5), relative=0.1)
    assert pings["client-3"].duration < 0.03


def test_a_round_begins_with_its_first_message() -> None:
    spans, _ = run(played({"round": 2, "node": "client-1", "scale": 0.125}, rounds=3))
    (change,) = of(spans, LINK_CHANGE)
    one, two, three = of(spans, "ping")
    assert change.start == two.start
    assert_close(two.duration, two.bytes * 8 / 1e6 + LATENCY, relative=0.01, what="at an eighth")
    assert_close(one.duration, seconds(one.bytes), what="as the run began")
    assert_close(three.duration, two.duration, what="for the rest of the run")


def test_each_run_plays_it_from_its_start() -> None:
    spans, _ = run(played({"at": "500 ms", "node": "client-1", "slow": 2.0}, algorithms=["one", "two"]))
    one, two = timeline.runs(spans).values()
    assert as_lines(one).replace('"one"', '"two"') == as_lines(two)
    assert [span.duration for span in of(two, "think")] == pytest.approx([1.5, 2.0])


def test_it_is_the_same_at_every_time_scale_and_every_time() -> None:
    entries = (
        {"at": "500 ms", "role": "client", "scale": 0.3},
        {"at": "1.7 s", "node": "client-2", "flap": {"down": "100 ms", "up": "150 ms", "times": 5}},
        {"round": 2, "node": "server", "slow": 1.7},
    )
    again = [as_lines(run(played(*entries, clients=3, rounds=3, scale=scale))[0]) for scale in (1.0, 1.0, 7.3)]
    assert again[0] == again[1] == again[2]
    assert as_lines(run(plan(clients=3, rounds=3))[0]) != again[0]


def test_a_sender_that_waits_for_room_goes_on_when_its_link_gets_some() -> None:
    up = {"rate": "8 Mbit/s", "queue": "150 KiB"}
    link = {"source": "a test", "up": up, "down": {"rate": "unlimited", "queue": "unlimited"}}
    programs = {"server": "drains", "client": "floods"}
    entry = {"at": "150 ms", "node": "client-1", "link": {"up": {"queue": "1 MiB"}}}
    spans, _ = run(played(entry, programs=programs, link=link))
    waits = of(spans, timeline.WAIT)
    assert waits[-1].end == 0.15
    assert all(wait.end <= 0.15 for wait in waits)


def test_changes_that_come_too_late_are_none() -> None:
    spans, _ = run(played({"at": "1 h", "node": "client-1", "slow": 2.0}))
    assert not of(spans, *STAGES)


def test_who_is_never_back_leaves_the_others_waiting_and_is_named() -> None:
    with pytest.raises(Deadlock, match=r"client-1 waits for 'pong' from server"):
        run(played({"at": "1.005 s", "node": "client-1", "stop": True}, check=False))


def test_a_recorded_run_is_replayed_with_its_scenario() -> None:
    made = played({"at": "500 ms", "node": "client-1", "slow": 2.0}, programs=TIMELESS, rounds=3)
    spans, _ = run(made)
    again = retime(spans, made, made)
    for number, latency in timeline.latencies(spans).items():
        assert_close(timeline.latencies(again)[number], latency, what="a round's latency")
