import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import quota
from emulator.selftest import loads
from emulator.selftest.loads import SIZES, at_once, ladder, to_and_fro
from emulator.selftest.ways import Way, conductor_of, entitled, jain, ways_of
from tests.tolerance import assert_close
from tests.unit.selftest_world import channel, link, plan

rates = st.floats(1e3, 1e10)


def ways(*clients: dict[str, object], server: dict[str, object] | None = None, up: bool = True) -> list[Way]:
    made = plan(*clients, server=server)
    return [way for way in ways_of(made) if (way.sender == way.client) is up]


def client(rate: float) -> dict[str, object]:
    return link(channel(f"{rate:.9g} bit/s"))


# -- sizes


def test_messages_go_from_64_bytes_to_16_mebibytes() -> None:
    assert (SIZES[0], SIZES[-1]) == (64, 16 * 2**20)


@given(rates, st.floats(0.01, 10))
def test_no_message_alone_takes_too_long_but_the_smallest(rate: float, longest: float) -> None:
    (way,) = ways(client(rate))
    sizes = ladder(way, longest, math.inf)
    assert sizes[: loads.FEW] == [SIZES[0]] * loads.FEW
    assert all(size * 8 / way.goodput <= longest for size in sizes[loads.FEW :])
    assert sizes == sorted(sizes)


def test_no_message_is_a_large_part_of_a_devices_memory() -> None:
    (way,) = ways(client(1e10))
    assert ladder(way, 1.0, 1e6)[-1] == 256 * 2**10


def test_a_quick_way_has_as_many_messages_as_are_worth_it_and_a_slow_one_enough() -> None:
    def count(delay: str) -> int:
        made = ways_of(plan(link(channel(delay=delay))))
        return to_and_fro(made[0], made[1], 10.0)

    assert (count("0.1 ms"), count("2 s")) == (loads.DELAYS[1], loads.DELAYS[0])
    assert_close(count("50 ms"), 10.0 / 0.102, relative=0.02)


def test_all_are_busy_for_as_long() -> None:
    own = ways(client(8e6), client(80e6), client(1e6))
    sizes = at_once(own, 2.0)
    for way in own:
        assert_close(sum(sizes[way.client]) * 8 / way.rate, 2.0, relative=0.001)
        assert len(sizes[way.client]) >= loads.PARTS
        assert max(sizes[way.client]) <= SIZES[-1]


def test_all_at_once_is_not_more_than_a_host_can_hold() -> None:
    sizes = at_once(ways(*[client(1e9)] * 4, server=link({"rate": "unlimited"})), 60.0)
    assert sum(map(sum, sizes.values())) <= 1.01 * loads.MOST_BYTES
    unlimited = at_once(ways(link({"rate": "unlimited"}), server=link({"rate": "unlimited"})), 60.0)
    assert unlimited == {"c1": [loads.UNLIMITED_BYTES] * loads.PARTS}


# -- phases


def test_every_link_and_device_has_its_turn() -> None:
    made = plan(client(8e6), client(9e6))
    phases = made.runs[0].config["workload"]["phases"]
    assert [phase.get("client") for phase in phases if phase["kind"] == "alone"] == ["c1", "c2"]
    assert [list(phase["nodes"]) for phase in phases if phase["kind"] == "compute"] == [
        ["server"], ["c1"], ["c2"], ["server", "c1", "c2"]
    ]  # fmt: skip
    assert {"delay", "up", "down"} <= {phase["kind"] for phase in phases}
    assert conductor_of(made.nodes) == "server"


def test_of_many_alike_one_is_tested_alone_and_all_at_once() -> None:
    phases = plan(*[client(8e6)] * 30, client(9e6)).runs[0].config["workload"]["phases"]
    assert [phase["client"] for phase in phases if phase["kind"] == "alone"] == ["c1", "c31"]
    assert [len(phase["sizes"]) for phase in phases if phase["kind"] in ("up", "down")] == [31, 31]
    assert [len(phase["nodes"]) for phase in phases if phase["kind"] == "compute"] == [1, 1, 1, 32]


def test_a_testbed_of_one_node_has_its_device_alone() -> None:
    phases = plan().runs[0].config["workload"]["phases"]
    assert {phase["kind"] for phase in phases} == {"compute"}


def test_under_a_quota_work_takes_many_of_its_periods_and_a_tick_no_whole_one() -> None:
    made = plan(client(8e6)).model_copy(update={"compute": "quota"})
    (load,) = (phase["nodes"]["c1"] for phase in loads.phases(made) if list(phase.get("nodes", ())) == ["c1"])
    kernels = quota.bandwidth(0.1)  # what the board is of a core
    assert load["spins"] * load["spin_cpu"] >= 99 * kernels.quota
    assert 0 < load["tick_cpu"] < kernels.quota
    assert load["rest"] >= kernels.period


def test_under_the_smallest_quotas_work_does_not_take_minutes() -> None:
    made = plan(client(8e6), scale=50.0).model_copy(update={"compute": "quota"})
    for load in (load for phase in loads.phases(made) for load in phase.get("nodes", {}).values()):
        assert load["spins"] * load["spin_cpu"] * 10 * 50 <= 1.01 * loads.QUOTA_SECONDS


# -- entitlement


def given_rates(*own: float, shared: float, sharing: str) -> list[float]:
    server = link(channel(f"{shared:.9g} bit/s", sharing=sharing))
    found = entitled(ways(*map(client, own), server=server))
    return [found[f"c{k} up"] for k in range(1, len(own) + 1)]


@pytest.mark.parametrize(
    ("sharing", "expected"), [("fifo", [2e6, 4e6, 4e6]), ("fair", [2e6, 4e6, 4e6])], ids=["fifo", "fair"]
)
def test_a_wide_link_leaves_each_its_own(sharing: str, expected: list[float]) -> None:
    for found, rate in zip(given_rates(2e6, 4e6, 4e6, shared=1e9, sharing=sharing), expected, strict=True):
        assert_close(found, rate)


def test_a_narrow_link_is_shared_in_proportion_or_fairly() -> None:
    for found, rate in zip(given_rates(2e6, 8e6, 10e6, shared=10e6, sharing="fifo"), (1e6, 4e6, 5e6), strict=True):
        assert_close(found, rate)
    for found, rate in zip(given_rates(2e6, 8e6, 10e6, shared=10e6, sharing="fair"), (2e6, 4e6, 4e6), strict=True):
        assert_close(found, rate)


@given(st.lists(rates, min_size=1, max_size=6), rates, st.sampled_from(["fifo", "fair"]))
def test_nobody_gets_more_than_its_own_nor_all_more_than_there_is(
    own: list[float], shared: float, sharing: str
) -> None:
    found = given_rates(*own, shared=shared, sharing=sharing)
    assert all(got <= rate * (1 + 1e-6) for got, rate in zip(found, own, strict=True))
    assert sum(found) <= shared * (1 + 1e-6)
    assert sum(found) >= min(shared, sum(own)) * (1 - 1e-6)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_jains_index_is_1_where_all_are_alike_and_at_least_one_over_their_number(shares: list[float]) -> None:
    assert 1 / len(shares) - 1e-9 <= jain(shares) <= 1 + 1e-9
    assert_close(jain([shares[0]] * 5), 1.0)
    assert_close(jain([1.0, 0.0, 0.0, 0.0]), 0.25)
