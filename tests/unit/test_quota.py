import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cgroup import Bandwidth
from emulator.errors import InputError, NodeFailure
from emulator.quota import LEAST_QUOTA, LONGEST_PERIOD, PERIOD, bandwidth, check, mode, short_stages, throttling
from emulator.timeline import Span
from tests.tolerance import assert_close

FINEST = 1e-6 / LEAST_QUOTA
"""A microsecond in the smallest quota."""


@pytest.mark.parametrize(
    ("cores", "quota", "period"),
    [(1.0, 0.010, 0.010), (0.25, 0.0025, 0.010), (0.05, 0.001, 0.020), (0.001, 0.001, 1.0)],
)
def test_the_period_is_short_but_where_the_kernel_wants_more(cores: float, quota: float, period: float) -> None:
    found = bandwidth(cores)
    assert_close(found.quota, quota)
    assert_close(found.period, period)


@given(st.floats(0.001, 1.0))
def test_every_share_has_a_quota_that_the_kernel_takes(cores: float) -> None:
    found = bandwidth(cores)
    assert_close(found.cores, cores, relative=FINEST)
    assert found.quota >= LEAST_QUOTA * (1 - FINEST)
    assert PERIOD * (1 - FINEST) <= found.period <= LONGEST_PERIOD * (1 + FINEST)
    for seconds in (found.quota, found.period):  # whole microseconds
        assert_close(seconds * 1e6, round(seconds * 1e6), absolute=1e-6)


def test_no_device_takes_more_than_a_core() -> None:
    assert bandwidth(1.5) == bandwidth(1.0)


def test_a_share_below_the_kernels_least_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.0005 cores is less than the kernel's least, 0\.001: lower time_scale"):
        bandwidth(0.0005)


@given(st.floats(0.001, 1.0))
def test_the_quota_that_was_set_is_accepted_when_read_back(cores: float) -> None:
    check(bandwidth(cores), cores, "a-board")


@pytest.mark.parametrize(
    ("in_force", "found"),
    [(None, "there is none"), (Bandwidth(0.07, 0.1), r"0.7 cores \(70 ms in each 100 ms\) are in force")],
)
def test_another_quota_is_refused_naming_both(in_force: Bandwidth | None, found: str) -> None:
    wanted = r"its device 'a-board' takes a CPU quota of 0.25 cores \(2.5 ms in each 10 ms\), but "
    with pytest.raises(NodeFailure, match=wanted + found):
        check(in_force, 0.25, "a-board")


@pytest.mark.parametrize(
    ("early", "throttled", "expected"),
    [
        (0.000, 9, "quota"),
        (0.015, 9, "quota"),  # the first quota came at once
        (0.025, 9, "stretched"),
        (0.005, 0, "stretched"),  # it never bit
        (0.005, None, "stretched"),
        (-0.005, 0, "quota"),  # slowed down by others: nothing to hold back
    ],
)
def test_a_stage_that_comes_early_was_too_short(early: float, throttled: int | None, expected: str) -> None:
    assert mode(0.1, early, throttled, period=0.010) == expected


def test_a_stage_too_short_for_the_quota_is_not_its_doing_when_a_timer_makes_it_late() -> None:
    assert mode(0.02, -0.001, throttled=0, period=0.010) == "stretched"
    assert mode(0.02, -0.001, throttled=1, period=0.010) == "quota"
    assert mode(0.05, -0.001, throttled=0, period=0.010) == "quota"


def stage(node: str, mode: str, cpu: float = 0.004, stage: str = "forward") -> Span:
    return Span("psl", 1, node, stage, 0, 1, due=1, cpu=cpu, mode=mode)


def test_what_was_too_short_is_summed_up_by_kind() -> None:
    spans = [stage("a", "stretched"), stage("a", "stretched"), stage("a", "quota"), stage("b", "stretched")]
    spans += [stage("b", "quota", stage="backward"), Span("psl", 1, "a", "uplink", 0, 1, peer="server")]
    assert short_stages(spans) == [
        "forward of a, b: 3 of 4 stages were too short for the CPU quota (4 ms of CPU time): held back"
    ]


def test_many_nodes_are_not_all_named() -> None:
    (line,) = short_stages(stage(f"client-{number}", "stretched") for number in range(10))
    assert line.startswith("forward of client-0 and 9 others: 10 of 10 stages ")


def test_nothing_too_short_is_nothing_to_say() -> None:
    assert short_stages([stage("a", "quota")]) == []


def test_a_whole_core_is_never_made_to_wait() -> None:
    assert throttling(1.0) is None
    assert throttling(0.5) == bandwidth(0.5)
