import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.link import Link, Transfer
from emulator.profiles import Channel
from emulator.transport import goodput, repair_delay
from tests.tolerance import assert_close

MB = 10**6
MBIT = 1e6


def channel(rate: float, **others: Any) -> Channel:
    return Channel.model_construct(rate=rate, **others)


rates = st.floats(1e3, 1e9)
delays = st.floats(0, 2)
channels = st.builds(channel, rates, delay=delays, jitter=st.floats(0, 0.5), loss=st.sampled_from([0.0, 0.001, 0.1]))
exact_channels = st.builds(channel, rates, delay=delays)
sizes = st.integers(0, MB)
draws = st.floats(-4, 4)
messages = st.lists(st.tuples(st.floats(0, 3), sizes, draws), min_size=1, max_size=12)
"""Seconds since the message before, bytes, and the jitter's draw."""
updates = st.lists(st.tuples(st.floats(0, 40), exact_channels), max_size=4)


def play(
    first: Channel,
    sent: Sequence[tuple[float, int, float]],
    changes: Sequence[tuple[float, Channel]] = (),
    pieces: int = 1,
) -> list[Transfer]:
    """The last transfer of each message, after all messages and changes took place in order of time."""
    link, now, last = Link(first), 0.0, []
    steps: list[tuple[float, int, Any]] = [(time, 0, change) for time, change in changes]
    for gap, nbytes, draw in sent:
        now += gap
        steps.append((now, 1, (nbytes, draw)))
    for time, _, step in sorted(steps, key=lambda step: step[:2]):
        if isinstance(step, Channel):
            link.update(time, step)
            continue
        nbytes, draw = step
        parts = [nbytes // pieces] * (pieces - 1)
        last.append([link.send(time, part, jitter=draw) for part in [*parts, nbytes - sum(parts)]][-1])
    return last


def capacity(first: Channel, changes: Sequence[tuple[float, Channel]], until: float) -> float:
    """Bits that the link can carry from 0 to `until`."""
    times, in_force = [0.0], [first.rate]
    for time, change in sorted(changes, key=lambda change: change[0]):
        times.append(time)
        in_force.append(change.rate)
    at = bisect_right(times, until)
    ends = [*times[1:at], until]
    return sum((end - start) * rate for start, end, rate in zip(times[:at], ends, in_force[:at], strict=True))


# -- without changes


def test_a_message_takes_its_bits_over_the_rate_and_then_the_delay() -> None:
    transfer = Link(channel(8 * MBIT, delay=0.05)).send(10.0, 4 * MB)
    assert_close(transfer.begun, 10.0)
    assert_close(transfer.sent, 14.0)
    assert_close(transfer.due, 14.05)


def test_messages_share_the_rate_first_come_first_served() -> None:
    link = Link(channel(8 * MBIT))
    assert [link.send(0.0, MB).due, link.send(0.5, MB).due, link.send(5.0, MB).due] == pytest.approx([1.0, 2.0, 6.0])


def test_delay_does_not_cap_the_rate() -> None:
    link = Link(channel(10 * MBIT, delay=5.0))
    last = [link.send(0.0, 125_000) for _ in range(100)][-1]  # 1 Mbit each
    assert_close(last.due, 10.0 + 5.0)


@given(sizes, st.floats(0, 1e6), delays)
def test_unlimited_leaves_the_delay_alone(nbytes: int, now: float, delay: float) -> None:
    assert Link(channel(math.inf, delay=delay)).send(now, nbytes).due == now + delay


def test_what_came_over_a_slower_link_is_passed_on_as_it_comes() -> None:
    # Its bytes came from 0 to 4 s; this link needs 1 s for them and has done all but the last by then.
    assert_close(Link(channel(8 * MBIT, delay=0.1)).send(4.0, MB, since=0.0).due, 4.1)


def test_what_came_over_a_faster_link_is_begun_with_its_first_byte() -> None:
    assert_close(Link(channel(8 * MBIT, delay=0.1)).send(0.5, MB, since=0.0).due, 1.1)


def test_jitter_is_its_draw_times_the_standard_deviation() -> None:
    link = Link(channel(8 * MBIT, delay=0.5, jitter=0.1))
    assert_close(link.send(0.0, MB, jitter=-2.0).due, 1.0 + 0.3)
    assert_close(link.send(0.0, MB, jitter=1.0).due, 2.0 + 0.6)


def test_jitter_never_makes_a_delay_negative() -> None:
    assert_close(Link(channel(8 * MBIT, delay=0.1, jitter=1.0)).send(0.0, MB, jitter=-3.0).due, 1.0)


def test_what_would_overtake_by_jitter_waits() -> None:
    link = Link(channel(math.inf, delay=1.0, jitter=0.5))
    assert [link.send(0.0, 1, jitter=1.0).due, link.send(0.1, 1, jitter=-1.0).due] == [1.5, 1.5]


def test_loss_costs_goodput_and_delay() -> None:
    transfer = Link(channel(8 * MBIT, delay=0.05, loss=0.01)).send(0.0, MB)
    sent = 8 * MB / goodput(8 * MBIT, 0.05, 0.01)
    assert_close(transfer.sent, sent)
    assert_close(transfer.due, sent + 0.05 + repair_delay(0.05, 0.01))


def test_the_backlog_drains_at_the_rate() -> None:
    link = Link(channel(8 * MBIT))
    link.send(0.0, MB)
    assert [link.backlog(now) for now in (0.0, 0.25, 1.0, 9.0)] == pytest.approx([1e6, 750_000, 0, 0])
    assert_close(link.below(250_000), 0.75)
    assert link.backlog(link.below(250_000)) == pytest.approx(250_000)


def test_nothing_waits_for_an_unlimited_link() -> None:
    link = Link(channel(math.inf, delay=1.0))
    link.send(0.0, MB)
    assert link.backlog(0.0) == 0


@pytest.mark.parametrize(
    ("link", "nothing"),
    [
        (channel(math.inf), True),
        (channel(math.inf, loss=0.1), True),  # without a delay, a lost packet is sent again at no cost
        (channel(math.inf, delay=1e-6), False),
        (channel(math.inf, jitter=1e-6), False),
        (channel(1e12), False),
        (channel(math.inf, delay=0.01, loss=0.1), False),
    ],
)
def test_only_a_link_without_limit_delay_and_jitter_promises_nothing(link: Channel, nothing: bool) -> None:
    assert Link(link).promises_nothing is nothing


# -- changes, with figures worked out by hand


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ([(2.0, 4)], 6.0),  # 2 MB left at 4 Mbit/s: 4 s
        ([(1.0, 16)], 2.5),  # 3 MB left at 16 Mbit/s: 1.5 s
        ([(1.0, 4), (3.0, 16)], 4.0),  # 8, then 8, then 16 Mbit
        ([(2.0, math.inf)], 2.0),
        ([(4.0, 1)], 4.0),  # it is there already
        ([(0.0, 4)], 8.0),  # not a bit is sent
    ],
)
def test_a_new_rate_holds_for_what_is_left_of_a_message(changes: list[tuple[float, float]], due: float) -> None:
    link = Link(channel(8 * MBIT))
    transfer = link.send(0.0, 4 * MB)
    for now, rate in changes:
        link.update(now, channel(rate * MBIT))
    assert_close(transfer.due, due)


