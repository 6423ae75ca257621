from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.timeline import Span
from emulator.verdict import Check, HostFacts, Verdict, combine, judge

IDLE = HostFacts(cores=2, cores_wanted=1.5)
BUSY = "the host was busy with other work"


def stage(start: float, end: float, due: float | None, number: int = 1, mode: str = "stretched") -> Span:
    return Span("psl", number, "a", "client_forward", start, end, due=due, mode=mode)


def message(start: float, end: float, due: float | None, number: int = 1) -> Span:
    return Span("psl", number, "a", "uplink", start, end, peer="server", bytes=1, due=due)


def named(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def names(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks]


def test_a_run_on_time_is_valid() -> None:
    verdict = judge([stage(0, 1, 1), message(1, 2, 2)], IDLE)
    assert verdict.valid
    assert names(verdict) == [
        "latency_error",
        "compute_overrun",
        "delivery_lateness",
        "delivery_lateness_p95",
        "rate_error",
    ]
    assert all(check.value == 0 and not check.reason for check in verdict.checks)
    assert verdict.summary() == "VALID"


def test_the_latency_error_is_lateness_and_gaps_over_the_latency() -> None:
    # 0.1 s late in computing, 0.2 s unaccounted for, 0.3 s late in delivery, of 2.0 + 2.0 s in two rounds.
    run = [stage(0, 0.6, 0.5), message(0.8, 2.0, 1.7), stage(7, 9, None, number=2, mode="unthrottled")]
    assert named(judge(run, IDLE), "latency_error").value == pytest.approx(0.6 / 4.0)


def test_only_lateness_on_the_critical_path_is_part_of_the_latency() -> None:
    # b is late, but the round ends with a.
    run = [stage(0, 1, 1), replace(stage(0, 0.9, 0.1), node="b")]
    assert named(judge(run, IDLE), "latency_error").value == 0


def test_early_ends_do_not_pay_for_late_ones() -> None:
    run = [stage(0, 1.0, 2.0), stage(1.0, 2.5, 2.0)]
    assert named(judge(run, IDLE), "latency_error").value == pytest.approx(0.5 / 2.5)
    assert named(judge(run, IDLE), "compute_overrun").value == pytest.approx(0.5 / 3.0)


def test_only_stretched_stages_overrun() -> None:
    assert "compute_overrun" not in names(judge([stage(0, 2, 1, mode="quota")], IDLE))
    assert "compute_overrun" not in names(judge([stage(0, 1, 0)], IDLE))


def test_checks_without_data_are_left_out() -> None:
    assert names(judge([stage(0, 1, None, mode="unthrottled")], IDLE)) == ["latency_error"]
    assert names(judge([message(0, 1, None)], IDLE)) == ["latency_error"]
    # Too short to tell a late delivery from a low rate.
    assert "rate_error" not in names(judge([message(0, 0.05, 0.05)], IDLE))


def test_delivery_is_judged_by_its_median_and_its_tail() -> None:
    run = [message(number, number + 0.011, number + 0.010) for number in range(20)]
    verdict = judge([*run, message(20, 20.050, 20.010), message(21, 21.050, 21.010)], IDLE)
    assert named(verdict, "delivery_lateness").value == pytest.approx(0.001)
    assert named(verdict, "delivery_lateness").ok
    assert named(verdict, "delivery_lateness_p95").value == pytest.approx(0.03805)
    assert not named(verdict, "delivery_lateness_p95").ok


def test_a_rate_may_be_off_either_way() -> None:
    slow = judge([message(0, 1.05, 1.0)], IDLE)
    assert named(slow, "rate_error").value == pytest.approx(0.05)
    assert named(slow, "rate_error").reason == BUSY
    fast = judge([message(0, 0.9, 1.0)], IDLE)
    assert named(fast, "rate_error").value == pytest.approx(0.1)
    assert "before they are due" in named(fast, "rate_error").reason


def test_instrumentation_and_set_up_are_not_judged() -> None:
    late = [replace(stage(0, 9, 1), off_clock=True), stage(0, 9, 1, number=0)]
    assert judge([*late, stage(10, 11, 11)], IDLE) == judge([stage(10, 11, 11)], IDLE)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            HostFacts(cores=2, cores_wanted=3.1, hub_priority="not permitted"),
            "host oversubscribed: 3.1 cores wanted, 2 there: run with time_scale: auto or 1.6",
        ),
        (
            HostFacts(cores=2, cores_wanted=41, time_scale=4),
            "host oversubscribed: 41 cores wanted, 2 there: run with time_scale: auto or 82",
        ),
        (
            HostFacts(cores=4, cores_wanted=5, time_scale=0.01),
            "host oversubscribed: 5 cores wanted, 4 there: run with time_scale: auto or 0.013",
        ),
        (
            HostFacts(cores=2, cores_wanted=2, hub_priority="not permitted"),
            "hub without raised priority (not permitted)",
        ),
        (
            HostFacts(cores=2, cores_wanted=3.1, time_scale=1.5, hub_busy=0.981, hub_lag=0.0312),
            "hub saturated: 0.98 of a core busy in its busiest second, one in twenty of its timers over 31 ms late: "
            "run with fewer nodes, slower links or time_scale: 3",
        ),
        (
            HostFacts(cores=2, cores_wanted=1, hub_busy=0.3, hub_lag=0.058),
            f"{BUSY}, and the hub starved: one in twenty of its timers over 58 ms late",
        ),
        (HostFacts(cores=2, cores_wanted=1, hub_busy=0.89, hub_lag=0.001), BUSY),
        (IDLE, BUSY),
    ],
)
def test_an_invalid_run_names_the_likely_cause_and_the_remedy(facts: HostFacts, reason: str) -> None:
    verdict = judge([stage(0, 2, 1)], facts)
    assert not verdict.valid
    assert verdict.summary() == f"INVALID: latency_error 50 % (limit 5 %), compute_overrun 100 % (limit 5 %): {reason}"


