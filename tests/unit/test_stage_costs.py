import pytest

from emulator.node import Work
from emulator.stage_costs import stage_costs
from emulator.timeline import Span
from tests.tolerance import assert_close

ROLES = {"server": "server", "client-1": "client", "client-2": "client"}


def test_stages_are_fitted_from_what_was_measured_without_the_first_calls() -> None:
    spans = []
    for run, cpu in (("psl/0", 0.5), ("psl/1", 0.3)):
        for node in ("client-1", "client-2"):
            for number in range(1, 6):
                took = cpu + (1.0 if number == 1 else 0.0)
                spans.append(Span(f"{run}/0", number, node, "think", 0.0, took, cpu=took, mode="stretched"))
    works = {"psl/0": {("client", "think"): Work(4e9)}, "psl/1": {("client", "think"): Work(2e9)}}
    (stage,) = stage_costs(spans, ROLES, works, core_flops=1e10, bandwidth=1e12)
    assert (stage.run, stage.role, stage.stage) == ("psl", "client", "think")
    assert stage.efficiency is not None
    assert_close(stage.overhead, 0.1, what="overhead")
    assert_close(stage.efficiency, 1.0, what="efficiency")
    assert_close(stage.first, 1.0, what="the first call's extra")
    assert_close(stage.cold, 1.0, what="the very first call's extra")


def test_the_same_work_is_measured_by_all_runs_that_do_it() -> None:
    spans = [
        Span(f"{run}/0", number, "client-1", "think", 0.0, cpu, cpu=cpu, mode="stretched")
        for run, cpu in (("psl/0", 0.5), ("sfl/0", 0.3), ("sl/0", 0.2))
        for number in range(1, 6)
    ]
    works = {run: {("client", "think"): Work(flops)} for run, flops in (("psl/0", 4e9), ("sfl/0", 4e9), ("sl/0", 1e9))}
    found = stage_costs(spans, ROLES, works, core_flops=1e10, bandwidth=1e12)
    for stage, (run, efficiency) in zip(found, (("psl", 1.0), ("sfl", 1.0), ("sl", 0.5)), strict=True):
        assert stage.run == run
        assert stage.efficiency is not None
        assert_close(stage.efficiency, efficiency, what=run)


def test_what_was_done_once_in_a_run_is_told_by_the_others_that_did_it_more_often() -> None:
    """The first time takes longer, and of three others what one more takes does not count."""
    spans = [
        Span(f"{run}/0", number, "server", "average", 0.0, cpu, cpu=cpu, mode="stretched")
        for run, took in (("sfl/0", [9.0, 0.3, 0.1, 0.1]), ("sfl/1", [9.0]))
        for number, cpu in enumerate(took, 1)
    ]
    works = {run: {("server", "average"): Work(1e9)} for run in ("sfl/0", "sfl/1")}
    (stage,) = stage_costs(spans, ROLES, works, core_flops=1e10, bandwidth=1e12)
    assert stage.efficiency is not None
    assert_close(stage.overhead + 0.1 / stage.efficiency, 0.1, what="an average")


def test_each_turn_begins_anew_and_the_first_began_cold() -> None:
    spans = [
        Span(f"psl/0/{turn}", number, "client-1", "think", 0.0, cpu, cpu=cpu, mode="stretched")
        for turn, first, usual in ((0, 9.0, 0.1), (1, 4.0, 0.2), (2, 4.0, 0.3))
        for number, cpu in enumerate((first, usual, usual), 1)
    ]
    (stage,) = stage_costs(spans, ROLES, {"psl/0": {}}, core_flops=1e10, bandwidth=1e12)
    assert_close(stage.overhead, 0.2, what="a call")
    assert_close(stage.first, 8.8, what="the first call's extra")


def test_a_stage_of_one_call_a_turn_is_known_by_these() -> None:
    spans = [
        Span(f"psl/0/{turn}", 9, "server", "average", 0.0, cpu, cpu=cpu, mode="stretched")
        for turn, cpu in ((1, 0.3), (2, 0.1))  # and none in the first
    ]
    (stage,) = stage_costs(spans, ROLES, {"psl/0": {}}, core_flops=1e10, bandwidth=1e12)
    assert_close(stage.overhead, 0.2, what="a call")


