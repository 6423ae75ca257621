import pytest

from emulator.change import LINK_CHANGE
from emulator.kernel_fidelity import promised
from emulator.profiles import Channel, LinkProfile
from emulator.tc import on_wire
from emulator.timeline import Span
from emulator.verdict import Check, HostFacts, judge
from tests.tolerance import assert_close

RATE = 8e6
IDLE = HostFacts(cores=2, cores_wanted=1.0)


def link(rate: str = "8 Mbit/s", delay: str = "0 s", jitter: str = "0 s") -> LinkProfile:
    channel = Channel(rate=rate, delay=delay, jitter=jitter)
    return LinkProfile(source="a test", up=channel, down=channel)


LINKS = {"server": link("unlimited"), "a": link(), "b": link()}


def message(start: float, end: float, nbytes: int, node: str = "a", peer: str = "server") -> Span:
    return Span("run", 1, node, "uplink", start, end, bytes=nbytes, peer=peer)


def test_a_message_alone_takes_its_bytes_with_headers_at_the_rate() -> None:
    sent = message(1.0, 2.0, 10**6)
    ((span, due),) = promised([sent], LINKS)
    assert span is sent
    assert_close(due - 1.0, on_wire(10**6) * 8 / RATE)


def test_messages_that_share_a_link_wait_for_one_another() -> None:
    slow_server = {**LINKS, "server": link()}
    dues = [due for _, due in promised([message(0, 3, 10**6), message(0, 3, 10**6, node="b")], slow_server)]
    assert_close(max(dues), 2 * on_wire(10**6) * 8 / RATE, relative=0.02)


def test_jitter_is_left_out_and_delay_is_not() -> None:
    links = {"server": link("unlimited", delay="10 ms", jitter="5 ms"), "a": link("unlimited", delay="20 ms")}
    ((_, due),) = promised([message(1.0, 1.1, 100)], links)
    assert_close(due, 1.030)


def test_what_is_off_the_clock_or_no_message_is_left_out() -> None:
    off = Span("run", 1, "a", "done", 0, 1, bytes=10**6, peer="server", off_clock=True)
    work = Span("run", 1, "a", "think", 0, 1)
    assert promised([off, work], LINKS) == []


def test_messages_that_a_change_of_their_links_touched_are_left_out() -> None:
    change = Span("run", 1, "a", LINK_CHANGE, 2.0, 2.0, off_clock=True)
    before, across, after, of_b = (
        message(0.5, 1.5, 1000),
        message(1.6, 2.5, 1000),
        message(3, 4, 1000),
        message(3, 4, 1000, node="b"),
    )
    assert [span for span, _ in promised([before, across, after, of_b, change], LINKS)] == [before, of_b]


# -- the verdict


def checks(*spans: Span) -> dict[str, Check]:
    return {check.name: check for check in judge(spans, IDLE, ideal=promised(spans, LINKS)).checks}


@pytest.mark.parametrize(("factor", "ok"), [(1.0, True), (1.09, True), (1.15, False), (0.8, False)])
def test_the_rate_error_is_the_duration_over_that_of_ideal_links(factor: float, ok: bool) -> None:
    ideal = on_wire(10**6) * 8 / RATE
    check = checks(message(0, ideal * factor, 10**6))["kernel_rate_error"]
    assert_close(check.value, abs(factor - 1), absolute=1e-6)
    assert check.ok is ok
    assert bool(check.reason) is not ok
    if not ok:
        assert ("faster" in check.reason) is (factor < 1)


@pytest.mark.parametrize(("late", "ok"), [(0.004, True), (0.006, False)])
def test_short_messages_are_judged_by_how_late_they_are(late: float, ok: bool) -> None:
    found = checks(message(0, on_wire(1000) * 8 / RATE + late, 1000))
    assert "kernel_rate_error" not in found
    assert_close(found["kernel_lateness"].value, late, absolute=1e-6)
    assert found["kernel_lateness"].ok is ok


def test_without_links_of_the_kernel_nothing_of_them_is_checked() -> None:
    assert not [check for check in judge([message(0, 1, 1000)], IDLE).checks if "kernel" in check.name]
