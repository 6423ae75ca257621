import csv
from dataclasses import replace

import pytest

from emulator.comparison import compare, drift, join
from emulator.report.prediction import COLUMNS, fields, prediction_csv
from emulator.timeline import Span
from tests.tolerance import assert_close


def span(stage: str, start: float, end: float, round: int = 1, peer: str = "", node: str = "a") -> Span:
    return Span("psl", round, node, stage, start, end, peer=peer)


MEASURED = [span("forward", 5.0, 6.0), span("uplink", 6.0, 8.0, peer="b"), span("forward", 20.0, 21.5, round=2)]
PREDICTED = [span("forward", 0.0, 1.1), span("uplink", 1.1, 2.9, peer="b"), span("forward", 3.0, 4.4, round=2)]


def test_errors_are_of_the_means_of_rounds_and_of_stages() -> None:
    found = compare(MEASURED, PREDICTED, 1.0)
    assert_close(found.latency.measured_mean, (3.0 + 1.5) / 2, what="measured")
    assert_close(found.latency.predicted_mean, (2.9 + 1.4) / 2, what="predicted")
    assert_close(found.latency.error, (2.9 + 1.4) / (3.0 + 1.5) - 1, what="error")
    assert_close(found.stages["forward"].together.error, 2.5 / 2.5 - 1, what="error of the forward pass")
    assert_close(found.stages["uplink"].together.median_error, 1.8 / 2.0 - 1, what="error of the uplink")
    assert fields(found)["error"] == found.latency.error


def test_the_median_of_a_stage_is_compared_node_by_node() -> None:
    """One late message of `a` moves the median of both together from its time to that of `b`, three times as long."""

    def uplinks(late: float) -> list[Span]:
        ends = {"a": [11.0, 11.0, 11.0 + late], "b": [13.3, 13.3]}
        return [span("uplink", 10.0, end, i, "s", node) for node in ends for i, end in enumerate(ends[node], 1)]

    said = [replace(one, end=13.0) if one.node == "b" else one for one in uplinks(0.0)]
    stage = compare(uplinks(5.0), said, 1.0).stages["uplink"]
    assert_close(stage.together.median_error, 1.0 / 3.3 - 1, what="together")
    assert stage.furthest[0] == "b>s"
    assert_close(stage.furthest[1], 3.0 / 3.3 - 1, what="of b's own")
    told = fields(compare(uplinks(5.0), said, 1.0))["stages_s"]["uplink"]
    assert told == {"median": 1.0, "error": stage.furthest[1], "errors": {"a>s": 0.0, "b>s": stage.furthest[1]}}


def test_what_takes_no_time_has_no_error() -> None:
    nothing = [span("forward", 5.0, 5.0, node="b"), span("handover", 5.0, 5.0, peer="b")]
    found = compare([*MEASURED, *nothing], [*PREDICTED, span("forward", 0.0, 0.0, node="b"), nothing[1]], 1.0)
    assert set(found.stages) == {"forward", "uplink"}
    assert set(found.stages["forward"].apart) == {"a"}


def test_lateness_that_was_carried_over_is_no_part_of_a_stage_and_more_is() -> None:
    """At a scale of 2, 5 ms of a node's time are all the 10 ms that it carries."""
    said = [span("forward", 0.0, 1.0)]
    for late, expected in ((0.004, 1.0), (0.006, 1.006)):
        took = Span("psl", 1, "a", "forward", 5.0, 6.0 + late, due=6.0)
        agreement = compare([took], said, 2.0).stages["forward"].together
        assert_close(agreement.measured_median, expected, what=f"{late} s late")
        (row,) = csv.DictReader(prediction_csv(join([took], said), 2.0).splitlines())
        assert_close(float(row["measured_s"]), expected, what="in the file")


def test_like_spans_of_a_round_are_joined_in_their_order() -> None:
    measured = [span("forward", 0, 1), span("forward", 1, 3)]
    pairs = join(measured, [span("forward", 2, 4), span("forward", 0, 2)])
    assert [(pair.measured, pair.predicted and pair.predicted.start) for pair in pairs] == [
        (measured[0], 0),
        (measured[1], 2),
    ]


def test_what_only_one_side_has_is_refused_but_a_wait_is_not() -> None:
    with pytest.raises(ValueError, match="'model_up' of a in round 2 was only measured"):
        compare([*MEASURED, span("model_up", 21.5, 22.0, round=2, peer="b")], PREDICTED, 1.0)
    with pytest.raises(ValueError, match="3 rounds were measured and 2 predicted"):
        compare([*MEASURED, span("forward", 30.0, 31.0, round=3)], PREDICTED, 1.0)
    compare([*MEASURED, span("wait", 21.5, 22.0, round=2)], PREDICTED, 1.0)


def test_the_file_has_a_row_for_every_event_with_starts_within_the_round() -> None:
    pairs = join([*MEASURED, span("wait", 6.0, 6.1)], PREDICTED)
    rows = list(csv.DictReader(prediction_csv(pairs, 1.0).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["round"], row["stage"], row["measured_start_s"]) for row in rows] == [
        ("1", "forward", "0.0"),
        ("1", "uplink", "1.0"),
        ("1", "wait", "1.0"),
        ("2", "forward", "0.0"),
    ]
    assert (rows[2]["predicted_s"], rows[2]["error"]) == ("", "")
    assert_close(float(rows[1]["error"]), 1.8 / 2.0 - 1, what="the uplink's error")


def test_the_hosts_drift_is_of_its_cpu_time_alone() -> None:
    measured = [
        Span("psl", 1, "a", "forward", 0.0, 9.0, cpu=0.3, mode="stretched"),
        Span("psl", 1, "b", "forward", 0.0, 9.0, cpu=0.6, mode="stretched"),
        span("uplink", 9.0, 99.0, peer="b"),
    ]
    predicted = [span("forward", 0.0, 1.0), span("forward", 0.0, 4.0, node="b"), span("uplink", 1.0, 2.0, peer="b")]
    found = drift(measured, predicted, {"a": 5.0, "b": 10.0})
    assert found is not None
    assert_close(found, (0.3 + 0.6) / (1.0 / 5.0 + 4.0 / 10.0), what="CPU seconds over those predicted")
    assert drift([measured[2]], predicted, {}) is None


def test_where_nodes_are_left_out_what_both_sides_have_is_compared() -> None:
    mark = Span("psl", 2, "a", "left_out", 21.0, 21.0, off_clock=True)
    found = compare([*MEASURED, span("model_up", 20.0, 20.5, round=2, peer="b"), mark], PREDICTED, 1.0)
    assert set(found.stages) == {"forward", "uplink"}