def test_a_stages_spread_is_that_of_its_own_size_without_the_ends() -> None:
    took = [0.1 * (1 + number % 5) for number in range(50)] + [9.0]
    spans = [Span("psl/0/0", 1, "server", "think", 0.0, cpu, cpu=cpu, mode="stretched") for cpu in [1.0, *took]]
    (stage,) = stage_costs(spans, ROLES, {"psl/0": {}}, core_flops=1e10, bandwidth=1e12)
    assert_close(sum(stage.spread) / len(stage.spread), 1.0, what="mean factor")
    assert stage.spread == tuple(sorted(stage.spread))
    assert_close(stage.overhead * stage.spread[4], 0.3, relative=0.01, what="the median")
    assert stage.overhead * stage.spread[-1] < 0.6
    # Of seven, five are neither the least nor the most: their median is not their mean.
    some = [Span("psl/0/0", 1, "server", "think", 0.0, cpu, cpu=cpu, mode="stretched")
            for cpu in (1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.9)]  # fmt: skip
    (stage,) = stage_costs(some, ROLES, {"psl/0": {}}, core_flops=1e10, bandwidth=1e12)
    assert len(stage.spread) == 5
    assert_close(stage.overhead * stage.spread[2], 0.1, what="the median")
    assert_close(stage.overhead, 0.14, what="the mean")
    few = [Span("psl/0/0", 1, "server", "think", 0.0, cpu, cpu=cpu, mode="stretched") for cpu in (1.0, 0.1, 0.2)]
    (unknown,) = stage_costs(few, ROLES, {"psl/0": {}}, core_flops=1e10, bandwidth=1e12)
    assert unknown.spread == ()


def test_what_was_computed_while_its_core_was_slow_is_told_as_at_its_usual_speed() -> None:
    """Of the first run two calls in five were slow, of the other four; their spread has nothing of that. Ages are
    between calls: each is told by its own probe alone."""
    spans = [
        Span(f"{run}/0", 1, "client-1", "think", at, at + 1, cpu=cpu * times, probe=5e-5 * times)
        for run, cpu, slow in (("psl/0", 0.1, 16), ("sl/0", 0.2, 32))
        for number in range(41)
        for at, times in ((1e11 * number, 1.44 if number <= slow else 1.0),)
    ]
    works = {"psl/0": {("client", "think"): Work(1e9)}, "sl/0": {("client", "think"): Work(2e9)}}
    for stage, cpu in zip(stage_costs(spans, ROLES, works, core_flops=1e10, bandwidth=1e12), (0.1, 0.2), strict=True):
        assert stage.efficiency is not None
        assert_close(stage.probe or 0.0, 5e-5 * 1.44, what="the usual probe: 48 of 80 calls had it")
        assert_close(stage.overhead + cpu / stage.efficiency, cpu * 1.44, relative=1e-6, what="a call at that speed")
        assert_close(stage.spread[-1], 1.0, relative=1e-6, what="the most")


@pytest.mark.parametrize(("cpu", "told"), [(0.008, (1.25, 1.25, 2.0)), (0.1, (1.5, 1.5, 1.5))])
def test_short_calls_that_come_more_seldom_are_measured_by_themselves(cpu: float, told: tuple[float, ...]) -> None:
    """Caches empty meanwhile, which long ones have soon filled again."""
    spans = [
        Span(f"{run}/0", number, "client-1", "think", number * wait, number * wait + cpu, cpu=cpu * times)
        for run, wait, times in (("psl/0", 1.0, 1.0), ("sfl/0", 1.9, 1.5), ("sl/0", 9.0, 2.0))
        for number in range(1, 6)
    ]
    works = {run: {("client", "think"): Work(1e9)} for run in ("psl/0", "sfl/0", "sl/0")}
    found = stage_costs(spans, ROLES, works, core_flops=1e10, bandwidth=1e12)
    for stage, (run, times) in zip(found, zip(works, told, strict=True), strict=True):
        assert stage.run == run.partition("/")[0]
        assert stage.efficiency is not None
        assert_close(0.1 / stage.efficiency, cpu * times, what=run)
