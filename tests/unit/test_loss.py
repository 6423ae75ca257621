"""Random loss and bursts, beside a sender that meets them packet by packet (see tests/reno.py)."""

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.loss import DOUBLINGS, Losses
from emulator.profiles import Burst, Channel
from emulator.transport import SEGMENT, TIMEOUT, goodput, payload, repair_delay, response, round_trips
from tests.reno import lost, segments_per_round_trip
from tests.tolerance import assert_close


@st.composite
def chains(draw: st.DrawFn) -> Losses:
    enter = draw(st.floats(1e-6, 0.9))
    return Losses(enter, draw(st.floats(1e-6, 1 - enter)), draw(st.floats(0, 0.9)), draw(st.floats(1e-6, 1)))


def burst(enter: float, leave: float, loss: float) -> Burst:
    return Burst(enter=f"{100 * enter!r} %", leave=f"{100 * leave!r} %", loss=f"{100 * loss!r} %")


# -- the chain


@pytest.mark.parametrize(
    "losses", [Losses(0.01, 0.2, 0.001, 0.6), Losses(0.05, 0.5, 0.0, 1.0), Losses(0.9, 0.8, 0.1, 0.3)]
)
def test_the_mean_and_the_event_rate_are_those_of_packets_drawn(losses: Losses) -> None:
    packets, window = 400_000, 10
    drawn = [next(fate) for fate in [lost(losses, 1)] for _ in range(packets)]
    assert_close(statistics.fmean(drawn), losses.mean, relative=0.04, what="share lost")
    events, at = 0, 0
    while at < packets:
        if drawn[at]:
            events, at = events + 1, at + window
        else:
            at += 1
    assert_close(events / packets, losses.event(window)[0], relative=0.03, what="loss event rate")


@given(st.floats(1e-9, 0.99), st.floats(1, 1000))
def test_independent_losses_have_the_event_rate_of_waiting_for_one(loss: float, window: float) -> None:
    event, _ = Losses.of(loss, None).event(window)
    assert_close(event, 1 / (window - 1 + 1 / loss), relative=1e-9)


@given(chains(), st.floats(1, 1000))
def test_an_event_is_no_more_frequent_than_losses_or_windows(losses: Losses, window: float) -> None:
    event, begun = losses.event(window)
    assert 0 < event <= min(1 / window, losses.mean) * (1 + 1e-9)
    assert_close(float(begun.sum()), 1.0)


def test_the_longer_the_bursts_the_fewer_the_events() -> None:
    def events(length: float) -> float:
        return Losses(0.01 / length, 1 / length, 0.0, 0.5).event(20)[0]  # about as many packets lost

    assert [events(length) for length in (2, 5, 10, 20)] == sorted((events(n) for n in (2, 5, 10, 20)), reverse=True)


# -- goodput, beside an event-driven sender


@pytest.mark.parametrize(("loss", "tolerance"), [(0.001, 0.15), (0.01, 0.15), (0.03, 0.20), (0.05, 0.25)])
def test_random_loss_slows_as_it_slows_a_sender(loss: float, tolerance: float) -> None:
    sender = segments_per_round_trip(Losses.of(loss, None), packets=60_000, seed=1)
    said = 1 / round_trips(loss)
    assert_close(said, sender, relative=tolerance, what="segments a round trip")
    assert said < sender * 1.02, "the formula is on the safe side"


