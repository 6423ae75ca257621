import json
import math
from dataclasses import replace
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import critical_path, timeline
from emulator.critical_path import OVERHEAD
from emulator.timeline import TOLERANCE, Metric, Span, Traffic

moments = st.integers(0, 40).map(lambda tick: tick / 8) | st.floats(0, 5)
nodes = st.sampled_from(["server", "a", "b", "c"])


@st.composite
def spans(draw: st.DrawFn, round_number: int = 1) -> Span:
    node = draw(nodes)
    peer = draw(st.sampled_from(["", *sorted({"server", "a", "b", "c"} - {node})]))
    start, end = sorted((draw(moments), draw(moments)))
    return Span(
        run="psl",
        round=round_number,
        node=node,
        stage="uplink" if peer else draw(st.sampled_from(["client_forward", "server_step", "wait"])),
        start=start,
        end=end,
        source=draw(st.sampled_from(["measured", "modelled"])),
        bytes=draw(st.integers(0, 2**40)) if peer else 0,
        peer=peer,
        due=draw(st.none() | moments),
        cpu=draw(st.none() | st.floats(0, 10)),
        probe=draw(st.none() | st.floats(1e-6, 1)),
        mode=draw(st.sampled_from(["", "stretched"])),
        flops=draw(st.none() | st.floats(0, 1e12)),
    )


a_round = st.lists(spans(), min_size=1, max_size=30)
a_run = st.integers(1, 5).flatmap(
    lambda last: st.tuples(*(st.lists(spans(number), min_size=1, max_size=8) for number in range(1, last + 1)))
)


def work(node: str, stage: str, start: float, end: float, number: int = 1) -> Span:
    return Span("psl", number, node, stage, start, end)


def message(node: str, peer: str, stage: str, start: float, end: float, size: int = 0, number: int = 1) -> Span:
    return Span("psl", number, node, stage, start, end, bytes=size, peer=peer)


# Two clients, one of them slow; the server begins 0.5 s after the last activations have come.
WORKED = [
    work("a", "client_forward", 10.0, 11.0),
    message("a", "server", "uplink", 11.0, 12.0, 100),
    work("b", "client_forward", 10.0, 13.0),
    message("b", "server", "uplink", 13.0, 15.0, 100),
    work("server", "server_step", 15.5, 16.0),
    message("server", "a", "downlink", 16.0, 17.0, 40),
    message("server", "b", "downlink", 16.0, 18.0, 40),
    work("a", "client_backward", 17.0, 18.0),
    work("b", "client_backward", 18.0, 21.0),
]


def test_the_critical_path_follows_the_slow_client() -> None:
    path = critical_path.critical_path(WORKED)
    assert [(step.span.node, step.span.stage) for step in path] == [
        ("b", "client_forward"),
        ("b", "uplink"),
        ("server", "server_step"),
        ("server", "downlink"),
        ("b", "client_backward"),
    ]
    assert [step.gap for step in path] == [0, 0, 0.5, 0, 0]


def test_the_breakdown_of_a_round_names_what_its_latency_consists_of() -> None:
    assert timeline.round_latency(WORKED) == 11.0
    assert critical_path.breakdown(WORKED) == {
        "client_forward": 3.0,
        "uplink": 2.0,
        "server_step": 0.5,
        "downlink": 2.0,
        "client_backward": 3.0,
        OVERHEAD: 0.5,
    }


def test_a_handover_leads_the_path_from_client_to_client() -> None:
    of_round = [
        work("a", "client_forward", 0, 1),
        message("a", "b", "handover", 1, 3),
        work("b", "client_forward", 3, 4),
    ]
    assert critical_path.breakdown(of_round) == {"client_forward": 2, "handover": 2, OVERHEAD: 0}


def test_the_time_before_the_first_step_is_overhead() -> None:
    of_round = [work("a", "client_forward", 0, 1), work("b", "client_forward", 0.25, 2)]
    (step,) = critical_path.critical_path(of_round)
    assert (step.gap, step.seconds) == (0.25, 1.75)


def test_a_wait_for_a_message_gives_way_to_the_message() -> None:
    of_round = [
        work("a", "client_forward", 0, 1),
        message("a", "server", "uplink", 1, 3),
        work("server", "wait", 0, 3),
        work("server", "server_step", 3, 4),
    ]
    assert critical_path.breakdown(of_round) == {"client_forward": 1, "uplink": 2, "server_step": 1, OVERHEAD: 0}


