from hypothesis import given
from hypothesis import strategies as st

from emulator.pulse import BIN, PERIOD, Pulse, Taken
from tests.tolerance import assert_close


def beaten(stops: list[tuple[float, float]], until: float, busy: float = 0.0, others: float = 0.0) -> Pulse:
    """Of a process that stands still from each time for so long, and takes these shares of a core all the time: its
    event loop's thread and the others."""
    taken = Taken(0.0, 0.0, 0.0)
    while taken.due < until:
        now = taken.due
        for start, length in stops:
            if start <= now < start + length:
                now = start + length
        taken.beat(now, busy * now, (busy + others) * now)
    return Pulse.from_fields(taken.fields(until, busy * until, (busy + others) * until))


def test_a_punctual_process_is_never_late() -> None:
    assert beaten([], 10.0) == Pulse(0.0, 0.0, 0.0)


def test_a_moment_within_a_stop_counts_as_late_as_it_then_is() -> None:
    # A tenth of the time stands still, a second at a time: of all moments one in twenty waits for over half of that.
    pulse = beaten([(start, 1.0) for start in (5.0, 15.0, 25.0)], 30.0)
    assert_close(pulse.late_p95, 0.5, absolute=2 * PERIOD, what="seconds that one in twenty moments is late")


def test_a_short_stop_in_a_long_time_is_none_in_twenty() -> None:
    assert beaten([(5.0, 0.4)], 20.0).late_p95 == 0


def test_cores_are_of_all_threads_and_the_busiest_second_is_of_the_busier_of_them() -> None:
    pulse = beaten([], 10.0, busy=0.3, others=0.6)
    assert_close(pulse.cpu, 0.9, relative=0.01)
    assert_close(pulse.busiest, 0.6, relative=0.01)
    assert_close(beaten([], 0.5, busy=0.8).busiest, 0.8, relative=0.01, what="of less than a second")


def test_a_busy_second_in_a_quiet_hour_is_not_overlooked() -> None:
    taken = Taken(0.0, 0.0, 0.0)
    for second in range(1, 3601):
        taken.beat(float(second), 1.0 if second >= 1800 else 0.0, 1.0 if second >= 1800 else 0.0)
    pulse = Pulse.from_fields(taken.fields(3600.0, 1.0, 1.0))
    assert_close(pulse.busiest, 1.0)
    assert pulse.cpu < 0.001


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=50))
def test_no_lateness_is_overlooked_and_none_invented(late: list[float]) -> None:
    taken = Taken(0.0, 0.0, 0.0)
    for by in late:
        taken.beat(taken.due + by, 0.0, 0.0)
    assert 0 <= Pulse.from_fields(taken.fields(taken.due, 0.0, 0.0)).late_p95 <= max(late) + BIN


def test_a_host_that_slept_for_a_day_is_accounted_for_at_once() -> None:
    taken = Taken(0.0, 0.0, 0.0)
    taken.beat(86_400.0, 0.0, 0.0)
    assert taken.due >= 86_400.0
