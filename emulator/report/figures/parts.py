"""What figures are made of.

Rows have a `run` (the series' name), an `x` and mostly `says`: their numbers in words, which the page shows beside
the pointer and a screen reader reads out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.critical_path import OVERHEAD
from emulator.page import palette
from emulator.report.outcome import Outcome

Spec = dict[str, Any]
Row = dict[str, Any]

WIDTH = 430  # pixels inside the axes
ROW = 26  # pixels that a bar's row takes
TICKS = 6
"""About as many as have room for their labels."""
MOST_POINTS = 250
"""What a line shows of one series: more points than pixels would only make the page larger."""
MARKED_POINTS = 40
"""A line of more points than this has no marks, which would hide it."""


@dataclass(frozen=True)
class Figure:
    """A figure: `name` is its file's, `note` says how to read it. A `wide` one takes the page's whole width."""

    name: str
    title: str
    note: str
    spec: Spec
    wide: bool = False


def spec(rows: Sequence[Row], layer: Sequence[Spec], x: Spec, *, height: float, y: Spec | None = None) -> Spec:
    """A figure of layers over one horizontal axis."""
    shared = {"x": x} if y is None else {"x": x, "y": y}
    return {"data": {"values": list(rows)}, "width": WIDTH, "height": height, "encoding": shared, "layer": list(layer)}


def number(field: str, title: str, *, stack: bool | None = None, **axis: object) -> Spec:
    """A quantity's axis, with its unit in `title`, from 0 on."""
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": {"tickCount": TICKS, **axis},
        "stack": "zero" if stack else None,
        "scale": {"zero": True, "nice": True},
    }


def by_round() -> Spec:
    """An axis of whole rounds."""
    return number("x", "round", tickMinStep=1, format="d")


def names(outcomes: Sequence[Outcome]) -> Spec:
    """A vertical axis with a row for each run."""
    labels = [outcome.label for outcome in outcomes]
    return {"field": "run", "type": "nominal", "title": None, "sort": labels, "axis": {"labelLimit": 160}}


def series(labels: Sequence[str], *, legend: bool = True) -> Spec:
    """A colour for each series."""
    colours = [palette.SERIES[place % len(palette.SERIES)] for place in range(len(labels))]
    found: Spec = {"field": "run", "type": "nominal", "title": None, "sort": None}
    found["scale"] = {"domain": list(labels), "range": colours}
    return found if legend else {**found, "legend": None}


def lines(labels: Sequence[str], rows: Sequence[Row], y: Spec) -> list[Spec]:
    """A line for each series, told apart by colour, dash and shape, with a description at each point."""
    places = range(len(labels))
    dashes = [list(palette.DASHES[place % len(palette.DASHES)]) for place in places]
    shapes = [palette.SHAPES[place % len(palette.SHAPES)] for place in places]
    by_name = {"field": "run", "type": "nominal", "title": None, "sort": None}
    colour = series(labels)
    marked = len(rows) <= MARKED_POINTS * max(1, len({row["run"] for row in rows}))
    return [
        {
            "mark": {"type": "line", "strokeWidth": 2, "aria": False},
            "encoding": {
                "y": y,
                "color": colour,
                "strokeDash": {**by_name, "scale": {"domain": list(labels), "range": dashes}},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 38, "opacity": 1 if marked else 0},
            "encoding": {
                "y": y,
                "color": colour,
                "shape": {**by_name, "scale": {"domain": list(labels), "range": shapes}},
                **says(),
            },
        },
    ]


def thinned(rows: Sequence[Row]) -> list[Row]:
    """Of each series evenly chosen rows, its last among them, where there are very many."""
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row["run"], []).append(row)
    kept: list[Row] = []
    for of_run in by_run.values():
        step = -(-len(of_run) // MOST_POINTS)
        kept += of_run[::-step][::-1]
    return kept


def bars(colour: Spec, *, ordered: bool = False, extra: Mapping[str, Spec] | None = None) -> Spec:
    """Horizontal bars; where they are stacked, `ordered` as the rows' `place` says."""
    encoding: Spec = {"color": colour, **says(), **(extra or {})}
    if ordered:
        encoding["order"] = {"field": "place", "type": "quantitative"}
    return {"mark": {"type": "bar"}, "encoding": encoding}


def words(field: str, extra: Mapping[str, Spec] | None = None) -> Spec:
    """The text of a field behind the end of each bar."""
    encoding = {"text": {"field": field}, "color": {"value": palette.TEXT}, **(extra or {})}
    return {"mark": {"type": "text", "align": "left", "dx": 4, "aria": False}, "encoding": encoding}


def rule_at(y: float, label: str) -> list[Spec]:
    """A dashed line across, and what it is."""
    at = {"datum": y}
    data: Spec = {"values": [{}]}
    return [
        {
            "data": data,
            "mark": {"type": "rule", "strokeDash": [4, 4], "color": palette.LABEL, "aria": False},
            "encoding": {"x": {"value": 0}, "x2": {"value": "width"}, "y": at},
        },
        {
            "data": data,
            "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "color": palette.LABEL},
            "encoding": {"x": {"value": "width"}, "y": at, "text": {"value": label}},
        },
    ]


def says() -> Spec:
    """Each mark's numbers in words."""
    return {"description": {"field": "says", "type": "nominal"}}


def stage_colours(seen: Iterable[str]) -> Spec:
    """A colour for each stage."""
    colours = palette.stages(seen)
    scale = {"domain": [*colours], "range": [*colours.values()]}
    legend = {"labelExpr": f"datum.label == '{OVERHEAD}' ? 'gaps' : replace(datum.label, /_/g, ' ')"}
    return {"field": "stage", "type": "nominal", "title": None, "scale": scale, "sort": None, "legend": legend}


def stage_name(stage: str) -> str:
    """A stage as a reader is shown it."""
    return "gaps" if stage == OVERHEAD else stage.replace("_", " ")


def in_order(rows: Iterable[Row], colours: Spec) -> list[Row]:
    """The rows with the place of their stage in a bar."""
    order: list[str] = colours["scale"]["domain"]
    return [{**row, "place": order.index(row["stage"])} for row in rows]
