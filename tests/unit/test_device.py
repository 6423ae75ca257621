import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.device import (
    HEADROOM,
    LEAST_CEILING,
    check_scale,
    cpu_ceilings,
    due,
    least_scale,
    shares,
    slowdown,
    stretched,
)
from emulator.errors import InputError
from tests.tolerance import assert_close

GFLOP = 1e9
devices = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(1e-6, 1e5), max_size=6)
"""The share of a host core that each needs."""
cores = st.integers(1, 256)


def test_a_device_is_slower_by_the_ratio_of_the_throughputs() -> None:
    assert slowdown(training=10 * GFLOP, core=40 * GFLOP) == 4.0
    assert slowdown(training=80 * GFLOP, core=40 * GFLOP) == 0.5


def test_an_unthrottled_device_is_a_core_of_the_host() -> None:
    assert slowdown(math.inf, 40 * GFLOP) == 1.0
    assert shares({"server": math.inf, "a": 10 * GFLOP}, core=40 * GFLOP) == {"server": 1.0, "a": 0.25}


@given(st.floats(1e8, 1e13), st.floats(1e8, 1e13), st.floats(0, 100))
def test_a_stage_takes_its_operations_over_the_throughput(training: float, core: float, cpu: float) -> None:
    assert_close(stretched(cpu, slowdown(training, core)), cpu * core / training, what="seconds of the device")


@pytest.mark.parametrize(
    ("needed", "on_cores", "scale"),
    [
        ({}, 2, 1.0),
        ({"a": 0.1}, 2, 1.0),
        ({"a": HEADROOM}, 2, 1.0),
        ({"a": 2.0}, 8, 2.5),  # one core with its headroom
        ({"a": 1.0, "b": 1.0, "c": 2.0}, 2, 2.5),  # all cores with theirs
        ({"a": 0.9}, 8, 1.2),  # 1.125, rounded up
        ({"a": 100.0}, 8, 130.0),
        ({"a": 1e4}, 64, 13_000.0),
    ],
)
def test_the_least_scale_leaves_headroom(needed: dict[str, float], on_cores: int, scale: float) -> None:
    assert least_scale(needed, on_cores) == scale


@given(devices, cores)
def test_at_the_least_scale_every_device_and_all_together_fit(needed: dict[str, float], on_cores: int) -> None:
    scale = least_scale(needed, on_cores)
    check_scale(needed, scale, on_cores)
    assert max(needed.values(), default=0) <= scale * HEADROOM * (1 + 1e-9)
    assert sum(needed.values()) <= scale * HEADROOM * on_cores * (1 + 1e-9)


@given(devices, cores)
def test_the_least_scale_is_not_much_more_than_it_must_be(needed: dict[str, float], on_cores: int) -> None:
    scale = least_scale(needed, on_cores)
    assert scale >= 1
    exact = max(1.0, max(needed.values(), default=0) / HEADROOM, sum(needed.values()) / HEADROOM / on_cores)
    assert scale <= exact * 1.1 * (1 + 1e-9)
    assert float(f"{scale:.2g}") == scale


def test_a_device_up_to_the_core_s_speed_is_accepted() -> None:
    check_scale({"a": 1.0, "b": 0.2}, 1.0, 2)
    check_scale({}, 1.0, 2)


def test_a_device_faster_than_a_core_is_refused_with_the_scale_that_would_do() -> None:
    with pytest.raises(InputError) as refused:
        check_scale({"a": 0.5, "server": 3.0}, 1.5, 2)
    assert str(refused.value) == (
        "server: its device is 2 times as fast as a core of this host at time scale 1.5: "
        "set time_scale to 3.8, or to auto"
    )


@given(devices, st.floats(0.01, 1e5), cores)
def test_the_scale_that_a_refusal_names_is_accepted(needed: dict[str, float], scale: float, on_cores: int) -> None:
    try:
        check_scale(needed, scale, on_cores)
    except InputError as error:
        named = re.search(r"set time_scale to (\S+), or to auto$", str(error))
        assert named is not None
        assert float(named[1]) > scale
        check_scale(needed, float(named[1]), on_cores)


slows = st.floats(0.1, 1e4)
times = st.floats(0, 1e3)
changes = st.lists(st.tuples(times, slows), max_size=5).map(sorted)


@given(times, st.floats(0, 100), slows)
def test_without_a_change_a_stage_is_due_as_stretched(start: float, cpu: float, slow: float) -> None:
    assert due(start, cpu, [(0, slow)]) == start + stretched(cpu, slow)


@given(times, st.floats(0, 100), slows, slows)
def test_a_change_at_its_start_or_before_counts_as_if_it_had_always_been(
    start: float, cpu: float, before: float, after: float
) -> None:
    assert_close(due(start, cpu, [(0, before), (start, after)]), start + stretched(cpu, after), what="due")


def test_a_change_in_between_is_felt_by_what_is_left() -> None:
    # One of two CPU seconds is done by 4 s; the other one takes the new device ten times as long.
    assert due(0, 2, [(0, 4), (4, 10)]) == 14
    assert due(0, 2, [(0, 4), (4, 1)]) == 5
    assert due(0, 2, [(0, 4), (8, 1)]) == 8  # too late


@given(times, st.floats(0, 50), st.floats(0, 50), slows, changes)
def test_work_in_two_parts_is_due_as_in_one(
    start: float, first: float, second: float, slow: float, more: list[tuple[float, float]]
) -> None:
    slowdowns = [(0.0, slow), *more]
    in_two = due(due(start, first, slowdowns), second, slowdowns)
    assert_close(in_two, due(start, first + second, slowdowns), relative=1e-6, what="due")


@given(times, st.floats(0.001, 50), slows, changes)
def test_more_speed_at_any_time_is_never_later(
    start: float, cpu: float, slow: float, more: list[tuple[float, float]]
) -> None:
    slowdowns = [(0.0, slow), *more]
    faster = [(at, slow / 2) for at, slow in slowdowns]
    assert due(start, cpu, faster) <= due(start, cpu, slowdowns) + 1e-9


def test_a_ceiling_is_relative_to_the_fastest_device_with_a_limit() -> None:
    devices = {"fast": 80 * GFLOP, "slower": 60 * GFLOP, "slow": 4 * GFLOP, "host": math.inf}
    assert cpu_ceilings(devices) == {"fast": 1.0, "slower": 0.75, "slow": LEAST_CEILING, "host": 1.0}
    assert cpu_ceilings({}) == {}


@given(
    st.dictionaries(st.text("abc", min_size=1), st.floats(1e8, 1e13) | st.just(math.inf)), st.floats(1e9, 1e11), cores
)
def test_a_ceiling_leaves_a_device_what_it_takes(devices: dict[str, float], core: float, on_cores: int) -> None:
    needed = shares(devices, core)
    scale = least_scale(needed, on_cores)
    for name, ceiling in cpu_ceilings(devices).items():
        assert min(1.0, needed[name] / scale / HEADROOM) <= ceiling * (1 + 1e-9)
