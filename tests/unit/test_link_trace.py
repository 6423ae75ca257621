"""A link whose rate follows a trace."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.link import Link
from emulator.profiles import Channel, TraceProfile
from emulator.trace import Trace
from emulator.transport import goodput
from tests.tolerance import assert_close
from tests.unit.network_world import MB, MBIT, Send, Update, arrivals, channel, link, network


def traced(trace: Trace, rate: float = float("inf"), **others: Any) -> Channel:
    return Channel.model_construct(rate=rate, trace=TraceProfile.of("test", trace), **others)


def steps(*rates: float, each: float = 1.0) -> Trace:
    """So many Mbit/s for `each` second, one after the other."""
    return Trace([place * each for place in range(len(rates))], [rate * MBIT for rate in rates], each * len(rates))


pieces = st.lists(st.tuples(st.floats(0.01, 2), st.one_of(st.floats(1e3, 1e8), st.just(0.0))), min_size=1, max_size=6)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    drawn = draw(pieces.filter(lambda drawn: any(rate for _, rate in drawn)))
    times = [0.0]
    for seconds, _ in drawn:
        times.append(times[-1] + seconds)
    return Trace(times[:-1], [rate for _, rate in drawn], times[-1])


messages = st.lists(st.tuples(st.floats(0, 3), st.integers(0, MB)), min_size=1, max_size=10)


def test_a_message_takes_its_bits_at_the_rates_of_their_time() -> None:
    # 8 Mbit in the first second, 2 in the next, 6 of the 16 in the third: 16 Mbit.
    transfer = Link(traced(steps(8, 2, 16), delay=0.1)).send(0.0, 2 * MB)
    assert_close(transfer.sent, 2.375)
    assert_close(transfer.due, 2.475)


def test_a_trace_begins_anew_at_its_end_and_waits_out_its_gaps() -> None:
    link = Link(traced(steps(8, 0)))
    assert [link.send(0.5, MB).due, link.send(0.5, MB).due] == pytest.approx([2.5, 4.5])


def test_a_rate_beside_a_trace_is_its_cap() -> None:
    assert_close(Link(traced(steps(8, 2), rate=4 * MBIT)).send(0.0, 750_000).due, 2.0)


def test_loss_takes_its_share_of_each_rate() -> None:
    lossy = Link(traced(steps(8, 2), delay=0.02, loss=0.01))
    first, then = (goodput(rate * MBIT, 0.02, 0.01) for rate in (8, 2))
    assert first / 8 < then / 2  # the transport's response bounds the fast piece, the lost packets the slow one
    assert_close(lossy.rate, (first + then) / 2)
    assert_close(lossy.send(0.0, first / 8 + then / 16).sent, 1.5)


def test_the_backlog_drains_at_the_rates_of_the_trace() -> None:
    link = Link(traced(steps(8, 0, 4)))
    link.send(0.0, 1.25 * MB)
    backlogs = [link.backlog(now) for now in (0.0, 0.5, 1.0, 2.0, 2.25, 9.0)]
    assert backlogs == pytest.approx([1.25 * MB, 750_000, 250_000, 250_000, 125_000, 0])
    assert_close(link.below(125_000), 2.25)
    assert_close(link.below(MB), 0.25)
    assert link.below(2 * MB) <= 0.0


@pytest.mark.parametrize(
    ("at", "change", "due"),
    [
        (0.5, channel(4 * MBIT), 2.5),  # 1 MB left, at 4 Mbit/s
        (1.5, channel(4 * MBIT), 2.375),  # 437,500 bytes left
        (0.5, traced(steps(1, 15)), 1.5),  # 0.5 Mbit to 1.0 s, then 7.5 at 15
    ],
)
def test_a_change_in_mid_transfer_holds_for_what_is_left(at: float, change: Channel, due: float) -> None:
    link = Link(traced(steps(8, 1)))
    transfer = link.send(0.0, 1.5 * MB)
    link.update(at, change)
    assert_close(transfer.due, due)


def test_a_constant_rate_that_becomes_a_trace_follows_it_from_then_on() -> None:
    link = Link(channel(8 * MBIT))
    transfer = link.send(0.0, MB)
    link.update(0.5, traced(steps(8, 2)))
    assert_close(transfer.due, 1.0)
    link.update(0.75, traced(steps(0, 2)))
    assert_close(transfer.due, 2.0)


@given(traces(), messages, st.floats(0, 0.2))
def test_a_busy_link_carries_exactly_what_the_trace_does(trace: Trace, sent: Any, delay: float) -> None:
    link, now, busy_since, carried = Link(traced(trace, delay=delay)), 0.0, 0.0, 0
    free = 0.0
    for gap, nbytes in sent:
        now += gap
        if now > free:
            busy_since, carried = now, 0
        transfer = link.send(now, nbytes)
        carried, free = carried + nbytes, transfer.sent
        assert_close(trace.carried(busy_since, transfer.sent), carried, relative=1e-6, absolute=0.1, what="bytes")
        assert transfer.due == transfer.sent + delay


@given(traces(), messages, st.lists(st.floats(0, 20), max_size=4))
def test_never_more_than_the_trace_in_any_window_and_in_order(trace: Trace, sent: Any, looks: Sequence[float]) -> None:
    link, now, transfers = Link(traced(trace)), 0.0, []
    steps = [(time, None) for time in looks]
    for gap, nbytes in sent:
        now += gap
        steps.append((now, nbytes))
    for time, nbytes in sorted(steps, key=lambda step: step[0]):
        if nbytes is None:
            link.update(time, link.channel)  # it changes nothing
        else:
            transfers.append((link.send(time, nbytes), nbytes))
    assert all(one.due <= other.due for (one, _), (other, _) in pairwise(transfers))
    for start, (first, _) in enumerate(transfers):
        within = 0
        for last, nbytes in transfers[start + 1 :]:
            within += nbytes
            assert within <= trace.carried(first.sent, last.sent) * (1 + 1e-6) + 1


@given(traces(), st.integers(1, MB), st.integers(2, 9))
def test_splitting_a_message_changes_nothing(trace: Trace, nbytes: int, pieces: int) -> None:
    whole, parts = Link(traced(trace)), Link(traced(trace))
    last = [parts.send(0.3, nbytes / pieces) for _ in range(pieces)][-1]
    assert_close(last.due, whole.send(0.3, nbytes).due, relative=1e-6)


def test_a_network_carries_a_message_over_a_trace_and_a_change_of_it() -> None:
    up = link(up=traced(steps(8, 0, 4), delay=0.1))
    built = network(a=up, b=link(down=channel(100 * MBIT)))
    assert_close(arrivals(built, Send(0.0, "a", "b", int(1.25 * MB)))[0], 2.6, absolute=0.01, what="arrival")
    built = network(a=up, b=link(down=channel(100 * MBIT)))
    slower = link(up=channel(MBIT, delay=0.1))
    due = arrivals(built, Send(0.0, "a", "b", int(1.25 * MB)), Update(1.5, "a", slower))
    assert_close(due[0], 3.6, absolute=0.01, what="arrival")  # 2 Mbit left
