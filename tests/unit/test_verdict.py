from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.pulse import Pulse
from emulator.replay import Promise
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
        "timer_overshoot",
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
            HostFacts(cores=2, cores_wanted=2, stolen=0.071),
            "the hypervisor gave 7.1 % of this host's cores to other machines: run it again, or on a host that has its "
            "cores to itself",
        ),
        (HostFacts(cores=2, cores_wanted=2, stolen=0.001), "the host was busy with other work"),
        (
            HostFacts(cores=2, cores_wanted=2, hub_priority="not permitted"),
            "hub without raised priority (not permitted)",
        ),
        (
            HostFacts(cores=2, cores_wanted=2, hub=Pulse(late_p95=0.04, cpu=0.1, busiest=0.2)),
            "hub starved of CPU: one in twenty of its timers over 40 ms late, and it took 0.1 cores: leave it a core",
        ),
        (
            HostFacts(cores=2, cores_wanted=2, hub_priority="no right", hub=Pulse(0.04, 0.1, 0.2)),
            "hub starved of CPU: one in twenty of its timers over 40 ms late, and it took 0.1 cores: "
            "no right, or leave it a core",
        ),
        (
            HostFacts(cores=2, cores_wanted=3, time_scale=2.0, hub=Pulse(late_p95=0.04, cpu=0.7, busiest=0.97)),
            "hub saturated: 0.97 of a core busy in its busiest second, one in twenty of its timers over 40 ms late: "
            "run with fewer nodes, slower links or time_scale: 4",
        ),
        (
            HostFacts(cores=2, cores_wanted=2, hub=Pulse(late_p95=0.013, cpu=1.1, busiest=0.8)),
            "hub saturated: 0.80 of a core busy in its busiest second, one in twenty of its timers over 13 ms late: "
            "run with fewer nodes, slower links or time_scale: 2",
        ),
        (
            HostFacts(cores=2, cores_wanted=2, hub_priority="no right", hub=Pulse(0.013, 1.1, 0.8)),
            "hub starved of CPU: one in twenty of its timers over 13 ms late, and it took 1.1 cores: "
            "no right, or leave it a core",
        ),
        (HostFacts(cores=2, cores_wanted=2, hub=Pulse(late_p95=0.001, cpu=0.2, busiest=0.8)), BUSY),
        (IDLE, BUSY),
    ],
)
def test_an_invalid_run_names_the_likely_cause_and_the_remedy(facts: HostFacts, reason: str) -> None:
    verdict = judge([stage(0, 2, 1)], facts)
    assert not verdict.valid
    latency, computing = "latency_error 50 % (limit 5 %)", "compute_overrun 100 % (limit 5 %), timer_overshoot 1 s"
    if facts.hub is None or reason == BUSY:
        assert verdict.summary() == f"INVALID: {latency}, {computing} (limit 2 ms): {reason}"
    else:  # which has nothing to do with computing
        assert verdict.summary().startswith(f"INVALID: {latency}: {reason}; {computing}")


@given(st.floats(2.001, 1e4), st.integers(1, 64), st.floats(1e-3, 1e4))
def test_the_advised_time_scale_fits_the_host(wanted: float, cores: int, scale: float) -> None:
    facts = HostFacts(cores=cores, cores_wanted=cores * wanted, time_scale=scale)
    reason = judge([stage(0, 2, 1)], facts).checks[0].reason
    assert reason.startswith("host oversubscribed")
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


def test_a_clock_that_is_proven_to_be_off_on_one_host_is_the_likeliest_cause() -> None:
    facts = HostFacts(cores=2, cores_wanted=9, clock_error=0.5, clock_worst="b")
    verdict = judge([stage(0, 2, 1)], facts)
    assert not named(verdict, "clock_error").ok
    assert len({check.reason for check in verdict.checks}) == 1
    assert verdict.checks[0].reason.startswith("the clock of b is 500 ms off the hub's, on one host: ")


def test_timers_are_judged_by_the_median_of_what_was_held_back() -> None:
    late = [stage(start, start + 0.513, start + 0.510) for start in range(3)]
    on_time = [stage(start, start + 0.51, start + 0.51) for start in range(3, 9)]
    assert named(judge([*late, *on_time], IDLE), "timer_overshoot").value == 0
    assert named(judge(late, IDLE), "timer_overshoot").value == pytest.approx(0.003)
    assert "timer_overshoot" not in names(judge([stage(0, 1, 1, mode="quota")], IDLE))


# -- what the hub promised beside what the profiles make


def promises(*later: float, jitter: float = 0.0, peer: str = "server") -> list[Promise]:
    """Messages due at 10 ms by their profiles, and so many seconds later by the hub."""
    sent = [replace(message(start, start + 0.02, start + 0.01 + by), peer=peer) for start, by in enumerate(later)]
    return [Promise(span, span.start + 0.01, jitter) for span in sent]


def promise_error(promised: list[Promise], facts: HostFacts = IDLE) -> Check:
    return named(judge([message(0, 1, 1)], facts, promised=promised), "promise_error")


def test_a_hub_that_promises_what_the_profiles_make_is_believed() -> None:
    assert promise_error(promises(0.0, 0.0, 0.5)).value == 0  # one that came to the hub in another order
    assert "promise_error" not in names(judge([message(0, 1, 1)], IDLE))


@pytest.mark.parametrize(("later", "word"), [(0.008, "slower"), (-0.008, "faster")])
def test_a_hub_with_other_links_than_the_profiles_is_found_out(later: float, word: str) -> None:
    check = promise_error([*promises(0.0, 0.0), *promises(*[later] * 3, peer="b")])
    assert not check.ok
    assert check.value == pytest.approx(0.008)
    assert check.reason.startswith(f"from a to b the hub's links are {word} than their profiles: messages are due 8 ms")


def test_jitter_explains_as_much_as_chance_does() -> None:
    assert promise_error(promises(0.008, jitter=0.004)).value == 0
    assert promise_error(promises(*[0.008] * 100, jitter=0.004)).value == pytest.approx(0.0055, abs=1e-4)


def test_what_a_saturated_hub_promises_is_off_because_it_is_saturated() -> None:
    facts = HostFacts(cores=2, cores_wanted=1, hub=Pulse(late_p95=0.4, cpu=1.1, busiest=0.97))
    check = promise_error(promises(*[0.2] * 3), facts)
    assert not check.ok
    assert check.reason.startswith("hub saturated: 0.97 of a core busy")
