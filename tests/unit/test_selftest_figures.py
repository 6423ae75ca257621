"""The self-test's figures, in virtual time: right links have no error, wrong ones the error that they were given."""

import math
from dataclasses import replace
from functools import cache

import pytest

from emulator.causes import HostFacts
from emulator.offset import Standing
from emulator.plan import Plan, SegmentPlan
from emulator.profiles import LinkProfile
from emulator.selftest.figures import Figure, of_devices
from emulator.selftest.judgement import judged, of_clocks
from emulator.verdict import DEFAULT_LIMITS, Check
from tests.tolerance import assert_close
from tests.unit.selftest_world import channel, figures, link, plan, timeline, with_phases

IDLE = HostFacts(cores=2, cores_wanted=1.0)
UNEVEN = (
    link(channel("8 Mbit/s", "10 ms", jitter="4 ms", loss="0.5 %"), channel("12 Mbit/s", "10 ms", jitter="4 ms")),
    link(channel("100 Mbit/s", "2 ms")),
    link(channel("1 Mbit/s", "30 ms", jitter="1 ms")),
)


@cache
def of_uneven() -> dict[tuple[str, str], Figure]:
    """What right links of the uneven clients come to."""
    return figures(plan(*UNEVEN))


def errors(found: dict[tuple[str, str], Figure], name: str) -> dict[str, float]:
    return {of: figure.error for (what, of), figure in found.items() if what == name and figure.error is not None}


def checks(found: dict[tuple[str, str], Figure], facts: HostFacts = IDLE) -> dict[str, Check]:
    return {check.name: check for check in judged(list(found.values()), facts).checks}


def with_link(made: Plan, node: str, **changes: float) -> Plan:
    """The plan with another up link of one node."""
    nodes = [
        each.model_copy(update={"link": each.link.model_copy(update={"up": each.link.up.model_copy(update=changes)})})
        if each.name == node
        else each
        for each in made.nodes
    ]
    return made.model_copy(update={"nodes": nodes})


def test_links_of_the_profiles_have_no_error() -> None:
    found = of_uneven()
    for name in ("rate_error", "delay_error", "promise_error", "loss_effect", "together_lateness"):
        assert errors(found, name)
        for of, error in errors(found, name).items():
            assert_close(error, 0.0, absolute=1e-6, what=f"{name} of {of}")
    assert len(errors(found, "rate_error")) == 6
    assert errors(found, "loss_effect").keys() == {"c1 up"}
    assert errors(found, "jitter_distance").keys() == {"c1 up", "c1 down", "c3 up", "c3 down"}
    assert judged(list(found.values()), IDLE).valid


def test_loss_leaves_what_the_formula_says() -> None:
    figure = of_uneven()["loss_effect", "c1 up"]
    assert figure.configured is not None
    assert 0 < figure.configured < 1
    assert figure.achieved == pytest.approx(figure.configured)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.2])
def test_a_link_of_another_rate_is_found_out_on_its_own_way(factor: float) -> None:
    made = plan(*UNEVEN)
    found = figures(made, with_link(made, "c2", rate=100e6 * factor))
    rates = errors(found, "rate_error")
    assert_close(rates.pop("c2 up"), factor - 1, absolute=1e-6)
    assert max(map(abs, rates.values())) < 1e-6
    failed = checks(found)
    assert "c2 up: the hub's links are" in failed["rate_error"].reason
    assert ("slower" in failed["promise_error"].reason) is (factor < 1)


def test_a_longer_delay_is_found_out() -> None:
    made = plan(*UNEVEN)
    found = figures(made, with_link(made, "c2", delay=0.012))
    assert_close(found["delay_error", "c2 up"].error or 0.0, 0.010, absolute=1e-6)
    assert found["delay_error", "c2 up"].ok is False
    assert found["delay_error", "c1 up"].ok is True


