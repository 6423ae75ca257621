import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.response import Call, Response
from tests.tolerance import assert_close

slopes = st.floats(0.0, 1.0)
probes = st.floats(1e-6, 1e-3)
PROBE = 5e-5


def calls(usual: float, slope: float, states: list[float], noise: float = 0.0) -> list[Call]:
    """Of a computation of `usual` CPU seconds where a core is so many times slower for the probe; each probe is off by
    chance, up to so many times."""
    draw = random.Random(1)

    def probe(times: float) -> float:
        return PROBE * times * math.exp(draw.uniform(-noise, noise))

    return [Call(usual * times**slope, own := probe(times), own, probe(times)) for times in states]


@given(slopes, st.floats(1e-4, 1.0), st.floats(1e-4, 1.0))
def test_a_slope_is_found_of_kinds_that_each_follow_the_probe_by_it(slope: float, one: float, other: float) -> None:
    states = [1.0] * 8 + [1.5] * 8
    found = Response.of([calls(one, slope, states), calls(other, slope, states)])
    assert found is not None
    assert_close(found.slope, slope, absolute=1e-6, what="slope")
    assert_close(found.usual, PROBE * 1.25, relative=1e-9, what="the usual probe")


def test_kinds_are_compared_with_themselves_alone() -> None:
    """The longer computation came while the cores were slow, and is not longer for that."""
    found = Response.of([calls(0.001, 0.5, [1.0] * 20), calls(1.0, 0.5, [1.5] * 20)])
    assert found is not None
    assert found.slope == 0.0


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.6])
def test_that_probes_are_off_by_chance_does_not_flatten_the_slope(noise: float) -> None:
    """That of the line through the same points is 0.64, 0.40 and 0.18: no probe is an instrument for itself."""
    draw = random.Random(2)
    states = [draw.choice([1.0, 1.5]) for _ in range(4000)]
    found = Response.of([calls(0.01, 0.7, states, noise)])
    assert found is not None
    assert_close(found.slope, 0.7, absolute=0.06, what="slope")
    itself = Response.of([[call._replace(others=call.own) for call in calls(0.01, 0.7, states, noise)]])
    assert itself is not None
    assert itself.slope < found.slope - noise / 4


def test_some_calls_that_take_longer_for_another_reason_count_little() -> None:
    draw = random.Random(1)
    steady = calls(0.01, 0.6, [draw.choice([1.0, 1.5]) for _ in range(400)], 0.03)
    others = [call._replace(cpu=9 * call.cpu) if draw.random() < 0.05 else call for call in steady]
    found = Response.of([others])
    assert found is not None
    assert_close(found.slope, 0.6, absolute=0.1, what="slope")


@pytest.mark.parametrize(("states", "noise"), [([1.0] * 300, 0.03), ([1.0, 1.5], 0.0), ([1.0], 0.0)])
def test_of_a_steady_host_or_of_few_calls_no_slope_is_known(states: list[float], noise: float) -> None:
    found = Response.of([calls(0.01, 0.6, states, noise)])
    assert found is not None
    assert found.slope == 0.0
    assert found.factor(1.0) == 1.0


@pytest.mark.parametrize(("slope", "held"), [(1.7, 1.0), (-0.4, 0.0)])
def test_a_slope_beyond_reason_is_held(slope: float, held: float) -> None:
    found = Response.of([calls(0.01, slope, [1.0, 1.2] * 10)])
    assert found is not None
    assert found.slope == held


def test_without_a_probe_nothing_is_known() -> None:
    assert Response.of([[Call(0.1, None)], []]) is None
    known = Response.of([[Call(0.1, None), Call(0.1, 5e-5)]])
    assert known is not None
    assert known.usual == 5e-5
    assert known.at_usual(Call(0.1, None)) == 0.1
    assert known.over([Call(0.1, None)]) is None


@given(slopes, probes, probes, st.floats(1e-4, 10.0))
def test_what_was_slow_is_told_as_it_would_have_been(slope: float, usual: float, probe: float, cpu: float) -> None:
    found = Response(usual=usual, slope=slope)
    assert found.factor(usual) == 1.0
    assert_close(found.at_usual(Call(cpu * found.factor(probe), probe)), cpu, relative=1e-9, what="at the usual speed")
    slower = found.over([Call(cpu, probe), Call(3 * cpu, probe)])
    assert slower is not None
    assert_close(slower, math.pow(probe / usual, slope), relative=1e-9, what="how many times as long")
