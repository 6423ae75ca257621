"""Rounds with a deadline, in virtual time: who is left out, when it comes back, and what it costs."""

import math

import pytest
from virtual_rounds import SLOWEST, USUAL, change_links, train

from emulator.critical_path import critical_path
from emulator.timeline import LEFT_OUT, WAIT, round_latency
from tests.tolerance import assert_close

ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]
OFTEN = {"sfl": {"interval": 2}}
G, H = "20 MFLOP/s", "25 MFLOP/s"
VERY_SLOW = "0.4 MFLOP/s"  # a forward pass takes it 92 ms, where the others need 2


def gaps(run):
    return math.fsum(step.gap for spans in run.rounds.values() for step in critical_path(spans))


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "v1"])
def test_where_nobody_is_late_a_deadline_changes_nothing(algorithm):
    options = {"sfl": {"interval": 2, "server": "v1"}} if algorithm == "v1" else OFTEN
    name = "sfl" if algorithm == "v1" else algorithm
    usual, timed = (
        train(name, training=True, rounds=4, algorithms=options, evaluate={"every": 2, "samples": 100}, **more)
        for more in ({}, {"participation": {"deadline": "10 s"}})
    )
    assert timed.on_the_clock() == usual.on_the_clock()
    assert timed.lost == [0, 0, 0, 0]
    for metric in ("loss", "accuracy", "accuracy_min", "accuracy_own", "accuracy_ensemble"):
        assert timed.metric(metric) == usual.metric(metric)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_that_is_never_in_time_is_lost_in_every_round_and_holds_up_few(algorithm):
    run = train(algorithm, [G, VERY_SLOW, H], rounds=7, algorithms=OFTEN, participation={"deadline": "60 ms"})
    assert run.lost == [1] * 7
    assert run.metric("participants") == dict.fromkeys(range(1, 8), 2.0)
    assert len(run.latencies) == 7
    assert gaps(run) < 1e-9
    if algorithm != "sl":  # whose rounds are long enough for it to try in each
        # It has begun in every other round: its upload came in the round after, which had not to wait for it.
        assert run.left_out() == [(1, "client-2"), (3, "client-2"), (5, "client-2"), (7, "client-2")]
        assert max(run.latencies[1::2]) < min(run.latencies[0::2])


def test_late_uploads_are_waited_for_to_the_deadline_and_no_longer():
    run = train("psl", [G, VERY_SLOW, H], rounds=1, participation={"deadline": "60 ms"})
    (spans,) = run.rounds.values()
    (step,) = [span for span in spans if span.stage == "server_step"]
    (wait,) = [span for span in spans if span.stage == WAIT]
    begun = min(span.start for span in spans)
    assert_close(step.start - begun, 0.060, what="the wait for uploads")
    assert (wait.node, wait.start, wait.end) == ("server", begun, step.start)
    late = [span for span in run.spans if span.node == "client-2" and not span.off_clock]
    assert {span.stage for span in late} == {"client_forward"}  # its upload came when the run was over
    assert not any(span in spans for span in late)
    assert round_latency(spans) < 0.060 + step.duration + 0.060


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_a_deadline_too_models_are_trained_and_tested(algorithm):
    run = train(
        algorithm,
        [G, VERY_SLOW, H],
        training=True,
        rounds=31,
        algorithms=OFTEN,
        participation={"deadline": "60 ms"},
        evaluate={"every": 31, "samples": 300},
    )
    assert run.metric("accuracy")[31] > 0.2  # ten classes
    assert run.metric("evaluated") == {31: 1.0 if algorithm == "sl" else 2.0}  # the third has just been left out
    assert sum(run.lost) == 31


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("client", ["client-1", "client-2", "client-3"])
@pytest.mark.parametrize("at", [0.21, 0.25, 0.28, 0.30])
def test_a_client_that_vanishes_comes_back_when_its_link_does(algorithm, client, at, monkeypatch):
    change_links(monkeypatch, (at, client, SLOWEST), (at + 0.6, client, USUAL))
    runs = [train(algorithm, rounds=16, algorithms=OFTEN, participation={"deadline": "100 ms"}) for _ in range(2)]
    assert runs[0].spans == runs[1].spans
    run = runs[0]
    assert len(run.latencies) == 16
    lost = run.lost
    assert set(lost) == {0, 1}
    first, last = lost.index(1), len(lost) - 1 - lost[::-1].index(1)
    assert lost[first : last + 1] == [1] * (last - first + 1)  # away once, and then back for good
    assert last < 15
    others = [name for _, name in run.left_out() if name != client]
    assert not others or (algorithm == "sl" and len(others) == 1)  # to whom it was handing the model
    assert gaps(run) < 1e-9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_that_vanishes_for_good_ends_no_run(algorithm, monkeypatch):
    change_links(monkeypatch, (0.21, "client-1", SLOWEST))
    run = train(algorithm, rounds=12, algorithms=OFTEN, participation={"deadline": "100 ms"})
    assert run.lost[-6:] == [1] * 6
    assert run.left_out()[-1][0] < 6  # nobody waits for it any more


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_round_waits_for_as_many_as_it_is_told_however_late_they_are(algorithm):
    patient = {"deadline": "60 ms", "at_least": 3}
    run = train(algorithm, [G, VERY_SLOW, H], rounds=4, algorithms=OFTEN, participation=patient)
    assert run.lost == [0, 0, 0, 0]
    assert gaps(run) < 1e-9