def test_a_wait_for_a_full_link_is_part_of_the_path() -> None:
    of_round = [
        work("a", "client_forward", 0, 1),
        work("a", "wait", 1, 3),
        message("server", "a", "news", 1, 2),
        message("a", "server", "uplink", 3, 4),
    ]
    assert critical_path.breakdown(of_round) == {"client_forward": 1, "wait": 2, "uplink": 1, OVERHEAD: 0}


def test_clocks_that_disagree_within_the_tolerance_do_not_break_the_path() -> None:
    of_round = [
        message("a", "server", "uplink", 0, 1 + TOLERANCE / 2),
        work("server", "server_step", 1, 2),
    ]
    assert critical_path.breakdown(of_round) == pytest.approx({"uplink": 1, "server_step": 1, OVERHEAD: 0})


def test_what_ends_after_a_start_is_not_its_cause() -> None:
    of_round = [
        message("a", "server", "uplink", 0, 1),
        message("b", "server", "uplink", 0, 1.5),
        work("server", "server_step", 1, 2),
    ]
    assert [step.span.node for step in critical_path.critical_path(of_round)] == ["a", "server"]


def test_each_step_says_how_late_it_was() -> None:
    late, unlimited = critical_path.critical_path(
        [replace(work("a", "client_forward", 0, 1), due=0.75), message("a", "server", "uplink", 1, 2)]
    )
    assert late.lateness == 0.25
    assert unlimited.lateness is None


@given(a_round)
def test_the_breakdown_sums_to_the_latency(of_round: list[Span]) -> None:
    parts = critical_path.breakdown(of_round)
    assert all(seconds >= 0 for seconds in parts.values())
    assert math.fsum(parts.values()) == pytest.approx(timeline.round_latency(of_round), abs=1e-9)


def in_line(before: Span, after: Span) -> bool:
    """Whether one message was sent while the other was on the same way."""
    same = (before.node, before.peer) == (after.node, after.peer)
    return after.is_message and same and before.start <= after.start < before.settled


def test_a_message_behind_another_counts_from_when_that_one_was_there() -> None:
    # The host took half a second to send the second, but the link was busy with the first.
    burst = [
        work("a", "client_forward", 0.0, 1.0),
        message("a", "server", "uplink", 1.0, 3.0),
        message("a", "server", "uplink", 1.5, 5.0),
    ]
    path = critical_path.critical_path(burst)
    assert [(step.span.stage, step.gap, step.seconds) for step in path] == [
        ("client_forward", 0.0, 1.0),
        ("uplink", 0.0, 2.0),
        ("uplink", 0.0, 2.0),
    ]


@given(a_round)
def test_the_critical_path_is_connected_and_does_not_overlap(of_round: list[Span]) -> None:
    path = critical_path.critical_path(of_round)
    assert path[-1].span.end == max(span.end for span in of_round)
    assert len({id(step.span) for step in path}) == len(path)
    reached = min(span.start for span in of_round)
    queued = {id(after) for before, after in pairwise(path) if in_line(before.span, after.span)}
    for step in path:
        begin = reached + step.gap
        if id(step) not in queued:
            assert begin == pytest.approx(step.span.start, abs=TOLERANCE + 1e-9)
        reached = begin + step.seconds
        assert reached <= step.span.end + 1e-9
    for before, after in pairwise(path):
        if id(after) in queued:
            assert after.gap == 0
        else:
            assert before.span.ends_at == after.span.node
            assert before.span.settled <= after.span.start + TOLERANCE
    assert reached == pytest.approx(path[-1].span.end, abs=1e-9)


def test_lateness_that_the_next_step_made_up_for_is_no_part_of_the_latency() -> None:
    late = replace(work("a", "client_forward", 10.0, 11.2), due=11.0)
    up = replace(message("a", "server", "uplink", 11.0, 12.1), due=12.0)
    path = critical_path.critical_path([late, up])
    assert [(step.span.stage, step.gap, round(step.seconds, 6)) for step in path] == [
        ("client_forward", 0.0, 1.0),
        ("uplink", 0.0, 1.1),
    ]


