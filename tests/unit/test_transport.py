import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.transport import SEGMENT, goodput, repair_delay
from tests.tolerance import assert_close

rates = st.floats(1e3, 1e11)
delays = st.floats(0, 2)
losses = st.floats(0, 0.99)


def test_without_loss_nothing_is_lost() -> None:
    assert goodput(1e7, 0.05, 0.0) == 1e7
    assert goodput(math.inf, 0.05, 0.0) == math.inf
    assert repair_delay(0.05, 0.0) == 0


def test_a_short_way_leaves_what_is_not_sent_twice() -> None:
    assert_close(goodput(1e7, 1e-6, 0.02), 9.8e6)


def test_without_delay_the_retransmissions_alone_count() -> None:
    assert_close(goodput(1e7, 0.0, 0.25), 7.5e6)
    assert goodput(math.inf, 0.0, 0.25) == math.inf


def test_a_long_way_leaves_what_the_tcp_throughput_equation_says() -> None:
    # By hand, at 1 % and a round trip of 100 ms. A window W has 1 / (W - 1 + 1 / 0.01) events a packet, and is
    # sqrt(3/2p): W^2 = 1.5 (W + 99), W = 12.95904, p = 0.00893184. Then sqrt(2p/3) = 0.0771658 and
    # 12 sqrt(3p/8) p (1 + 32 p^2) = 12 * 0.0578744 * 0.00893184 * 1.002553 = 0.0062190: 1460 B / (0.1 s * 0.0833848).
    assert_close(goodput(1e9, 0.05, 0.01), 8 * 175_092, relative=1e-5, what="goodput")
    assert goodput(math.inf, 0.05, 0.01) == goodput(1e9, 0.05, 0.01)


def test_little_loss_comes_to_the_square_root_law_of_mathis() -> None:
    loss, delay = 1e-6, 0.05
    mathis = 8 * SEGMENT / (2 * delay) * math.sqrt(1.5 / loss)
    assert_close(goodput(math.inf, delay, loss), mathis, relative=0.001, what="goodput")


# Of a round trip of 100 ms: the first repair one, then 4, 8, ... 256, 256, ... of them.
@pytest.mark.parametrize(("loss", "seconds"), [(0.1, 0.1 * 0.14999964444444444), (0.5, 0.1 * (0.5 + 4 * 2))])
def test_the_end_of_a_message_waits_for_its_repairs(loss: float, seconds: float) -> None:
    assert_close(repair_delay(0.05, loss), seconds)


@given(rates, delays, losses)
def test_goodput_is_some_of_the_rate(rate: float, delay: float, loss: float) -> None:
    assert 0 < goodput(rate, delay, loss) <= rate


@given(rates, delays, losses, losses)
def test_more_loss_is_never_better(rate: float, delay: float, one: float, other: float) -> None:
    less, more = sorted([one, other])
    assert goodput(rate, delay, more) <= goodput(rate, delay, less)
    assert repair_delay(delay, more) >= repair_delay(delay, less) * (1 - 1e-12)


@given(rates, delays, delays, losses)
def test_a_longer_way_is_never_better(rate: float, one: float, other: float, loss: float) -> None:
    shorter, longer = sorted([one, other])
    assert goodput(rate, longer, loss) <= goodput(rate, shorter, loss)
