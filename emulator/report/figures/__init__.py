"""The figures of a report, as Vega-Lite specifications: what is drawn, not how.

One specification makes the figure in the page and the file for a paper (see `emulator.report.drawing`).
"""

from collections.abc import Callable, Sequence

from emulator.report.figures.accuracy import accuracy_by_round, accuracy_by_time, time_to_target
from emulator.report.figures.clients import clients, traffic
from emulator.report.figures.gradients import angles, selection
from emulator.report.figures.latency import breakdown, latencies, prediction
from emulator.report.figures.parts import Figure
from emulator.report.outcome import Outcome

__all__ = ["Figure", "figures"]

MAKERS: Sequence[Callable[[Sequence[Outcome]], Figure | None]] = (
    accuracy_by_time,
    time_to_target,
    breakdown,
    latencies,
    clients,
    prediction,
    accuracy_by_round,
    traffic,
    angles,
    selection,
)


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Every figure that there are numbers for, in the order of the report."""
    made = (make(outcomes) for make in MAKERS) if outcomes else ()
    return [figure for figure in made if figure is not None]