def test_lateness_that_was_not_made_up_for_is_overhead() -> None:
    late = replace(work("a", "client_forward", 10.0, 11.2), due=11.0)
    up = message("a", "server", "uplink", 11.2, 12.2)
    assert critical_path.breakdown([late, up]) == pytest.approx({"client_forward": 1.0, "uplink": 1.0, OVERHEAD: 0.2})


@given(st.lists(spans().map(lambda span: replace(span, start=1.0, end=1.0)), min_size=1, max_size=20))
def test_the_walk_ends_where_no_span_has_a_length(of_round: list[Span]) -> None:
    assert critical_path.breakdown(of_round)[OVERHEAD] == 0


def test_a_long_round_is_walked_in_one_pass() -> None:
    of_round = [work("a", "client_forward", number / 100, (number + 1) / 100) for number in range(20_000)]
    assert len(critical_path.critical_path(of_round)) == 20_000


@settings(max_examples=50)
@given(a_run)
def test_the_emulated_time_is_the_sum_of_the_rounds(of_rounds: tuple[list[Span], ...]) -> None:
    run = [span for of_round in of_rounds for span in of_round]
    total = math.fsum(timeline.round_latency(of_round) for of_round in of_rounds)
    assert timeline.emulated_time(run) == total
    assert timeline.elapsed_at(timeline.latencies(run))[len(of_rounds)] == pytest.approx(total)


def test_what_lies_between_the_rounds_costs_nothing() -> None:
    run = [
        work("server", "setup", 0, 5, number=0),
        work("a", "client_forward", 5, 6),
        replace(work("server", "evaluation", 6, 60), off_clock=True),
        work("a", "client_forward", 60, 62, number=2),
    ]
    assert timeline.latencies(run) == {1: 1.0, 2: 2.0}
    assert timeline.elapsed_at(timeline.latencies(run)) == {0: 0.0, 1: 1.0, 2: 3.0}
    assert timeline.stage_times(run) == {"client_forward": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ([], "no timing: an empty timeline has no span in any round"),
        ([work("a", "setup", 0, 1, number=0)], "no timing: run 'psl' has no span in any round"),
        ([work("a", "x", 0, 1), work("a", "x", 2, 3, number=4)], "run 'psl' has no span in round 2 of 4"),
        ([replace(work("a", "x", 0, 1), off_clock=True)], "has no span in any round"),
        ([work("a", "x", 0, 1), replace(work("a", "x", 0, 1), run="sl")], "several runs are mixed: psl, sl"),
    ],
)
def test_missing_timing_is_an_error_that_names_the_round(run: list[Span], message: str) -> None:
    for figure in (timeline.rounds, timeline.latencies, timeline.emulated_time, timeline.stage_times):
        with pytest.raises(ValueError, match=message):
            figure(run)


def test_a_round_without_spans_has_no_latency() -> None:
    for figure in (timeline.round_latency, critical_path.critical_path, critical_path.breakdown):
        with pytest.raises(ValueError, match="the round has no span"):
            figure([])
    with pytest.raises(ValueError, match="round 1 has no latency"):
        timeline.elapsed_at({2: 1.0})


def test_bytes_count_for_the_links_they_cross() -> None:
    run = [
        *WORKED,
        message("a", "b", "handover", 18, 20, 7),
        message("server", "aggregator", "model_up", 18, 20, 1000),
        replace(message("a", "server", "evaluation", 18, 20, 5000), off_clock=True),
    ]
    assert timeline.bytes_sent(run) == {"a": 107, "b": 100, "server": 1080}
    assert timeline.bytes_received(run) == {"server": 200, "a": 40, "b": 47, "aggregator": 1000}
    assert timeline.totals(run, {"server", "aggregator"}) == Traffic(up=207, down=87)


def test_runs_are_told_apart() -> None:
    other = replace(WORKED[0], run="sl")
    assert timeline.runs([WORKED[0], other, WORKED[1]]) == {"psl": WORKED[:2], "sl": [other]}


@given(spans())
def test_a_span_survives_json_and_msgpack(span: Span) -> None:
    assert Span.from_fields(json.loads(json.dumps(span.to_fields(), allow_nan=False))) == span
    assert Span.from_fields(msgpack.unpackb(msgpack.packb(span.to_fields()))) == span


