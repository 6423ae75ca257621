import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from emulator.cgroup import Bandwidth
from emulator.errors import EdgebedError
from emulator.interruption import (
    BRIEFLY,
    FOR_LONG,
    LEAST_STEPS,
    UNDISTURBED,
    Interruption,
    Step,
    Wait,
    at_a_time,
    interruption,
    waiting,
)
from emulator.quota import LEAST_QUOTA, LONGEST_PERIOD, PERIOD, bandwidth
from tests.tolerance import assert_close

SHARE, TICK = FOR_LONG.cores, 0.004
LENGTH = at_a_time(FOR_LONG.quota, TICK)
PROBE = 5e-5
FREE = Step(1.0, 0.010, PROBE)
BRIEF = Step(BRIEFLY.cores, 0.0102, PROBE)


def throttled(cpu: float) -> Step:
    return Step(SHARE, cpu, PROBE)


def turns(free: Sequence[Step], held: Sequence[Step], times: int, brief: Sequence[Step] = (BRIEF,)) -> list[Step]:
    return [*free, *brief, *free, *held] * times + [*free]


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
    found = interruption(turns([FREE], [throttled(0.0125)], LEAST_STEPS), TICK)
    assert_close(found.long.cost, 0.2 * LENGTH, relative=1e-9, what="an interruption for long")
    assert_close(found.brief.cost, (1 - 1 / 1.02) * BRIEFLY.quota, relative=1e-9, what="a brief one")
    assert found.tick == TICK
    assert found.spread == (1.0,) * 9
    for held, cpu in ((FOR_LONG, 0.0125), (BRIEFLY, 0.0102), (None, 0.010)):
        assert_close(found.lengthened(0.010, held), cpu, relative=1e-9, what=f"the step under {held}")
    quicker = interruption(turns([FREE], [throttled(0.009)], LEAST_STEPS), TICK)
    assert quicker.long.cost == 0.0  # the host was, meanwhile


def made(tick: float, brief: float, long: float) -> Interruption:
    return Interruption(
        brief=Wait(seconds=waiting(BRIEFLY, tick), cost=brief), long=Wait(seconds=waiting(FOR_LONG, tick), cost=long),
        tick=tick,
    )  # fmt: skip


@given(
    st.floats(1e-3, 10.0), st.floats(0.0, 0.9), st.floats(0.0, 0.9), st.floats(0.0, 0.01), st.floats(1e-3, 0.99)
)  # fmt: skip
def test_each_interruption_takes_its_time(cpu: float, brief: float, long: float, tick: float, cores: float) -> None:
    length = at_a_time(LEAST_QUOTA, tick)
    found, held = made(tick, brief * length, long * length), bandwidth(cores)
    longer = found.lengthened(cpu, held)
    expected = cpu + longer / at_a_time(held.quota, tick) * found.cost(waiting(held, tick))
    assert_close(longer, expected, relative=1e-6, what="a step with its interruptions")


def test_the_longer_a_computation_waits_the_dearer_it_is_to_go_on() -> None:
    """A line over the logarithm of the wait, and no further than was measured."""
    found = made(TICK, 1e-4, 4e-4)
    brief, long = found.brief.seconds, found.long.seconds
    assert_close(found.cost((brief * long) ** 0.5), 2.5e-4, relative=1e-9, what="between the two")
    assert found.cost(brief / 10) == found.cost(brief) == 1e-4
    assert_close(found.cost(long * 10), 4e-4, relative=1e-9, what="beyond the longest")
    assert_close(waiting(Bandwidth(0.001, 0.020), 0.0), 0.019, relative=1e-9, what="a wait")
    found.lengthened(1.0, Bandwidth(LEAST_QUOTA, LONGEST_PERIOD))


def test_steps_are_compared_with_those_beside_them() -> None:
    """For a host's speed changes by the second; and a disturbance more or less does not count."""
    steps = [
        step
        for speed in (1.0 + 0.01 * number for number in range(4 * LEAST_STEPS))
        for step in (FREE, BRIEF, FREE, throttled(0.0125))
        for step in (step._replace(cpu=step.cpu / speed),)
    ]
    steps[7] = throttled(0.1)
    steps.append(FREE)
    found = interruption(steps, TICK)
    assert_close(found.lengthened(0.010, FOR_LONG), 0.0125, relative=0.01, what="the step")


def test_steps_are_told_as_at_one_speed_of_the_host() -> None:
    """Of which the probes before and after each step tell."""
    draw = random.Random(1)
    steady = turns([FREE, FREE], [throttled(0.0125)] * 3, LEAST_STEPS)
    probes = [PROBE * draw.choice([1.0, 1.44]) for _ in steady]
    steps = [
        Step(step.cores, step.cpu * math.sqrt(before * after) / PROBE, after)
        for step, before, after in zip(steady, probes[:1] + probes, probes, strict=False)
    ]
    found = interruption(steps, TICK)
    for held, cpu in ((FOR_LONG, 0.0125), (BRIEFLY, 0.0102)):
        assert_close(found.lengthened(0.010, held), cpu, relative=1e-6, what=f"the step under {held}")
    assert_close(found.spread[-1], 1.0, relative=1e-6, what="the most")
    unknown = [step._replace(probe=PROBE) for step in steps]
    assert interruption(unknown, TICK).spread[-1] > 1.01


def test_some_calls_take_half_as_long_again() -> None:
    found = interruption(turns([FREE], [throttled(cpu) for cpu in (0.012, 0.0125, 0.0125, 0.013, 0.01875)], 10), TICK)
    assert list(found.spread) == sorted(found.spread)
    assert found.spread[4] == 1.0
    assert_close(found.spread[0], 0.96, relative=1e-3, what="the least")
    assert_close(found.spread[-1], 1.5, relative=1e-3, what="the most")


@pytest.mark.parametrize("cores", [1.0, SHARE, math.inf])
def test_a_quota_that_was_not_in_force_is_an_error(cores: float) -> None:
    with pytest.raises(EdgebedError, match=r"under a quota of .* there were 0, \d are needed"):
        interruption([Step(cores, 0.01, PROBE)] * 50, TICK)


@pytest.mark.parametrize(("brief", "held"), [(BRIEF, FREE), (FREE, throttled(0.0125))])
def test_both_quotas_have_to_have_been_in_force(brief: Step, held: Step) -> None:
    with pytest.raises(EdgebedError, match=r"there were 0, \d are needed"):
        interruption(turns([FREE], [held], 20, [brief]), TICK)


def test_steps_without_a_quota_or_with_another_tell_nothing() -> None:
    strange = [Step(math.inf, 9.0, PROBE), Step(0.5, 9.0, PROBE)]
    assert UNDISTURBED.cores == 1.0
    with pytest.raises(EdgebedError, match=r"there were 0, \d are needed"):
        interruption(turns(strange, [throttled(0.0125)], 20), TICK)


def test_interruptions_that_leave_no_time_to_compute_are_no_calibration() -> None:
    with pytest.raises(ValidationError, match="leave no time to compute"):
        made(TICK, 0.0, 0.0025)
    with pytest.raises(ValidationError, match="is not shorter than the long one"):
        Interruption(brief=Wait(seconds=1e-2, cost=0.0), long=Wait(seconds=1e-3, cost=0.0), tick=TICK)
