import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emulator.cgroup import Bandwidth
from emulator.cost import (
    Charges,
    CostModel,
    Hardware,
    Point,
    StageCost,
    fit,
    host_seconds,
    roofline,
)
from emulator.errors import InputError
from emulator.interruption import Interruption, Wait
from emulator.node import Work
from tests.tolerance import assert_close

PI = Hardware(training=10e9, memory=1e9, slowdown=4.0)
HOST = Hardware(training=math.inf, memory=math.inf, slowdown=1.0)
WORK = Work(flops=1e9, bytes_moved=1e8, peak_memory=1e6)
positive = st.floats(1e-6, 1e3)


def model(**stage: object) -> CostModel:
    cost = StageCost.model_validate({"run": "psl", "role": "client", "stage": "forward", "overhead": 0.001, **stage})
    return CostModel(core_flops=40e9, bandwidth=10e9, stages=(cost,))


def test_the_roofline_is_the_slower_of_arithmetic_and_memory() -> None:
    assert roofline(WORK, flops=1e9, bandwidth=1e12) == 1.0
    assert roofline(WORK, flops=1e12, bandwidth=1e8) == 1.0


@given(positive, st.floats(0.01, 2.0), st.lists(positive, min_size=2, max_size=6, unique=True))
def test_a_line_is_found_from_points_on_it(overhead: float, efficiency: float, sizes: list[float]) -> None:
    if max(sizes) < 1.1 * min(sizes) or min(sizes) / max(sizes) < 1e-3 or not 0.01 < overhead / max(sizes) < 100:
        return
    found, reached = fit([Point(x, overhead + x / efficiency, 1.0) for x in sizes])
    assert reached is not None
    for x in sizes:
        assert_close(found + x / reached, overhead + x / efficiency, relative=1e-6, what="a point on the line")


def test_one_size_gives_an_efficiency_and_no_overhead() -> None:
    assert fit([Point(1.0, 4.0, 1.0), Point(1.0, 4.0, 3.0)]) == (0.0, 0.25)


def test_more_work_always_takes_longer_whatever_noise_says() -> None:
    overhead, efficiency = fit([Point(0.01, 2.0, 1.0), Point(0.02, 1.9, 1.0)])
    assert efficiency == 2.0
    assert_close(overhead + 0.02 / efficiency, 1.9, relative=1e-9, what="the largest size")
    assert_close(overhead + 0.01 / efficiency, 1.895, relative=1e-9, what="half of it")


@given(st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=6, unique_by=lambda point: point[0]))
def test_the_largest_size_takes_what_it_was_measured_to(measured: list[tuple[float, float, float]]) -> None:
    points = sorted(Point(*point) for point in measured)
    roofline, cpu, _ = points[-1]
    assume(all(point.roofline < 0.999 * roofline for point in points[:-1]))
    overhead, efficiency = fit(points)
    assert efficiency is not None
    assert_close(overhead + roofline / efficiency, cpu, relative=1e-6, what="the largest size")


def test_an_overhead_is_never_negative() -> None:
    overhead, efficiency = fit([Point(1.0, 1.0, 1.0), Point(2.0, 3.0, 1.0)])
    assert overhead == 0
    assert efficiency is not None
    assert 0.6 < efficiency < 1.0


def test_work_that_was_not_counted_is_all_overhead() -> None:
    assert fit([Point(0.0, 0.5, 2.0)]) == (0.5, None)


@pytest.mark.parametrize("points", [[], [Point(1.0, 0.0, 1.0)]])
def test_missing_timing_is_an_error(points: list[Point]) -> None:
    with pytest.raises(ValueError, match="no timing"):
        fit(points)


def test_a_device_takes_the_hosts_time_at_its_ratio() -> None:
    made = model(efficiency=0.5)
    expected = 0.001 + (1e9 / 40e9) / 0.5
    assert host_seconds(made.stages[0], WORK, made) == expected
    assert Charges(made, "psl").seconds("a", "client", "forward", WORK, PI) == 4.0 * expected
    assert Charges(made, "psl").seconds("a", "client", "forward", WORK, HOST) == expected