@given(st.floats(2.001, 1e4), st.integers(1, 64), st.floats(1e-3, 1e4))
def test_the_advised_time_scale_fits_the_host(wanted: float, cores: int, scale: float) -> None:
    facts = HostFacts(cores=cores, cores_wanted=cores * wanted, time_scale=scale)
    reason = judge([stage(0, 2, 1)], facts).checks[0].reason
    advised = float(reason.rsplit(" ", 1)[1])
    assert facts.cores_wanted * scale / advised <= cores * (1 + 1e-6)
    assert advised <= 1.11 * scale * wanted


def test_a_summary_keeps_to_the_first_reasons() -> None:
    checks = tuple(Check(name, 0.003, 0.002, "s", False, f"reason {name}") for name in "abc")
    assert (
        Verdict(False, checks).summary()
        == "INVALID: a 3 ms (limit 2 ms): reason a; b 3 ms (limit 2 ms): reason b; and 1 more"
    )


def test_no_timing_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="no timing"):
        judge([], IDLE)


def test_several_runs_are_as_good_as_their_worst() -> None:
    good = judge([stage(0, 1, 1), message(1, 2, 2)], IDLE)
    bad = judge([stage(0, 2, 1)], IDLE)
    both = combine({"psl": good, "sl": bad})
    assert not both.valid
    assert names(both) == names(good)
    assert named(both, "latency_error").reason == f"sl: {BUSY}"
    assert named(both, "rate_error").ok
    assert combine({"psl": good}) == good
    with pytest.raises(ValueError, match="no verdict"):
        combine({})


def test_nodes_on_several_hosts_are_judged_by_how_well_their_clocks_are_known() -> None:
    def on(hosts: int, error: float) -> Verdict:
        return judge([stage(0, 1, 1)], replace(IDLE, hosts=hosts, clock_error=error, time_scale=2.0))

    assert "clock_error" not in names(on(hosts=1, error=0.0))
    assert named(on(hosts=2, error=0.003), "clock_error").ok
    failed = named(on(hosts=3, error=0.005), "clock_error")
    assert (failed.ok, failed.value, failed.unit) == (False, 0.0025, "s")
    assert "the clocks of 3 hosts" in failed.reason


def test_a_quota_is_judged_by_the_node_furthest_from_its_share() -> None:
    def computed(node: str, start: float, promised: float, taken: float) -> Span:
        return replace(stage(start, start + taken, start + promised, mode="quota"), node=node)

    exact = [computed("a", start, 0.1, 0.1) for start in (0, 1, 2)]
    slow = [computed("b", start, 0.1, 0.125) for start in (0, 1, 2)]
    verdict = judge([*exact, *slow], IDLE)
    for name in ("cpu_share", "cpu_share_run"):
        check = named(verdict, name)
        assert check.value == pytest.approx(0.2)
        assert check.reason == f"b: {BUSY}"
    assert named(judge(exact, IDLE), "cpu_share").ok
    assert named(judge(exact, IDLE), "cpu_share_run").ok


def test_short_stages_count_for_the_run_alone() -> None:
    short = [stage(start, start + 0.02, start + 0.01, mode="quota") for start in (0, 1, 2)]
    assert "cpu_share" not in names(judge(short, IDLE))
    assert named(judge(short, IDLE), "cpu_share_run").value == pytest.approx(0.5)
    assert not {"cpu_share", "cpu_share_run"} & set(names(judge([stage(0, 1, 1)], IDLE)))


def test_what_was_done_to_the_nodes_is_the_likeliest_cause() -> None:
    facts = HostFacts(cores=2, cores_wanted=9, disturbances=["a was paused for 3.1 s", "b was paused for 1.0 s"])
    assert judge([stage(0, 2, 1)], facts).checks[0].reason == "a was paused for 3.1 s; b was paused for 1.0 s"
    assert judge([stage(0, 1, 1)], facts).valid