def test_a_new_rate_holds_for_what_waits() -> None:
    link = Link(channel(8 * MBIT))
    first, second = link.send(0.0, 4 * MB), link.send(0.0, MB)
    link.update(2.0, channel(4 * MBIT))
    assert_close(first.due, 6.0)
    assert_close(second.begun, 6.0)
    assert_close(second.due, 8.0)
    assert_close(link.send(7.0, MB).due, 10.0)


def test_a_new_delay_holds_for_what_is_under_way() -> None:
    link = Link(channel(8 * MBIT, delay=1.0))
    transfer = link.send(0.0, MB)
    link.update(1.5, channel(8 * MBIT, delay=3.0))
    assert_close(transfer.due, 4.0)


def test_a_shorter_delay_lets_nothing_arrive_in_the_past() -> None:
    link = Link(channel(8 * MBIT, delay=1.0))
    transfer = link.send(0.0, MB)
    link.update(1.5, channel(8 * MBIT, delay=0.1))
    assert_close(transfer.due, 1.5)


def test_a_new_rate_leaves_alone_what_is_on_its_way() -> None:
    link = Link(channel(math.inf, delay=1.0))
    transfer = link.send(0.0, MB)
    link.update(0.5, channel(1.0, delay=1.0))
    assert_close(transfer.due, 1.0)


