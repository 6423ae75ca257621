"""Whether the self-test's figures can be believed: of each kind the one that is furthest beyond its limit, with the
likely cause, as a run's verdict is made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emulator.causes import HostFacts, clock_cause, likely_cause, promise_cause, saturated
from emulator.offset import Standing
from emulator.selftest.figures import Figure
from emulator.verdict import Check, Limits, Verdict, verdict_of

CLOCK = "clock_offset"
COMPUTING = ("cpu_share", "cpu_share_together", "timer_overshoot")
"""Which need no hub."""


def of_clocks(clocks: Mapping[str, Standing], scale: float, limits: Limits) -> list[Figure]:
    """How far each node's clock was found off the hub's; what it may be off is its error."""
    found = []
    for node, clock in clocks.items():
        note = "not measured" if clock.within is None else f"give or take {1e3 * clock.within:.2g} ms"
        error = clock.error / scale
        found.append(Figure(CLOCK, node, 0.0, clock.offset, "s", error, limits.clock_error, "s", note))
    return found


def judged(figures: Sequence[Figure], facts: HostFacts) -> Verdict:
    """The verdict: VALID where every figure that has a limit is within it."""
    promises = {figure.of: figure for figure in figures if figure.name == "promise_error" and figure.ok is False}
    worst: dict[str, Figure] = {}
    for figure in figures:
        known = worst.get(figure.name)
        if figure.ok is not None and (known is None or _excess(figure) > _excess(known)):
            worst[figure.name] = figure
    return verdict_of(_check(figure, promises, facts) for figure in worst.values())


def _excess(figure: Figure) -> float:
    return abs(figure.error or 0.0) / (figure.limit or 1.0)


def _check(figure: Figure, promises: Mapping[str, Figure], facts: HostFacts) -> Check:
    assert figure.error is not None
    assert figure.limit is not None
    reason = "" if figure.ok else _reason(figure, promises, facts)
    return Check(figure.name, abs(figure.error), figure.limit, figure.unit, bool(figure.ok), reason)


def _reason(figure: Figure, promises: Mapping[str, Figure], facts: HostFacts) -> str:
    if figure.name == CLOCK:
        return clock_cause(facts)
    if figure.name == "memory_limit":
        return f"{figure.of}: its memory is not limited to its device's ({figure.note}): run it in containers, on Linux"
    promise = promises.get(figure.of)
    if promise is not None and promise.error is not None and not saturated(facts):
        return f"{figure.of}: {promise_cause(promise.error)}"
    return likely_cause(replace(facts, hub=None) if figure.name in COMPUTING else facts)
