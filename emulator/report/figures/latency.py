"""How long a round took, what of it was what, and what was predicted."""

from collections.abc import Sequence

import numpy as np

from emulator.page import palette
from emulator.report import text
from emulator.report.figures.parts import (
    ROW,
    Figure,
    Row,
    Spec,
    bars,
    in_order,
    names,
    number,
    says,
    series,
    spec,
    stage_colours,
    stage_name,
)
from emulator.report.outcome import Outcome


def latencies(outcomes: Sequence[Outcome]) -> Figure | None:
    """A box for each run: quartiles and 5th to 95th percentile; rounds beyond as dots."""
    rows: list[Row] = []
    for outcome in outcomes:
        values = sorted(outcome.latencies.values())
        low, q1, median, q3, high = (float(value) for value in np.percentile(values, [5, 25, 50, 75, 95]))
        said = (
            f"{outcome.label}: median {text.seconds(median)}, middle half {text.seconds(q1)} to {text.seconds(q3)}, "
            f"5th to 95th percentile {text.seconds(low)} to {text.seconds(high)}"
        )
        rows.append(
            {"run": outcome.label, "low": low, "q1": q1, "x": median, "q3": q3, "high": high, "says": said, "box": 1}
        )
        rows += [
            {"run": outcome.label, "x": seconds, "box": 0, "says": f"{outcome.label}, round {number}: {shown}"}
            for number, seconds in outcome.latencies.items()
            if not low <= seconds <= high and (shown := text.seconds(seconds))
        ]
    boxes, dots = [{"filter": "datum.box"}], [{"filter": "!datum.box"}]
    colour = {"color": series([outcome.label for outcome in outcomes], legend=False)}
    layer = [
        {
            "transform": boxes,
            "mark": {"type": "rule", "color": palette.LABEL, "aria": False},
            "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
        },
        {
            "transform": boxes,
            "mark": {"type": "bar", "size": 12},
            "encoding": {"x": {"field": "q1", "type": "quantitative"}, "x2": {"field": "q3"}, **colour, **says()},
        },
        {
            "transform": boxes,
            "mark": {"type": "tick", "size": 18, "thickness": 2.5, "color": palette.TEXT},
            "encoding": says(),
        },
        {"transform": dots, "mark": {"type": "point", "size": 9}, "encoding": {**colour, **says()}},
    ]
    note = "Box: the middle half of the rounds, with their median; line: 5th to 95th percentile; dots: rounds beyond."
    x = number("x", "latency of a round (s)")
    return Figure("latency", "Round latency", note, spec(rows, layer, x, height=ROW * len(outcomes), y=names(outcomes)))


def breakdown(outcomes: Sequence[Outcome]) -> Figure | None:
    """The mean round along its critical path, stage by stage."""
    rows: list[Row] = [
        {
            "run": outcome.label,
            "stage": stage,
            "x": seconds,
            "says": f"{outcome.label}, {stage_name(stage)}: {text.seconds(seconds)} a round, "
            f"{text.percent(seconds / outcome.summary.latency.mean)}",
        }
        for outcome in outcomes
        for stage, seconds in outcome.summary.breakdown.items()
    ]
    colours = stage_colours(stage for outcome in outcomes for stage in outcome.summary.breakdown)
    note = "The mean round along its critical path: what it waited for, one after the other. Gaps are the emulation's."
    x = number("x", "mean latency of a round (s)", stack=True)
    drawn = spec(
        in_order(rows, colours), [bars(colours, ordered=True)], x, height=ROW * len(outcomes), y=names(outcomes)
    )
    return Figure("breakdown", "What a round consists of", note, drawn)


def prediction(outcomes: Sequence[Outcome]) -> Figure | None:
    """The mean round as measured, with its spread, and as predicted."""
    rows: list[Row] = []
    for outcome in outcomes:
        if outcome.predicted is not None:
            values = list(outcome.latencies.values())
            low, high = (float(value) for value in np.percentile(values, [5, 95]))
            mean, error = outcome.summary.latency.mean, outcome.predicted["error"]
            rows += [
                {
                    "run": outcome.label,
                    "kind": "measured (mean, 5th to 95th percentile)",
                    "x": mean,
                    "low": low,
                    "high": high,
                    "says": f"{outcome.label}: measured {text.seconds(mean)}",
                },
                {
                    "run": outcome.label,
                    "kind": "predicted (mean)",
                    "x": outcome.predicted["mean"],
                    "shown": f"{100 * error:+.1f} %",
                    "says": f"{outcome.label}: predicted {text.seconds(outcome.predicted['mean'])}, "
                    f"{100 * error:+.1f} % off",
                },
            ]
    if not rows:
        return None
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    colour = {
        "field": "kind",
        "title": None,
        "scale": {"domain": kinds, "range": [palette.BLUE, palette.VERMILION]},
        "sort": None,
    }
    offset = {"yOffset": {"field": "kind", "sort": kinds}}
    layer: list[Spec] = [
        {
            "transform": [{"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "aria": False},
            "encoding": {
                "x": {"field": "low", "type": "quantitative"},
                "x2": {"field": "high"},
                "color": colour,
                **offset,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                "color": colour,
                "shape": {"field": "kind", "scale": {"domain": kinds, "range": ["circle", "diamond"]}, "title": None},
                **offset,
                **says(),
            },
        },
        {
            "transform": [{"filter": "isValid(datum.shown)"}],
            "mark": {"type": "text", "align": "left", "dx": 8},
            "encoding": {"text": {"field": "shown"}, "color": {"value": palette.TEXT}, **offset},
        },
    ]
    note = "The number at a prediction is its error: predicted over measured mean, less one."
    drawn = spec(
        rows,
        layer,
        number("x", "latency of a round (s)"),
        height=0.7 * ROW * len(rows),
        y=names([outcome for outcome in outcomes if outcome.predicted is not None]),
    )
    return Figure("prediction", "Predicted beside measured", note, drawn)
