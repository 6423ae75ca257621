"""What changes make of nodes, and what is left of them in the next run."""

from typing import Any

import pytest

from emulator.change import CONNECTION_CHANGE, DEVICE_CHANGE, LINK_CHANGE, PARTITION_CHANGE, SEGMENT_CHANGE, changed
from emulator.figures import altered
from emulator.happening import Factors
from emulator.in_force import InForce
from emulator.plan import SegmentPlan
from emulator.profiles import LinkProfile
from emulator.scenario import Change
from tests.tolerance import assert_close
from tests.unit.virtual_world import plan


def change(**fields: Any) -> Change:
    return Change(entry=0, key="a test", at=1.0, **({} if "groups" in fields else {"node": "client-1"}), **fields)


@pytest.fixture
def world() -> InForce:
    return InForce(plan(clients=2))


def test_figures_change_on_top_of_those_in_force(world: InForce) -> None:
    world.apply(change(link={"up": {"rate": "1 Mbit/s"}}))
    world.apply(change(link={"up": {"delay": "1 s"}}))
    link = world.nodes["client-1"].link
    assert (link.up.rate, link.up.delay, link.down.rate, link.name) == (1e6, 1.0, 8e6, "inline-changed")


def test_a_factor_is_of_the_rates_that_the_run_began_with(world: InForce) -> None:
    world.apply(change(link={"up": {"delay": "1 s"}}))
    for factor in (0.5, 0.25):
        effect = world.apply(change(scale=Factors(up=factor)))
        assert effect is not None
        assert list(effect.details) == [LINK_CHANGE]
        assert_close(world.nodes["client-1"].link.up.rate, factor * 8e6, what="bit/s")
    link = world.nodes["client-1"].link
    assert (link.up.delay, link.down.rate) == (1.0, 8e6)


def test_a_slower_device_is_that_many_times_slower_than_its_profile(world: InForce) -> None:
    for times in (4.0, 2.0):
        effect = world.apply(change(slow=times))
        assert effect is not None
        assert list(effect.details) == [DEVICE_CHANGE]
        assert_close(world.nodes["client-1"].slowdown, 10.0 * times, what="seconds for each of the host's")


def test_restored_is_as_the_run_began(world: InForce) -> None:
    before = world.nodes["client-1"]
    for one in ({"slow": 4.0}, {"link": {"up": {"delay": "1 s"}}}):
        world.apply(change(**one))
    for one in ({"restores_link": True}, {"restores_device": True}):
        assert world.apply(change(**one)) is not None
    assert world.nodes["client-1"] == before


def test_what_is_so_already_is_no_change(world: InForce) -> None:
    for one in ({"restores_link": True}, {"slow": 1e-9 + 1}, {"connected": True}, {"groups": []}):
        effect = world.apply(change(**one))
        assert (effect is None) is ("slow" not in one)


def test_connections_and_partitions_are_told(world: InForce) -> None:
    away, back = world.apply(change(connected=False)), world.apply(change(connected=True))
    parted, healed = world.apply(change(groups=[["a", "b"], ["c"]])), world.apply(change(groups=[]))
    assert away is not None
    assert back is not None
    assert parted is not None
    assert healed is not None
    assert [one.details[CONNECTION_CHANGE] for one in (away, back)] == ["disconnected", "reconnected"]
    assert [one.details[PARTITION_CHANGE] for one in (parted, healed)] == ["partition a, b | c", "partition healed"]


def test_the_next_run_begins_without_what_a_scenario_has_changed(world: InForce) -> None:
    before = dict(world.nodes)
    world.apply(change(slow=4.0))
    world.apply(change(connected=False))
    world.begin()
    assert world.nodes == before
    assert world.apply(change(connected=True)) is None


def test_a_users_change_lasts_and_a_later_one_of_the_scenario_wins_over_it(world: InForce) -> None:
    world.apply(change(slow=4.0))
    slow = world.nodes["client-1"]
    wide = altered(slow.link, {"name": "wide", "up": {"rate": "1 Gbit/s"}})
    world.alter(changed(slow, wide, None, 1e10))
    world.apply(change(scale=Factors(up=0.5)))
    now = world.nodes["client-1"]
    assert_close(now.link.up.rate, 5e8, what="half of what the user has given it")
    assert_close(now.slowdown, 40.0, what="still slow")
    world.begin()
    after = world.nodes["client-1"]
    assert after.link == wide
    assert_close(after.slowdown, 10.0, what="the scenario's change is over, the user's is not")


def test_a_users_change_of_a_segment_lasts_and_a_later_one_of_the_scenario_wins_over_it() -> None:
    narrow, wide = (
        LinkProfile.model_validate({"source": "a test", "up": {"rate": rate}, "down": {"rate": rate}})
        for rate in ("1 Mbit/s", "1 Gbit/s")
    )
    world = InForce(plan().model_copy(update={"segments": {"cell": SegmentPlan(link=narrow)}}))
    world.alter_segment("cell", wide)
    effect = world.apply(Change(entry=0, key="a test", at=1.0, segment="cell", scale=Factors(up=0.5)))
    assert effect is not None
    assert list(effect.details) == [SEGMENT_CHANGE]
    assert_close(world.segments["cell"].up.rate, 5e8, what="half of what the user has given it")
    world.alter_segment("cell", world.segments["cell"])  # what is so already is no change
    world.begin()
    assert world.segments["cell"] == wide
