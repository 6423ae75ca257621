from hypothesis import given
from hypothesis import strategies as st

from emulator.speeds import ELSEWHERE, NEAREST, Call, sensed, times_as_long, usual
from emulator.timeline import Span
from tests.tolerance import assert_close


def computed(
    start: float, seconds: float, probe: float | None, mode: str = "quota", round: int = 1, node: str = "a"
) -> Span:
    """In a device ten times as slow as the host where it is held back."""
    cpu = seconds if mode == "quota" else seconds / 10
    return Span("psl", round, node, "think", start, start + seconds, cpu=cpu, probe=probe, mode=mode)


def told(*spans: Span, scale: float = 1.0) -> list[float | None]:
    return [call.probe for _, call in sensed(spans, scale)]


def test_a_probe_counts_the_less_the_further_away_it_was_taken() -> None:
    """One during a computation of two seconds, its own, and those half a second and two before and after."""
    long = computed(10.0, 2.0, 2e-5)
    others = [
        computed(11.0, 0.1, 4e-5), computed(9.4, 0.1, 8e-5), computed(12.4, 0.1, 8e-5),
        computed(7.9, 0.1, 16e-5), computed(13.9, 0.1, 16e-5),
    ]  # fmt: skip
    found = dict(sensed([long, *others], 1.0))[long].probe
    weights = (1 / 0.5, 1 / 0.5, 2 / 1.0, 2 / 2.5)
    doublings = sum(weight * n for n, weight in enumerate(weights)) / sum(weights)
    assert_close(found or 0.0, 2e-5 * 2**doublings, relative=1e-6, what="the probe")


def test_another_nodes_probe_counts_less_than_ones_own() -> None:
    """For it may have been on the other core."""
    one, other = computed(10.0, 1.0, 2e-5), computed(10.5, 0.5, 8e-5, node="b")
    found = dict(sensed([one, other], 1.0))
    assert_close(found[one].probe or 0.0, 2e-5 * 4 ** (ELSEWHERE / (1 + ELSEWHERE)), relative=1e-9, what="of a")
    assert_close(found[other].probe or 0.0, 2e-5 * 4 ** (1 / (1 + ELSEWHERE)), relative=1e-9, what="of b")


def test_what_is_brief_is_told_by_its_own_probe_for_the_most_part() -> None:
    brief = computed(10.0, 0.004, 2e-5)
    others = [computed(9.8 + 0.05 * n, 0.004, 8e-5) for n in range(9) if n != 4]
    found = dict(sensed([brief, *others], 1.0))[brief].probe
    assert_close(found or 0.0, 2e-5, relative=0.2, what="the probe")


def test_what_is_held_back_was_computed_before() -> None:
    """At a time scale of 2, half a second of the host is a quarter of one."""
    for scale, until in ((2.0, 0.25), (1.0, 0.5)):
        held, other = computed(0.0, 5.0, 4e-5, "stretched"), computed(until + 0.5, 0.5, 1e-5)
        weights = 1 / (0.25 * until), 1 / (1.0 + 0.25 * until)
        doublings = 2 * weights[0] / sum(weights)
        found = dict(sensed([held, other], scale))[held].probe
        assert_close(found or 0.0, 1e-5 * 2**doublings, relative=1e-6, what=f"the probe at a time scale of {scale}")


def test_of_very_many_the_nearest_are_told() -> None:
    """That it is so by any number of them further off, is what keeps a long run from taking minutes."""
    one = computed(1000.0, 1.0, 2e-5)
    before = [computed(990 + 0.1 * n, 0.05, 2e-5) for n in range(NEAREST)]
    further = [computed(5.0 * n, 0.05, 1.0) for n in range(190)]
    assert_close(dict(sensed([*further, *before, one], 1.0))[one].probe or 0.0, 2e-5, relative=1e-9, what="the probe")


def test_without_a_probe_nothing_is_known() -> None:
    """But by those of others."""
    assert told(computed(0.0, 1.0, None), computed(5.0, 1.0, None)) == [None, None]
    for found in told(computed(0.0, 1.0, None), computed(5.0, 1.0, 3e-5)):
        assert_close(found or 0.0, 3e-5, relative=1e-9, what="the one probe")
    assert told(Span("psl", 1, "a", "uplink", 0.0, 1.0, peer="b")) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5), st.floats(1e-6, 1e-3)), min_size=1, max_size=20))
def test_what_is_told_lies_between_the_quickest_and_the_slowest(calls: list[tuple[float, float, float]]) -> None:
    spans = [computed(start, seconds, probe) for start, seconds, probe in calls]
    probes = [span.probe for span in spans if span.probe]
    for span, call in sensed(spans, 1.0):
        assert call.cpu == span.cpu
        assert call.probe is not None
        assert min(probes) * (1 - 1e-9) <= call.probe <= max(probes) * (1 + 1e-9)


@given(st.floats(1e-4, 10.0), st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3))
def test_a_computation_takes_as_many_times_as_long_as_the_probe(cpu: float, then: float, now: float) -> None:
    call = Call(cpu, then)
    assert_close(call.where(now) / cpu, now / then, relative=1e-9, what="times")
    assert_close(call.where(then), cpu, relative=1e-9, what="where it was")
    assert_close(times_as_long([call, Call(2 * cpu, now)], then) or 0.0, 3 / (1 + 2 * then / now), what="together")


def test_where_the_probe_is_not_known_a_computation_takes_what_it_took() -> None:
    assert Call(0.1, None).where(5e-5) == 0.1
    assert Call(0.1, 5e-5).where(None) == 0.1
    assert times_as_long([Call(0.1, None)], 5e-5) is None
    assert usual([Call(0.1, None)]) is None
    assert usual([Call(0.1, None), Call(0.1, 5e-5), Call(0.1, 6e-5), Call(9.0, 9e-5)]) == 6e-5


def test_computations_are_told_in_the_order_of_their_rounds() -> None:
    spans = [computed(5.0, 1.0, 1e-5, round=2), computed(0.0, 1.0, 2e-5)]
    assert [span.round for span, _ in sensed(spans, 1.0)] == [1, 2]
