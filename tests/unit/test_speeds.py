from hypothesis import given
from hypothesis import strategies as st

from emulator.speeds import sensed
from emulator.timeline import Span
from tests.tolerance import assert_close


def computed(start: float, seconds: float, probe: float | None, mode: str = "quota", round: int = 1) -> Span:
    """In a device ten times as slow as the host where it is held back."""
    cpu = seconds if mode == "quota" else seconds / 10
    return Span("psl", round, "a", "think", start, start + seconds, cpu=cpu, probe=probe, mode=mode)


def told(*spans: Span, scale: float = 1.0) -> list[float | None]:
    return [call.probe for _, call in sensed(spans, scale)]


def test_probes_count_that_were_taken_meanwhile_and_half_as_long_before_and_after() -> None:
    long = computed(10.0, 2.0, 2e-5)
    within = [computed(8.9, 0.2, 4e-5), computed(11.0, 0.1, 8e-5), computed(12.8, 0.15, 16e-5)]  # from 9.0 to 13.0
    beyond = [computed(8.7, 0.2, 1.0), computed(12.9, 0.2, 1.0)]
    found = dict(sensed([long, *within, *beyond], 1.0))
    mean = found[long].probe
    assert mean is not None
    assert_close(mean, (2e-5 * 4e-5 * 8e-5 * 16e-5) ** 0.25, relative=1e-9, what="the probe")


def test_what_is_held_back_was_computed_before() -> None:
    """At a time scale of 2, half a second of the host is a quarter of one."""
    held = computed(0.0, 5.0, 4e-5, "stretched")
    during, after = computed(0.1, 0.2, 1e-5), computed(0.3, 0.2, 1.0)
    assert_close(told(held, during, after, scale=2.0)[0] or 0.0, 2e-5, relative=1e-9, what="the probe")
    assert told(held, during, after, scale=1.0)[0] != told(held, during, after, scale=2.0)[0]


def test_what_others_tell_of_about_the_same_moment_is_told_apart() -> None:
    """Up to a second of the host before and after: at a time scale of 2 half an emulated one."""
    one = computed(10.0, 1.0, 2e-5)
    before, after, late = computed(9.0, 0.4, 4e-5), computed(11.3, 0.1, 9e-5), computed(11.7, 0.1, 8e-5)
    for scale, expected in ((1.0, (4e-5 * 9e-5 * 8e-5) ** (1 / 3)), (2.0, 9e-5)):
        found = dict(sensed([one, before, after, late], scale))[one]
        assert found.own == 2e-5
        assert_close(found.others or 0.0, expected, relative=1e-9, what=f"others' probes at {scale}")
    assert dict(sensed([one], 1.0))[one].others is None


def test_without_a_probe_nothing_is_known() -> None:
    unknown, known = told(computed(0.0, 1.0, None), computed(5.0, 1.0, 3e-5))
    assert unknown is None
    assert_close(known or 0.0, 3e-5, relative=1e-9, what="the one probe")
    assert told(Span("psl", 1, "a", "uplink", 0.0, 1.0, peer="b")) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 5), st.floats(1e-6, 1e-3)), min_size=1, max_size=20))
def test_what_is_told_lies_between_the_quickest_and_the_slowest(calls: list[tuple[float, float, float]]) -> None:
    spans = [computed(start, seconds, probe) for start, seconds, probe in calls]
    probes = [span.probe for span in spans if span.probe]
    for span, call in sensed(spans, 1.0):
        assert (call.cpu, call.own) == (span.cpu, span.probe)
        for probe in (call.probe, call.others or call.own):
            assert probe is not None
            assert min(probes) * (1 - 1e-9) <= probe <= max(probes) * (1 + 1e-9)


def test_computations_are_told_in_the_order_of_their_rounds() -> None:
    spans = [computed(5.0, 1.0, 1e-5, round=2), computed(0.0, 1.0, 2e-5)]
    assert [span.round for span, _ in sensed(spans, 1.0)] == [1, 2]