def test_fields_at_their_default_are_left_out() -> None:
    assert list(work("a", "client_forward", 0, 1).to_fields()) == ["run", "round", "node", "stage", "start", "end"]
    assert replace(WORKED[0], due=0.0).to_fields()["due"] == 0.0


def test_a_metric_survives_json() -> None:
    metric = Metric("psl", 3, "server", "accuracy", 0.5)
    assert Metric.from_fields(json.loads(json.dumps(metric.to_fields()))) == metric


GOOD = work("a", "client_forward", 0, 1).to_fields()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**GOOD, "colour": 1}, "span: unknown field 'colour'"),
        ({name: GOOD[name] for name in GOOD if name != "end"}, "span: field 'end' is missing"),
        ({**GOOD, "start": "now"}, "span: field 'start' must be a number, not 'now'"),
        ({**GOOD, "start": True}, "span: field 'start' must be a number, not True"),
        ({**GOOD, "end": 10**400}, "span: field 'end' must be a number in range"),
        ({**GOOD, "round": 1.5}, "span: field 'round' must be a whole number, not 1.5"),
        ({**GOOD, "node": None}, "span: field 'node' must be a text, not None"),
        ({**GOOD, "off_clock": 1}, "span: field 'off_clock' must be true or false, not 1"),
        ({**GOOD, "source": "guessed"}, "span: field 'source' must be measured or modelled, not 'guessed'"),
        ({**GOOD, "end": math.nan}, "client_forward of a in round 1: end is nan"),
        ({**GOOD, "due": math.inf}, "client_forward of a in round 1: due is inf"),
        ({**GOOD, "end": -1.0}, "client_forward of a in round 1: it ends at -1 s, before its start at 0 s"),
        ({**GOOD, "round": -1}, "client_forward of a in round -1: round is negative"),
        ({**GOOD, "probe": 0}, "client_forward of a in round 1: probe is 0"),
        ({**GOOD, "bytes": -8}, r"client_forward of a in round 1: bytes is negative \(-8\)"),
        ([1, 2], r"span: not a set of fields but \[1, 2\]"),
    ],
)
def test_a_bad_span_is_refused_by_name(fields: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Span.from_fields(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": math.nan}, "metric loss of server in round 2 is nan"),
        ({"value": None}, "metric: field 'value' must be a number, not None"),
        ({"round": -2}, "metric loss of server: round is negative"),
        ({"unit": "s"}, "metric: unknown field 'unit'"),
    ],
)
def test_a_bad_metric_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Metric.from_fields({"run": "psl", "round": 2, "node": "server", "name": "loss", "value": 1.0, **change})


def test_what_a_node_ends_after_it_was_left_out_is_in_no_round() -> None:
    def span(stage: str, node: str, start: float, end: float, peer: str = "", number: int = 1) -> Span:
        return Span("psl", number, node, stage, start, end, peer=peer, bytes=9 if peer else 0)

    kept = [
        span("client_forward", "late", 0.0, 1.0),
        span("uplink", "a", 0.5, 1.0, "server"),
        span("server_step", "server", 2.0, 2.5),
    ]
    dropped = [span("uplink", "late", 1.0, 7.0, "server"), span("downlink", "server", 2.5, 2.6, "late")]
    mark = Span("psl", 1, "late", timeline.LEFT_OUT, 2.0, 2.0, off_clock=True)
    next_round = [span("uplink", "late", 8.0, 9.0, "server", number=2)]
    # The node hands in what it noted when it likes.
    for order in ([mark, *dropped, *kept, *next_round], [*next_round, *kept, *dropped, mark]):
        assert timeline.rounds(order)[1] == kept
        assert timeline.latencies(order) == {1: 2.5, 2: 1.0}
    assert timeline.latencies([*kept, *dropped, *next_round])[1] == 7.0


def test_a_round_of_which_nothing_was_waited_for_has_no_timing() -> None:
    spans = [
        Span("psl", 1, "late", "client_forward", 0.0, 3.0),
        Span("psl", 1, "late", timeline.LEFT_OUT, 2.0, 2.0, off_clock=True),
    ]
    with pytest.raises(ValueError, match="no timing"):
        timeline.rounds(spans)
