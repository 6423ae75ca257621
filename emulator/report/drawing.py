"""Draws figures: SVG and PNG files for a paper, and SVG that follows the colours of the page it stands in.

vl-convert draws Vega-Lite specifications in this process: no browser, no network. Text stays text.
"""

import re
from pathlib import Path
from typing import Any

import vl_convert

from emulator.errors import refusals
from emulator.page import palette
from emulator.report import files
from emulator.report.figures import Figure

FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
PNG_SCALE = 3.0
"""Pixels of a file for one of the figure's: 300 dpi at a column's width."""

_AXIS = {
    "labelColor": palette.LABEL,
    "titleColor": palette.TEXT,
    "gridColor": palette.GRID,
    "domainColor": palette.LABEL,
    "tickColor": palette.LABEL,
    "labelFontSize": 11,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
THEME: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisY": {"grid": True, "domain": False, "ticks": False, "labelPadding": 6},
    "axisX": {"grid": True, "gridOpacity": 0.6, "labelFlush": False},
    "legend": {
        "orient": "top",
        "labelColor": palette.TEXT,
        "labelFontSize": 12,
        "columns": 5,
        "symbolStrokeWidth": 0,  # dashes would make the small marks ragged
        "symbolSize": 90,
        "symbolOpacity": 1,
        "labelLimit": 0,
        "rowPadding": 4,
    },
    "header": {"labelColor": palette.TEXT, "labelFontSize": 12},
    "text": {"font": FONT, "fontSize": 11},
    "title": {"anchor": "start", "fontSize": 13, "color": palette.TEXT, "subtitleColor": palette.LABEL},
}


def begin() -> None:
    """Get ready to draw, which takes longer than most figures do."""
    vl_convert.vegalite_to_svg({"mark": "point"})


def svg(figure: Figure) -> str:
    """The figure as an SVG document, on white or any light ground."""
    drawn: str = vl_convert.vegalite_to_svg(_whole(figure))
    return drawn


def inline_svg(figure: Figure) -> str:
    """The figure for an HTML page that has the colours of `palette.css`: it grows and shrinks with the page."""
    drawn = re.sub(r'^<svg ([^>]*?) width="[\d.]+" height="[\d.]+"', r"<svg \1", svg(figure), count=1)
    drawn = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", drawn)
    drawn = re.sub(r'(?<= )(?:d|transform)="[^"]*"', lambda place: _LONG.sub(_shorter, place[0]), drawn)
    for colour in palette.DARK:
        drawn = drawn.replace(f'"{colour}"', f'"var(--c-{colour[1:]})"')
    return drawn


_LONG = re.compile(r"\d+\.\d{2,}")


def _shorter(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")


def save(figure: Figure, folder: Path) -> list[Path]:
    """Leave the figure in `folder` as an SVG and a PNG file. `InputError` if that cannot be written."""
    paths = [folder / f"{figure.name}.svg", folder / f"{figure.name}.png"]
    picture = vl_convert.vegalite_to_png(_whole(figure, background=palette.PAGE), scale=PNG_SCALE)
    with refusals("create", folder):
        folder.mkdir(parents=True, exist_ok=True)
    files.write(paths[0], svg(figure))
    with refusals("write", paths[1]):
        paths[1].write_bytes(picture)
    return paths


def _whole(figure: Figure, **config: object) -> dict[str, Any]:
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{_SCHEMA}.json",
        "description": f"{figure.title}. {figure.note}",
        "padding": 4,
        "config": {**THEME, **config},
        **figure.spec,
    }


_SCHEMA = vl_convert.get_vegalite_versions()[-1].split(".")[0]
