import pytest

from emulator.bus.load import Load


class Clock:
    """A host's time, and the CPU time of two threads, that pass as they are told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.spent = (5.0, 7.0)

    def pass_by(self, seconds: float, *shares: float) -> None:
        self.now += seconds
        self.spent = tuple(spent + seconds * share for spent, share in zip(self.spent, shares, strict=True))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def load(clock: Clock) -> Load:
    return Load(lambda: clock.now, lambda: clock.spent)


def test_the_busiest_second_of_the_busier_thread_counts(clock: Clock, load: Load) -> None:
    for shares in ((0.1, 0.0), (0.3, 0.8), (0.5, 0.1)):
        clock.pass_by(1.0, *shares)
        load.sample()
    assert load.fields()["busy"] == pytest.approx(0.8)


def test_what_is_too_short_says_nothing(clock: Clock, load: Load) -> None:
    clock.pass_by(0.01, 1.0, 0.0)
    load.sample()
    clock.pass_by(0.99, 0.2, 0.0)
    assert load.fields()["busy"] == pytest.approx(0.208)


def test_one_timer_in_twenty_may_be_later_than_the_lag(load: Load) -> None:
    assert load.fields()["lag"] == 0.0
    for number in range(100):
        load.late(0.001 if number < 96 else 0.5)
    load.late(-0.001)  # early is not late
    assert load.fields()["lag"] == pytest.approx(0.001)


def test_this_process_is_as_busy_as_it_is() -> None:
    load, count = Load(), 0
    while load.fields()["busy"] == 0.0:
        count += 1
    assert 0.0 < load.fields()["busy"] < 1.5
