import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from emulator.errors import EdgebedError
from emulator.interruption import INTERRUPTED, LEAST_STEPS, UNDISTURBED, Interruption, Step, at_a_time, interruption
from emulator.quota import PERIOD
from tests.tolerance import assert_close

SHARE, TICK = INTERRUPTED.cores, 0.004
LENGTH = at_a_time(INTERRUPTED.quota, TICK)
FREE = Step(1.0, 0.010, 0)


def throttled(cpu: float) -> Step:
    """A step under the quota, where the kernel looks every TICK."""
    return Step(SHARE, cpu, round(cpu / LENGTH))


def turns(free: Sequence[Step], held: Sequence[Step], times: int) -> list[Step]:
    return [*free, *held] * times + [*free]


def pieces(quota: float, tick: float, count: int) -> list[float]:
    """What a kernel lets a computation have at a time that looks at quotas at ticks alone, and takes back in later
    periods what was too much; ticks come at any time of a period."""
    draw = random.Random(1)
    lengths, start, left = list[float](), 0.0, quota
    for _ in range(count):
        periods, end = math.floor(start / PERIOD), start + draw.uniform(0, tick)
        while left + quota * (math.floor(end / PERIOD) - periods) > end - start:
            end += tick
        lengths.append(end - start)
        left += quota * (math.floor(end / PERIOD) - periods) - lengths[-1]
        waited = math.floor(-left / quota) + 1
        left += waited * quota
        start = (math.floor(end / PERIOD) + waited) * PERIOD
    return lengths


@pytest.mark.parametrize("tick", [0.001, 0.004, 0.010])
@pytest.mark.parametrize("quota", [0.001, 0.00156, 0.003, 0.005])
def test_a_computation_gets_more_at_a_time_than_a_quota_that_the_kernel_seldom_looks_at(
    quota: float, tick: float
) -> None:
    assert_close(
        statistics.fmean(pieces(quota, tick, 10_000)), at_a_time(quota, tick), relative=0.12, what="seconds at a time"
    )


def test_a_kernel_that_always_looks_gives_no_more_than_the_quota() -> None:
    assert at_a_time(0.001, 0.0) == at_a_time(0.001, 0.001) == 0.001


def test_an_interruption_costs_what_steps_take_longer_by_it() -> None:
    found = interruption(turns([FREE], [throttled(0.0125)], LEAST_STEPS))
    assert_close(found.seconds, 0.2 * LENGTH, relative=1e-9, what="an interruption")
    assert_close(found.tick, TICK, relative=1e-9, what="the tick")
    assert found.spread == (1.0,) * 9
    assert_close(found.lengthened(0.010, INTERRUPTED.quota), 0.0125, relative=1e-9, what="the step")
    assert found.lengthened(0.010, math.inf) == 0.010
    quicker = interruption(turns([FREE], [throttled(0.009)], LEAST_STEPS))
    assert quicker.seconds == 0.0  # the host was, meanwhile


@given(st.floats(1e-3, 10.0), st.floats(0.0, 0.9), st.floats(0.0, 0.01), st.floats(1e-3, 0.01))
def test_each_interruption_takes_its_time(cpu: float, share: float, tick: float, allowed: float) -> None:
    made = Interruption(seconds=share * at_a_time(1e-3, tick), tick=tick)
    longer = made.lengthened(cpu, allowed)
    interruptions = longer / at_a_time(allowed, tick)
    assert_close(longer, cpu + interruptions * made.seconds, relative=1e-6, what="a step with its interruptions")


def test_steps_are_compared_with_those_beside_them() -> None:
    """For a host's speed changes by the second; and a disturbance more or less does not count."""
    steps = [
        step
        for speed in (1.0 + 0.01 * number for number in range(4 * LEAST_STEPS))
        for step in (Step(1.0, 0.010 / speed, 0), Step(SHARE, 0.0125 / speed, 5))
    ]
    steps[5] = Step(SHARE, 0.1, 40)
    steps.append(FREE)
    found = interruption(steps)
    assert_close(found.lengthened(0.010, INTERRUPTED.quota), 0.0125, relative=0.01, what="the step")


def test_some_calls_take_half_as_long_again() -> None:
    found = interruption(turns([FREE], [throttled(cpu) for cpu in (0.012, 0.0125, 0.0125, 0.013, 0.01875)], 10))
    assert list(found.spread) == sorted(found.spread)
    assert found.spread[4] == 1.0
    assert_close(found.spread[0], 0.96, relative=1e-3, what="the least")
    assert_close(found.spread[-1], 1.5, relative=1e-3, what="the most")


@pytest.mark.parametrize("cores", [1.0, SHARE, math.inf])
def test_a_quota_that_was_not_in_force_is_an_error(cores: float) -> None:
    with pytest.raises(EdgebedError, match=r"under a quota of .* there were 0, \d are needed"):
        interruption([Step(cores, 0.01, 0)] * 50)


def test_steps_without_a_quota_or_with_another_tell_nothing() -> None:
    strange = [Step(math.inf, 9.0, 0), Step(0.5, 9.0, 0)]
    assert UNDISTURBED.cores == 1.0
    with pytest.raises(EdgebedError, match=r"there were 0, \d are needed"):
        interruption(turns(strange, [throttled(0.0125)], 20))


def test_interruptions_that_leave_no_time_to_compute_are_no_calibration() -> None:
    with pytest.raises(ValidationError, match="leave no time to compute"):
        Interruption(seconds=0.0025, tick=TICK)