# Bursts of 2 to 100 packets: short ones of total loss, longer ones of less.
@pytest.mark.parametrize(
    ("enter", "leave", "loss"),
    [
        (0.001, 0.5, 1.0),
        (0.01, 0.5, 1.0),
        (0.001, 0.05, 0.5),
        (0.01, 0.3, 0.5),
        (0.01, 0.1, 0.5),
        (0.02, 0.5, 0.5),
        (0.05, 0.5, 0.3),
        (0.001, 0.1, 0.2),
        (0.0005, 0.02, 0.2),
        (0.001, 0.01, 0.1),
    ],
)
def test_bursts_slow_as_they_slow_a_sender(enter: float, leave: float, loss: float) -> None:
    losses = Losses(enter, leave, 0.0, loss)
    sender = statistics.fmean(segments_per_round_trip(losses, packets=40_000, seed=seed) for seed in (1, 2))
    assert_close(1 / round_trips(0.0, burst(enter, leave, loss)), sender, relative=0.30, what="segments a round trip")
    # As many losses one by one would slow it more: a burst is one event.
    assert 1 / round_trips(losses.mean) < sender


# Of half of the packets or all, and about as long as the window or longer: there are the formula's limits.
@pytest.mark.parametrize(
    ("enter", "leave", "loss"),
    [
        (0.001, 0.2, 1.0),
        (0.001, 0.1, 1.0),
        (0.001, 0.05, 1.0),
        (0.01, 0.2, 1.0),
        (0.003, 0.05, 1.0),
        (0.001, 0.02, 0.5),
    ],
)
def test_bursts_that_outlast_the_window_are_told_to_within_a_factor(enter: float, leave: float, loss: float) -> None:
    losses = Losses(enter, leave, 0.0, loss)
    # As many packets of each: the slow times count for as long as they last.
    sender = statistics.harmonic_mean(
        segments_per_round_trip(losses, packets=30_000, seed=seed) for seed in range(1, 7)
    )
    said = 1 / round_trips(0.0, burst(enter, leave, loss))
    assert 1 / 2.5 < said / sender < 2.5, f"{said:.4g} segments a round trip, where a sender has {sender:.4g}"


def test_a_burst_comes_with_its_channel() -> None:
    channel = Channel(rate="1 Gbit/s", delay="50 ms", loss="0.1 %", burst=burst(0.01, 0.3, 0.5))
    own = response(0.05, 0.001, channel.burst)
    assert payload(channel, 1e9) == own == goodput(1e9, 0.05, 0.001, channel.burst)
    assert own < response(0.05, 0.001)
    kept = 1 - Losses.of(0.001, channel.burst).mean
    assert_close(payload(channel, 1e5), 1e5 * kept, what="what is not sent twice")
    assert_close(own, 8 * SEGMENT / (0.1 * round_trips(0.001, channel.burst)))


@given(chains(), st.floats(1e3, 1e11), st.floats(0, 2))
def test_goodput_under_bursts_is_some_of_the_rate(losses: Losses, rate: float, delay: float) -> None:
    shares = burst(max(losses.enter, 1e-6), max(losses.leave, 1e-3), losses.bad)
    assert 0 < goodput(rate, delay, losses.good, shares) <= rate


# -- the delay of a message's end


def mean_repair(losses: Losses, seed: int, messages: int) -> float:
    """Round trips until a last packet is through, sent again after one, and then after timeouts that double."""
    fate, source = {}, random.Random(seed)
    waited = 0.0
    for _ in range(messages):
        fate = lost(losses, source.getrandbits(32))
        for tries in itertools.count():
            if not next(fate):
                break
            waited += 1 if tries == 0 else TIMEOUT * 2 ** min(tries - 1, DOUBLINGS)
    return waited / messages


@pytest.mark.parametrize("losses", [Losses.of(0.1, None), Losses(0.05, 0.5, 0.0, 0.8), Losses(0.02, 0.3, 0.01, 1.0)])
def test_a_message_s_end_waits_as_long_as_that_of_messages_drawn(losses: Losses) -> None:
    first, timeouts = losses.repairs()
    assert_close(first + TIMEOUT * timeouts, mean_repair(losses, 1, 20_000), relative=0.12, what="round trips")


def test_a_burst_is_lost_again() -> None:
    shares = burst(0.001, 0.2, 1.0)
    assert repair_delay(0.05, 0.0, shares) > 3 * repair_delay(0.05, Losses.of(0.0, shares).mean)