@pytest.mark.parametrize(("jitter", "ok"), [(0.004, True), (0.008, False), (0.002, False)])
def test_jitter_is_judged_as_a_distribution(jitter: float, ok: bool) -> None:
    made = plan(*UNEVEN)
    found = figures(made, with_link(made, "c1", jitter=jitter))
    assert found["jitter_sd", "c1 up"].ok is ok
    right, this = of_uneven()["jitter_distance", "c1 up"], found["jitter_distance", "c1 up"]
    assert right.ok
    assert this == right if ok else (this.error or 0) > (right.error or 0) + 0.05
    assert "Kolmogorov-Smirnov" in found["jitter_distance", "c1 up"].note


def test_what_has_no_limit_is_not_checked() -> None:
    found = figures(plan(link(channel("unlimited", "5 ms")), server=link({"rate": "unlimited"})))
    assert found["rate_error", "c1 up"].error is None
    assert "unlimited" in found["rate_error", "c1 up"].note
    assert "none" in found["jitter_sd", "c1 up"].note
    assert found["memory_limit", "c1"].note == "not limited"
    assert ("unfairness", "server down") not in found


def test_jitter_finer_than_the_hosts_timers_is_not_checked() -> None:
    found = figures(plan(link(channel(jitter="0.02 ms"))))
    assert found["jitter_sd", "c1 up"].ok is None
    assert "not checked" in found["jitter_sd", "c1 up"].note


# -- the shared link


def test_a_wide_link_gives_everybody_its_own_rate() -> None:
    found = of_uneven()
    for of in ("server down", "server up"):
        assert found["unfairness", of].achieved == pytest.approx(1.0, abs=1e-3)
        assert "wide enough for all" in found["unfairness", of].note
    assert found["together_rate", "server down"].achieved == pytest.approx(
        found["together_rate", "server down"].configured,
        rel=0.03,  # the last of each comes by its own delay
    )


def test_a_narrow_link_is_shared_as_traffic_comes() -> None:
    narrow = link(channel("10 Mbit/s", "1 ms"))
    found = figures(plan(link(channel("20 Mbit/s")), link(channel("5 Mbit/s")), server=narrow))
    figure = found["unfairness", "server down"]
    assert "first come, first served" in figure.note
    assert "wide" not in figure.note
    assert figure.achieved == pytest.approx(1.0, abs=0.01)
    assert found["together_rate", "server down"].configured == pytest.approx(10e6)


# -- devices


def test_a_device_that_keeps_up_has_its_share() -> None:
    found = figures(plan(link(channel())))
    figure = found["cpu_share", "c1"]
    assert figure.configured == pytest.approx(0.1)
    assert figure.error == pytest.approx(0.0, abs=1e-9)
    assert found["cpu_share_together", "server"].error == pytest.approx(0.0, abs=1e-9)
    assert found["timer_overshoot", "c1"].error == 0


def test_a_device_that_is_too_slow_is_found_out() -> None:
    found = figures(plan(link(channel())), longer=1.25)
    assert found["cpu_share", "c1"].error == pytest.approx(1 / 1.25 - 1)
    assert checks(found)["cpu_share"].reason == "the host was busy with other work"


def test_under_a_quota_two_of_its_periods_may_be_lost_and_what_it_delayed_was_no_timer() -> None:
    made = plan(link(channel())).model_copy(update={"compute": "quota"})
    made = with_phases(made)
    spans, metrics = timeline(made)
    ticks = [replace(span, mode="quota", end=span.end + 1.0) for span in spans if span.stage == "tick"][::2]
    kept = [span for span in spans if span.stage != "tick"] + [span for span in spans if span.stage == "tick"][1::2]
    found = {(one.name, one.of): one for one in of_devices([*kept, *ticks], metrics, made, DEFAULT_LIMITS)}
    assert found["timer_overshoot", "c1"].error == 0
    share = found["cpu_share", "c1"]
    assert share.ok
    # A board of a tenth of a core: its quota is 1 ms in each 10 ms, and its work takes a second.
    assert_close(share.limit or 0.0, DEFAULT_LIMITS.cpu_share_run + 2 * 0.010 / 1.0, relative=0.01, what="the limit")


