from emulator.control.pace import Pace
from tests.tolerance import assert_close


class Host:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_goes_by_the_rounds_so_far() -> None:
    host = Host()
    pace = Pace(host)
    assert pace.left(10) is None
    for number in (1, 1, 2, 3):
        pace.heard_of(number)
        assert pace.left(10) is None or number > 1
        host.now += 2.0
    # Rounds 1 and 2 took 6 s; the third of ten began 2 s ago.
    assert_close(pace.left(10) or 0.0, 8 * 3.0 - 2.0)


def test_a_round_that_takes_longer_than_all_that_is_left_is_no_negative_time() -> None:
    host = Host()
    pace = Pace(host)
    pace.heard_of(1)
    host.now += 1.0
    pace.heard_of(2)
    host.now += 60.0
    assert pace.left(2) == 0.0


def test_a_run_that_has_more_rounds_than_planned_is_not_foretold() -> None:
    host = Host()
    pace = Pace(host)
    for number in range(1, 5):
        host.now += 1.0
        pace.heard_of(number)
    assert pace.left(3) is None
