import pytest

from emulator import timeline
from emulator.errors import DeadlineExceeded, Deadlock, InputError, NodeFailure
from emulator.plan import SegmentPlan
from emulator.profiles import Channel, Deadlines, LinkProfile
from emulator.runtime.virtual import simulate
from emulator.timeline import Span
from tests.tolerance import assert_close
from tests.unit.virtual_world import LINK, as_lines, plan, run


def test_a_round_takes_what_its_parts_take() -> None:
    spans, metrics = run(plan(rounds=1))
    ping, pong = (next(span for span in spans if span.stage == stage) for stage in ("ping", "pong"))
    # Two equal links, the second starting on a chunk before the first has finished it, and two delays.
    one_way = ping.bytes * 8 / 8e6 + 2 * 0.010
    assert_close(ping.duration, one_way, what="one way")
    assert_close(timeline.round_latency(spans), 1.0 + one_way + 1.0 + pong.duration, what="the round")
    assert [(metric.name, metric.value) for metric in metrics] == [("accuracy", 0.1)]
    assert {span.source for span in spans} == {"modelled"}
    assert {span.mode for span in spans if not span.is_message} == {"modelled"}
    assert all(span.lateness == 0 for span in spans)


def test_the_same_seed_gives_the_same_timeline_byte_for_byte() -> None:
    jittery = {
        "source": "a test",
        "up": {"rate": "8 Mbit/s", "jitter": "3 ms", "delay": "9 ms"},
        "down": {"rate": "1 Gbit/s"},
    }
    first, again, other = (as_lines(run(plan(clients=5, rounds=4, link=jittery, seed=seed))[0]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("scale", [0.5, 2.0, 2.1, 7.3, 1000.0])
def test_a_time_scale_changes_nothing_after_division(scale: float) -> None:
    assert as_lines(run(plan(clients=3, scale=scale))[0]) == as_lines(run(plan(clients=3))[0])


@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_clients_behind_one_segment_take_as_long_as_its_link_says(sharing: str) -> None:
    narrow = Channel.model_validate({"rate": "4 Mbit/s", "sharing": sharing})
    wide = Channel.model_validate({"rate": "unlimited"})
    cell = SegmentPlan(link=LinkProfile(source="a test", up=narrow, down=wide))

    def pings(clients: int, behind: int, scale: float = 1.0) -> list[Span]:
        made = plan(clients=clients, rounds=1, scale=scale, workload={"bytes": 500_000})
        nodes = [
            node.model_copy(update={"segment": "cell" if 0 < place <= behind else None})
            for place, node in enumerate(made.nodes)
        ]
        spans, _ = run(made.model_copy(update={"nodes": nodes, "segments": {"cell": cell}}))
        return [span for span in spans if span.stage == "ping"]

    alone = max(span.duration for span in pings(1, 1))
    both = max(span.duration for span in pings(2, 2))
    assert_close(both / alone, 2.0, relative=0.03, what="two behind the segment, against one")
    # Outside it, the clients' own links and the server's are all there is: 8 Mbit/s, shared by two.
    assert_close(max(span.duration for span in pings(2, 0)) / alone, 1.0, relative=0.05, what="two outside it")
    assert as_lines(pings(2, 2, scale=7.3)) == as_lines(pings(2, 2))


def test_a_device_computes_one_thing_at_a_time() -> None:
    spans, _ = run(plan({"server": "silent", "client": "computes_twice_at_once"}))
    assert [(span.stage, span.start, span.end) for span in spans] == [("one", 0.0, 1.0), ("two", 1.0, 2.0)]


def test_a_deadlock_names_who_waits_for_what_and_who_has_ended() -> None:
    with pytest.raises(Deadlock) as caught:
        run(plan({"server": "silent", "client": "expects_too_much"}, clients=2))
    said = str(caught.value)
    assert "nobody can go on at 0 s" in said
    assert "client-1 waits for 'word' from server; client-2 waits for 'word' from server" in said
    assert "(server ended)" in said


def test_a_wait_with_a_deadline_ends_at_it_in_virtual_time() -> None:
    with pytest.raises(NodeFailure, match=r"client-1: no 'word' from any peer within 3\.5 s"):
        run(plan({"server": "silent", "client": "impatient"}))


def test_a_program_that_raises_is_named_with_its_run() -> None:
    with pytest.raises(NodeFailure, match=r"test: client-1 failed: ZeroDivisionError: nothing divides"):
        run(plan({"server": "silent", "client": "raises"}))


def test_an_input_error_in_a_program_keeps_its_exit_status() -> None:
    with pytest.raises(NodeFailure, match=r"pass work= to node.compute") as caught:
        run(plan({"server": "silent", "client": "untold"}))
    assert caught.value.exit_status == InputError.exit_status


def test_a_device_without_throughput_is_refused_without_a_calibration() -> None:
    with pytest.raises(NodeFailure, match="no throughput of its own"):
        run(plan(device="host"))


def test_a_stage_that_does_not_fit_the_devices_memory_is_refused() -> None:
    with pytest.raises(NodeFailure, match=r"'hoard' needs 1 TiB of memory, its device has 1 GiB"):
        run(plan({"server": "silent", "client": "huge"}))


def test_what_a_node_receives_cannot_be_written_to() -> None:
    with pytest.raises(NodeFailure, match="read-only"):
        run(plan({"server": "sends_a_word", "client": "writes_to_what_it_got"}))


def test_a_full_link_makes_its_sender_wait_and_the_timeline_shows_it() -> None:
    up = {"rate": "8 Mbit/s", "queue": "150 KiB"}
    link = {"source": "a test", "up": up, "down": {"rate": "unlimited", "queue": "unlimited"}}
    spans, _ = run(plan({"server": "drains", "client": "floods"}, link=link))
    waits = [span for span in spans if span.stage == timeline.WAIT]
    assert waits
    floods = [span for span in spans if span.stage == "flood"]
    took = max(span.end for span in floods) - min(span.start for span in floods)
    assert_close(took, sum(span.bytes for span in floods) * 8 / 8e6, what="seconds on a link that is never idle")


def test_messages_that_nobody_receives_are_no_part_of_the_timeline() -> None:
    spans, _ = run(plan({"server": "silent", "client": "floods"}))
    assert not spans


def test_a_program_that_never_ends_is_stopped_and_named() -> None:
    endless = plan({"server": "expects_too_much", "client": "keeps_talking"})
    quick = endless.model_copy(update={"deadlines": Deadlines.model_validate({"run": "100 ms"})})
    with pytest.raises(DeadlineExceeded, match=r"test: not over within 0.1 s of this host's time \(deadlines.run\)"):
        run(quick)


def test_an_observers_failure_reaches_whoever_runs() -> None:
    def refuse(_: object) -> None:
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        simulate(plan(link=LINK), refuse)


WAITERS = {"server": "waits_up_to_a_moment", "client": "says_a_word_later"}
NO_LINK = {"source": "a test", "up": {"rate": "unlimited"}, "down": {"rate": "unlimited"}}


@pytest.mark.parametrize("scale", [1.0, 0.3, 7.1])
@pytest.mark.parametrize(
    ("deadline", "came"), [(0.5, 0), (1.0, 1), (1.0 - 1e-6, 0), (1.0 + 1e-6, 1), (2.0, 2), (3.0, 3), (9.0, 3)]
)
def test_what_comes_at_the_very_moment_of_a_deadline_is_in_time(deadline: float, came: int, scale: float) -> None:
    made = plan(WAITERS, clients=3, rounds=1, link=NO_LINK, scale=scale, workload={"deadline": deadline})
    spans, metrics = run(made)
    assert [metric.value for metric in metrics] == [came]
    (serve,) = [span for span in spans if span.stage == "serve"]
    assert_close(serve.start, min(deadline, 3.0), what="what follows the wait")
    assert [(span.start, span.end) for span in spans if span.stage == timeline.WAIT] == (
        [(0.0, serve.start)] if came < 3 else []
    )
    assert [span.node for span in spans if span.stage == timeline.LEFT_OUT] == ["client-1", "client-2", "client-3"][
        came:
    ]


def test_what_comes_after_a_deadline_stays_for_later_and_is_in_no_latency() -> None:
    spans, _ = run(plan(WAITERS, clients=3, rounds=1, link=NO_LINK, workload={"deadline": 1.5}))
    assert len([span for span in spans if span.stage == "word"]) == 3
    assert_close(timeline.round_latency(timeline.rounds(spans)[1]), 1.5 + 1.0, what="the round")