# -- the verdict


def test_of_each_kind_the_worst_is_judged() -> None:
    good = Figure("rate_error", "a", 1e6, 1e6, "bit/s", 0.001, 0.02)
    bad = Figure("rate_error", "b", 1e6, 0.9e6, "bit/s", -0.1, 0.02)
    unjudged = Figure("rate_error", "c", math.inf, 1e6, "bit/s")
    verdict = judged([good, bad, unjudged], HostFacts(cores=1, cores_wanted=2.0))
    (check,) = verdict.checks
    assert (check.value, check.ok) == (0.1, False)
    assert "host oversubscribed" in check.reason
    assert judged([good, unjudged], IDLE).valid


def test_a_clock_is_judged_by_what_it_may_be_off_in_emulated_time() -> None:
    clocks = {"a": Standing(0.0, 1e-4, 2e-4), "b": Standing(0.25, 0.2, 0.05), "c": Standing(0.0)}
    found = {figure.of: figure for figure in of_clocks(clocks, 2.0, DEFAULT_LIMITS)}
    assert found["a"].ok
    assert found["b"].ok is False
    assert found["b"].error == pytest.approx(0.125)
    assert found["c"].note == "not measured"
    facts = HostFacts(cores=2, cores_wanted=1.0, clock_error=0.25, clock_worst="b")
    assert "the clock of b" in judged(list(found.values()), facts).checks[0].reason


def test_memory_that_is_not_limited_is_found_out() -> None:
    given = Figure("memory_limit", "a", 1e9, 0.0, "bytes", 1.0, 0.01, note="more given")
    (check,) = judged([given], IDLE).checks
    assert not check.ok
    assert check.reason.startswith("a: its memory is not limited to its device's (more given)")


# -- links that are shared in turn, and segments


def test_a_link_that_is_shared_fairly_gives_all_alike() -> None:
    narrow = link(channel("10 Mbit/s", "1 ms", sharing="fair"))
    found = figures(plan(*[link(channel("20 Mbit/s", "1 ms"))] * 4, link(channel("1 Mbit/s")), server=narrow))
    figure = found["unfairness", "server down"]
    assert "shared fairly" in figure.note
    assert figure.achieved is not None
    assert figure.achieved >= 0.99
    assert figure.ok


def in_cell(made: Plan, rate: str, sharing: str = "fair") -> Plan:
    """The plan with all clients in one segment."""
    profile = LinkProfile.model_validate(link(channel(rate, "2 ms", sharing=sharing)))
    nodes = [n if n.name == "server" else n.model_copy(update={"segment": "cell"}) for n in made.nodes]
    return with_phases(made.model_copy(update={"nodes": nodes, "segments": {"cell": SegmentPlan(link=profile)}}))


def test_a_segments_link_is_on_the_way_of_all_that_are_in_it() -> None:
    made = in_cell(plan(*[link(channel("20 Mbit/s"))] * 4), "10 Mbit/s")
    found = figures(made)
    for of, error in {**errors(found, "rate_error"), **errors(found, "delay_error")}.items():
        assert_close(error, 0.0, absolute=1e-6, what=of)
    assert found["rate_error", "c1 up"].configured == 10e6
    assert found["unfairness", "cell up"].ok
    assert found["together_rate", "cell up"].achieved == pytest.approx(10e6, rel=0.02)


def test_a_hub_without_the_segments_link_is_found_out() -> None:
    made = in_cell(plan(*[link(channel("20 Mbit/s"))] * 2), "10 Mbit/s")
    found = figures(
        made,
        made.model_copy(update={"segments": {}, "nodes": [n.model_copy(update={"segment": None}) for n in made.nodes]}),
    )
    assert found["rate_error", "c1 up"].error == pytest.approx(1.0, abs=1e-6)
    assert "faster than their profiles" in checks(found)["promise_error"].reason
