"""Scenarios in which links follow traces."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator import library
from emulator.errors import InputError
from emulator.in_force import InForce
from emulator.plan import Plan, make_plan
from emulator.profiles import TraceProfile
from emulator.rate import mean_rate, of_channel
from tests.tolerance import assert_close

STEPS = "seconds,up Mbit/s,down Mbit/s\n0,1,2\n1,3,4\n2,,\n"
LINK = {"source": "a test", "up": {"rate": "10 Mbit/s"}, "down": {"rate": "20 Mbit/s"}}
TRACED = {"source": "a test", "up": {"trace": "./steps.csv"}, "down": {"trace": "./steps.csv"}}


def plan(folder: Path, *entries: str, link: dict[str, Any] = LINK) -> Plan:
    (folder / "steps.csv").write_text(STEPS)
    node = {"device": {"training": "1 GFLOP/s", "memory": "1 GiB", "source": "a test"}, "link": link}
    words = {
        "testbed": {"name": "three", "nodes": [{"role": "server", **node}, {"role": "client", "count": 2, **node}]},
        "programs": {"server": "a:b", "client": "a:b"},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(words, sort_keys=False) + "scenario:\n" + "".join(f"  - {one}\n" for one in entries))
    made = make_plan(library.load_experiment(str(path))[0], 1e10, 2)
    again = folder / "again.yaml"
    experiment = library.load_experiment(str(path))[0].model_dump(mode="json", exclude_none=True)
    again.write_text(yaml.safe_dump(experiment))
    assert make_plan(library.load_experiment(str(again))[0], 1e10, 2).scenario == made.scenario
    return Plan.model_validate_json(made.model_dump_json())


@pytest.mark.parametrize(
    "entry",
    [
        "{at: 1 s, role: client, trace: ./steps.csv}",
        "{at: 1 s, role: client, link: {up: {trace: ./steps.csv}, down: {trace: ./steps.csv}}}",
        "{at: 1 s, role: client, trace: {up: ./steps.csv, down: ./steps.csv}}",
    ],
)
def test_a_link_follows_a_trace_each_node_from_another_place_of_it(tmp_path: Path, entry: str) -> None:
    made = plan(tmp_path, entry)
    world = InForce(made)
    for change in made.scenario:
        world.apply(change)
    links = [world.nodes[name].link for name in ("client-1", "client-2")]
    assert [round(mean_rate(link.up) / 1e6, 3) for link in links] == [2.0, 2.0]
    assert [round(mean_rate(link.down) / 1e6, 3) for link in links] == [3.0, 3.0]
    assert len({link.up.offset for link in links}) == 2
    assert "spread" not in {link.up.offset for link in links}


def test_a_link_that_follows_a_trace_can_be_scaled_and_restored(tmp_path: Path) -> None:
    made = plan(
        tmp_path, "{at: 1 s, node: client-1, scale: 0.5}", "{at: 2 s, node: client-1, restore: true}", link=TRACED
    )
    world = InForce(made)
    before = world.nodes["client-1"].link
    world.apply(made.scenario[0])
    half = world.nodes["client-1"].link
    one, other = of_channel(half.up), of_channel(before.up)
    assert one is not None
    assert other is not None
    for at in (0.0, 0.5, 1.0, 1.5):
        assert_close(one.rate(at), other.rate(at) / 2, what=f"bit/s at {at} s")
    world.apply(made.scenario[1])
    assert world.nodes["client-1"].link == before


def test_a_factor_brings_a_rate_back_in_place_of_a_trace(tmp_path: Path) -> None:
    made = plan(tmp_path, "{at: 1 s, node: client-1, trace: ./steps.csv}", "{at: 2 s, node: client-1, scale: 0.5}")
    world = InForce(made)
    world.apply(made.scenario[0])
    assert isinstance(world.nodes["client-1"].link.up.trace, TraceProfile)
    world.apply(made.scenario[1])
    up = world.nodes["client-1"].link.up
    assert (up.trace, up.rate) == (None, 5e6)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{at: 1 s, node: client-1, trace: nowhere}", r"scenario.0.trace: unknown trace 'nowhere'"),
        ("{at: 1 s, node: client-1, link: {up: {trace: ./no.csv}}}", r"scenario.0.link.up.trace: .*no.csv: cannot be"),
    ],
)
def test_a_trace_that_is_not_there_is_refused(tmp_path: Path, entry: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(tmp_path, entry)


def test_a_trace_and_a_rate_at_one_time_are_two_changes_of_one_figure(tmp_path: Path) -> None:
    entries = ("{at: 1 s, node: client-1, trace: ./steps.csv}", "{at: 1 s, node: client-1, scale: 0.5}")
    with pytest.raises(InputError, match=r"client-1's up.rate changes at 1 s twice"):
        plan(tmp_path, *entries)