def test_all_may_be_late_and_the_first_of_them_is_waited_for():
    run = train("psl", [VERY_SLOW, "0.5 MFLOP/s", "0.3 MFLOP/s"], rounds=5, participation={"deadline": "10 ms"})
    assert len(run.latencies) == 5
    assert all(participants >= 1 for participants in run.metric("participants").values())
    assert gaps(run) < 1e-9


def test_a_late_backward_pass_leaves_its_client_out_of_what_follows_though_its_batch_has_counted():
    slow = "1.5 MFLOP/s"  # a pass of 25 ms, then one of 50
    fast = train("psl", [G, slow, H], rounds=1)
    ends = {span.node: span.end for span in fast.spans if span.stage == "uplink"}
    (backward,) = [span for span in fast.spans if (span.node, span.stage) == ("client-2", "client_backward")]
    (step,) = [span for span in fast.spans if span.stage == "server_step"]
    assert ends["client-2"] < 0.047 < backward.end - step.end, "the test's own times"

    run = train("psl", [G, slow, H], rounds=2, participation={"deadline": "47 ms"})
    assert run.lost[0] == 0
    assert (1, "client-2") in run.left_out()
    (wait,) = [span for span in run.rounds[1] if span.stage == WAIT]
    assert wait.end == max(span.end for span in run.rounds[1])


def test_a_model_that_comes_too_late_is_in_no_average(monkeypatch):
    change_links(monkeypatch, (0.060, "client-2", SLOWEST), (0.5, "client-2", USUAL))
    run = train("sfl", rounds=6, algorithms={"sfl": {"interval": 1}}, participation={"deadline": "100 ms"})
    down = [span.peer for span in run.rounds[1] if span.stage == "model_down"]
    assert down == ["client-1", "client-3"]
    assert (1, "client-2") in run.left_out()
    assert run.lost[0] == 0
    assert run.lost[-1] == 0


def test_in_turns_the_model_goes_on_from_the_client_before_the_late_one():
    run = train("sl", [G, VERY_SLOW, H], rounds=2, participation={"deadline": "60 ms"})
    handed = [(span.node, span.peer) for span in run.rounds[1] if span.stage == "handover"]
    # From the first to the late one, anew to the third, and on to the first of the next round.
    assert handed == [("client-1", "client-2"), ("client-1", "client-3"), ("client-3", "client-1")]


def test_in_turns_whoever_is_absent_is_skipped():
    run = train("sl", [G, "0.1 MFLOP/s", H], rounds=2, participation={"deadline": "60 ms"})
    handed = [(span.node, span.peer) for span in run.rounds[2] if span.stage == "handover"]
    assert handed == [("client-1", "client-3"), ("client-3", "client-1")]
    assert not any(span.stage == WAIT for span in run.rounds[2])


def test_whoever_was_left_out_is_marked_once_a_round_and_off_the_clock():
    run = train("gapsl", [G, VERY_SLOW, H], rounds=4, participation={"deadline": "60 ms"})
    marks = [span for span in run.spans if span.stage == LEFT_OUT]
    assert [mark.round for mark in marks] == [1, 3]
    assert all(mark.off_clock and mark.duration == 0 for mark in marks)