def test_new_loss_is_a_lower_rate_for_what_is_left() -> None:
    link = Link(channel(8 * MBIT))
    transfer = link.send(0.0, 4 * MB)
    link.update(2.0, channel(8 * MBIT, loss=0.2))
    assert_close(transfer.due, 2.0 + 2.0 / 0.8)


# -- laws


@given(exact_channels, messages, updates)
def test_throughput_never_exceeds_the_rate(first: Channel, sent: Any, changes: Any) -> None:
    transfers = play(first, sent, changes)
    nbytes = [size for _, size, _ in sent]
    carried = [capacity(first, changes, transfer.sent) for transfer in transfers]
    for start in range(len(transfers)):
        for end in range(start + 1, len(transfers)):
            bits = 8 * sum(nbytes[start + 1 : end + 1])
            assert bits <= (carried[end] - carried[start]) * (1 + 1e-6) + 1e-6 * carried[end] + 1


@given(exact_channels, st.lists(sizes, min_size=1, max_size=12), updates)
def test_bytes_are_conserved(first: Channel, nbytes: list[int], changes: Any) -> None:
    # A link that is never idle has carried what it can, all of it and no more, whenever a message is through.
    transfers = play(first, [(0.0, size, 0.0) for size in nbytes], changes)
    for place, transfer in enumerate(transfers):
        bits = 8 * sum(nbytes[: place + 1])
        carried = capacity(first, changes, transfer.sent)
        assert_close(carried, bits, relative=1e-6, absolute=1, what="bits carried")


@given(channels, messages, st.lists(st.tuples(st.floats(0, 40), channels), max_size=4))
def test_order_is_kept(first: Channel, sent: Any, changes: Any) -> None:
    transfers = play(first, sent, changes)
    assert all(before.sent <= after.sent and before.due <= after.due for before, after in pairwise(transfers))


@given(channels, messages)
def test_nothing_arrives_before_it_is_sent(first: Channel, sent: Any) -> None:
    now = 0.0
    for (gap, _, _), transfer in zip(sent, play(first, sent), strict=True):
        now += gap
        assert now <= transfer.begun <= transfer.sent <= transfer.due


@given(channels, messages, updates, st.integers(2, 9))
def test_splitting_a_message_changes_nothing(first: Channel, sent: Any, changes: Any, pieces: int) -> None:
    for whole, last in zip(play(first, sent, changes), play(first, sent, changes, pieces), strict=True):
        assert_close(last.sent, whole.sent)
        assert_close(last.due, whole.due)


@given(channels, messages, st.lists(st.floats(0, 40), max_size=6))
def test_an_update_to_the_same_profile_changes_nothing(first: Channel, sent: Any, times: list[float]) -> None:
    for left_alone, updated in zip(play(first, sent), play(first, sent, [(now, first) for now in times]), strict=True):
        assert_close(updated.sent, left_alone.sent)
        assert_close(updated.due, left_alone.due)


@given(channels, messages, st.floats(0, 20), channels)
def test_an_update_leaves_the_past_alone_and_moves_nothing_into_it(
    first: Channel, sent: Any, now: float, change: Channel
) -> None:
    for before, after in zip(play(first, sent), play(first, sent, [(now, change)]), strict=True):
        if before.due <= now:
            assert after.due == before.due
        else:
            assert after.due >= now


@given(channels, st.floats(0, 1), draws)
def test_a_faster_link_is_never_later(slow: Channel, share: float, draw: float) -> None:
    fast = slow.model_copy(update={"rate": slow.rate * (1 + share)})
    assert Link(fast).send(0.0, MB, jitter=draw).due <= Link(slow).send(0.0, MB, jitter=draw).due
