"""When changes are due: seconds on the clock, begins of rounds, and a hub that hears of things late."""

import math

from emulator.playing import Player
from emulator.scenario import Change


def lost(at: float, number: int | None = None) -> Change:
    return Change(entry=0, key="disconnect", round=number, at=at, node="a", connected=False)


def slower(at: float, number: int | None = None) -> Change:
    return Change(entry=0, key="slow", round=number, at=at, node="a", slow=2.0)


def test_a_change_is_given_out_once_when_it_is_due() -> None:
    first, second = lost(1.0), lost(2.5)
    player = Player([first, second])
    assert (player.wakeup(), player.left) == (1.0, 2)
    assert player.take(0.999) == []
    assert player.take(1.2) == [(1.0, first)]
    assert player.take(3.0) == [(2.5, second)]
    assert (player.take(9.0), player.wakeup(), player.left, player.horizon()) == ([], None, 0, math.inf)


def test_the_network_does_not_pass_a_change_that_waits_for_what_was_sent_before() -> None:
    change, device = lost(1.0), slower(1.0)
    player = Player([change, device], lag=0.002)
    assert player.horizon() == 1.0
    assert player.take(1.001) == [(1.0, device)], "devices wait for nobody"
    assert player.take(1.001, sent=0.9999) == []
    assert (player.horizon(), player.wakeup()) == (1.0, 1.002)
    assert player.take(1.001, sent=1.0) == [(1.0, change)], "somebody has sent later: nobody waits for earlier ones"
    assert player.horizon() == math.inf


def test_without_a_message_it_waits_as_long_as_it_may() -> None:
    change = lost(1.0)
    player = Player([change], lag=0.002)
    assert player.take(1.0019) == []
    assert player.take(1.002) == [(1.0, change)]


def test_a_round_begins_with_its_first_message_and_what_lasts_counts_from_then() -> None:
    begin, end = lost(0.0, 3), lost(2.0, 3)
    player = Player([begin, end])
    assert player.wakeup() is None
    player.begin(2, 4.0)
    assert player.take(5.0) == []
    player.begin(3, 5.0)
    assert player.wakeup() == 5.0
    assert player.take(5.0) == [(5.0, begin)]
    player.begin(3, 6.0)
    assert player.wakeup() == 7.0
    assert player.take(7.0) == [(7.0, end)]


def test_a_round_that_nobody_heard_of_has_begun_with_a_later_one() -> None:
    early, late = lost(0.0, 2), slower(0.0, 4)
    player = Player([early, late])
    player.begin(5, 1.5)
    assert player.take(1.5) == [(1.5, early), (1.5, late)]


def test_seconds_stand_still_while_anybody_is_off_the_clock() -> None:
    change = lost(1.0)
    player = Player([change])
    player.leave_clock("server", 0.4)
    player.leave_clock("client", 0.5)
    assert (player.wakeup(), player.horizon()) == (None, math.inf)
    player.return_to_clock("server", 2.0)
    assert player.wakeup() is None
    player.return_to_clock("client", 3.4)
    assert player.wakeup() == 4.0
    assert player.take(4.0) == [(4.0, change)]


def test_what_was_due_before_somebody_left_the_clock_is_still_due() -> None:
    change = lost(1.0)
    player = Player([change], lag=0.002)
    player.leave_clock("server", 1.001)
    assert player.take(1.002) == [(1.0, change)]


def test_a_round_that_begins_off_the_clock_counts_from_there() -> None:
    begin, end = lost(0.0, 1), lost(2.0, 1)
    player = Player([begin, end])
    player.leave_clock("server", 1.0)
    player.begin(1, 4.0)
    assert player.take(4.0) == [(4.0, begin)]
    player.return_to_clock("server", 5.0)
    assert player.wakeup() == 7.0


def test_who_returns_without_having_left_changes_nothing() -> None:
    player = Player([lost(1.0)])
    player.return_to_clock("server", 0.5)
    assert player.wakeup() == 1.0
