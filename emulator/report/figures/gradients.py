"""What GAPSL records of its clients' gradients, and any program that uses the same names."""

from collections.abc import Sequence

import numpy as np

from emulator.report.figures.parts import Figure, Row, by_round, lines, number, spec, thinned
from emulator.report.outcome import Outcome


def angles(outcomes: Sequence[Outcome]) -> Figure | None:
    """Mean angle between every two clients' gradients, in degrees."""
    rows: list[Row] = [
        {
            "run": outcome.label,
            "x": metric.round,
            "y": float(np.degrees(metric.value)),
            "says": f"{outcome.label}, round {metric.round}: {np.degrees(metric.value):.1f}\u00b0",
        }
        for outcome in outcomes
        for metric in outcome.metrics
        if metric.name == "mean_angle"
    ]
    y = number("y", "mean angle (\u00b0)")
    note = (
        "Mean angle between every two clients' gradients of the server-side model; at 90\u00b0 they share no direction."
    )
    if not rows:
        return None
    rows = thinned(rows)
    names = list(dict.fromkeys(row["run"] for row in rows))
    drawn = spec(rows, lines(names, rows, y), by_round(), height=200)
    return Figure("gradient-angles", "Gradient angles", note, drawn)


def selection(outcomes: Sequence[Outcome]) -> Figure | None:
    """How many clients lead, and how many are aligned and so take part in the server's update."""
    words = {"aligned": "aligned", "leaders": "leaders"}
    chosen = [outcome for outcome in outcomes if any(metric.name in words for metric in outcome.metrics)]
    rows: list[Row] = [
        {
            "run": f"{outcome.label}: {words[metric.name]}",
            "x": metric.round,
            "y": metric.value,
            "says": f"{outcome.label}, round {metric.round}: {metric.value:g} {words[metric.name]}",
        }
        for outcome in chosen
        for metric in outcome.metrics
        if metric.name in words
    ]
    if not rows:
        return None
    names = [f"{outcome.label}: {word}" for outcome in chosen for word in words.values()]
    y = number("y", "clients", tickMinStep=1, format="d")
    rows = thinned(rows)
    drawn = spec(rows, lines(names, rows, y), by_round(), height=200)
    note = "Clients whose gradients lead, and those whose gradients make the server's update."
    return Figure("selection", "Selection sizes", note, drawn)