def test_a_nodes_first_call_takes_longer_and_in_the_first_run_still_longer() -> None:
    made = model(efficiency=0.5, first=0.1, cold=0.2)
    for first_run, extra in ((True, 0.2), (False, 0.1)):
        charges = Charges(made, "psl", first_run=first_run)
        calls = [charges.seconds(node, "client", "forward", WORK, HOST) for node in ("a", "a", "b", "a")]
        assert_close(calls[0] - calls[1], extra, what="of the first call")
        assert calls[0] == calls[2]
        assert calls[1] == calls[3]


def test_a_call_takes_what_its_cores_speed_was_measured_to_make_of_it() -> None:
    """In order, of its own node and stage; where more is predicted than was measured, what was measured last."""
    made = model(efficiency=0.5, probe=5e-5)
    usual = host_seconds(made.stages[0], WORK, made)
    charges = Charges(made, "psl", probes={("a", "forward"): [5e-5, 1e-4], ("a", "backward"): [1.0]})
    for node, factor in (("a", 1.0), ("b", 1.0), ("a", 2.0), ("a", 2.0)):
        assert_close(charges.seconds(node, "client", "forward", WORK, HOST), factor * usual, what=node)
    unknown = Charges(model(efficiency=0.5), "psl", probes={("a", "forward"): [1.0]})
    assert unknown.seconds("a", "client", "forward", WORK, HOST) == usual


def test_without_a_calibration_a_device_reaches_its_profile() -> None:
    assert Charges(None, "psl").seconds("a", "client", "forward", WORK, PI) == 0.1


@pytest.mark.parametrize(
    ("made", "stage", "work", "device", "remedy"),
    [
        (None, "forward", None, PI, "pass work= to node.compute"),
        (None, "forward", WORK, HOST, "no throughput of its own"),
        (model(efficiency=0.5), "backward", WORK, PI, "no stage 'backward': run edgebed calibrate"),
        (model(efficiency=0.5), "forward", None, PI, "pass work= to node.compute"),
        (model(), "forward", Work(1.0, peak_memory=2e9), PI, "choose another device"),
    ],
)
def test_what_cannot_be_priced_is_refused_with_the_remedy(
    made: CostModel | None, stage: str, work: Work | None, device: Hardware, remedy: str
) -> None:
    with pytest.raises(InputError, match=f"^node-7: .*{remedy}"):
        Charges(made, "psl").seconds("node-7", "client", stage, work, device)


SPREAD = (0.7, 0.8, 1.0, 1.5)


def taken(seed: int = 1, run: str = "psl", node: str = "a", calls: int = 400) -> list[float]:
    charges = Charges(model(efficiency=0.5, spread=SPREAD), run, seed=seed)
    usual = 0.001 + (1e9 / 40e9) / 0.5
    return [charges.seconds(node, "client", "forward", WORK, HOST) / usual for _ in range(calls)]


def test_calls_take_what_was_measured_each_as_often_as_the_others() -> None:
    """Even of few calls: every so many of them, one after the other, have each factor once."""
    times = [round(time, 9) for time in taken(calls=100 * len(SPREAD))]
    turns = [tuple(times[start : start + len(SPREAD)]) for start in range(0, len(times), len(SPREAD))]
    assert all(sorted(turn) == sorted(SPREAD) for turn in turns)
    assert len(set(turns)) > 1  # in another order each time


def test_the_draw_is_of_the_seed_the_node_and_the_call_alone() -> None:
    assert taken() == taken()
    assert taken(calls=7) == taken(calls=400)[:7]
    assert len({tuple(times) for times in (taken(), taken(seed=2), taken(node="b"))}) == 3


def test_a_quota_makes_a_call_longer_by_its_interruptions() -> None:
    made = model(efficiency=0.5)
    always = Interruption(brief=Wait(seconds=1e-3, cost=2e-4), long=Wait(seconds=1.0, cost=2e-4), tick=0.0)
    known = made.model_copy(update={"interruption": always})
    throttled = PI._replace(quota=Bandwidth(1e-3, 1e-2))
    free = Charges(known, "psl").seconds("a", "client", "forward", WORK, PI)
    held = Charges(known, "psl").seconds("a", "client", "forward", WORK, throttled)
    assert_close(held / free, 1.25, relative=1e-9, what="a fifth of each millisecond goes to its interruption")
    with pytest.raises(InputError, match="does not say what a CPU quota's interruptions cost: run edgebed calibrate"):
        Charges(made, "psl").seconds("a", "client", "forward", WORK, throttled)
