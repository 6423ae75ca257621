"""Laws of a rate that changes over time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.trace import Trace
from tests.tolerance import assert_close


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    lengths = draw(st.lists(st.floats(1e-3, 10), min_size=1, max_size=8))
    rates = draw(st.lists(st.just(0.0) | st.floats(1e3, 1e9), min_size=len(lengths), max_size=len(lengths)))
    rates[draw(st.integers(0, len(rates) - 1))] = draw(st.floats(1e3, 1e9))
    times = [sum(lengths[:index]) for index in range(len(lengths))]
    return Trace(times, rates, sum(lengths))


@given(traces(), st.floats(0, 100), st.floats(1, 1e6))
def test_what_is_finished_has_been_carried(trace: Trace, start: float, nbytes: float) -> None:
    end = trace.finish(start, nbytes)
    assert end >= start
    assert_close(trace.carried(start, end), nbytes, relative=1e-6, absolute=1e-3)


@given(traces(), st.floats(0, 100), st.floats(0, 50), st.floats(0, 50))
def test_bytes_add_up_over_time(trace: Trace, start: float, first: float, second: float) -> None:
    middle, end = start + first, start + first + second
    whole = trace.carried(start, end)
    assert_close(trace.carried(start, middle) + trace.carried(middle, end), whole, relative=1e-6, absolute=1e-3)


def test_a_steady_trace_is_a_constant_rate() -> None:
    trace = Trace([0.0], [8e6], 1.0)
    assert_close(trace.finish(0.25, 3e6), 3.25, relative=1e-12)
    assert trace.rate(17.3) == trace.mean == 8e6


def test_nothing_goes_through_an_outage() -> None:
    trace = Trace([0.0, 1.0], [8e6, 0.0], 3.0)  # a second of 1 MB, then two of nothing
    assert trace.finish(0.0, 1e6) == 1.0
    assert trace.finish(0.0, 1e6 + 1) > 3.0
    assert trace.carried(1.0, 3.0) == 0.0
    assert trace.rate(2.0) == 0.0


@given(traces(), st.floats(0, 100), st.floats(0, 100), st.floats(0, 50))
def test_a_shifted_trace_carries_what_the_other_does_that_much_later(
    trace: Trace, offset: float, start: float, seconds: float
) -> None:
    shifted = trace.shifted(offset)
    there = trace.carried(offset + start, offset + start + seconds)
    assert_close(shifted.carried(start, start + seconds), there, relative=1e-6, absolute=1e-2)
    assert_close(shifted.mean, trace.mean)
    end = shifted.finish(start, 1e5)
    assert end > start
    assert_close(shifted.carried(start, end), 1e5, relative=1e-6, absolute=1e-2)


@given(traces(), st.floats(0, 100), st.floats(0, 50))
def test_the_pieces_of_a_shifted_trace_are_a_trace_themselves(trace: Trace, offset: float, end: float) -> None:
    shifted = trace.shifted(offset)
    again = Trace(shifted.times, shifted.rates, shifted.period)
    assert_close(again.carried(0.0, end), shifted.carried(0.0, end), relative=1e-6, absolute=1e-2)


@given(traces(), st.floats(0, 100), st.floats(0, 100), st.floats(1e3, 1e9), st.floats(0.1, 10))
def test_shifting_capping_and_scaling_do_not_get_in_each_other_s_way(
    trace: Trace, offset: float, at: float, cap: float, factor: float
) -> None:
    one = trace.shifted(offset).capped(cap).scaled(factor)
    other = trace.scaled(factor).capped(cap * factor).shifted(offset)
    assert_close(one.rate(at), other.rate(at))
    assert_close(one.rate(at), min(trace.shifted(offset).rate(at), cap) * factor)
    assert_close(one.mean, other.mean)


def test_what_is_the_same_in_any_case_is_no_other_trace() -> None:
    trace = Trace([0.0, 1.0], [8e6, 1e6], 3.0)
    assert trace.capped(8e6) is trace
    assert trace.scaled(1.0) is trace
    assert trace.shifted(3.0).times == trace.times
    with pytest.raises(ValueError, match="above 0"):
        trace.scaled(0.0)


@pytest.mark.parametrize(
    ("times", "rates", "period", "what"),
    [
        ([], [], 1.0, "at least one"),
        ([0.5], [1.0], 1.0, "begins at 0"),
        ([0.0, 2.0, 1.0], [1.0, 1.0, 1.0], 3.0, "rise"),
        ([0.0, 2.0], [1.0, 1.0], 2.0, "period"),
        ([0.0], [0.0], 1.0, "above 0"),
        ([0.0], [float("inf")], 1.0, "finite"),
    ],
)
def test_what_is_no_trace_is_refused(times: list[float], rates: list[float], period: float, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Trace(times, rates, period)
