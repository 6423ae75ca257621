"""Pages in a browser: templates, styles and scripts, which are put into the page itself, and the colours they share."""

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emulator.page import palette

_PAGES = Environment(
    loader=PackageLoader("emulator", "page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["unbroken"] = lambda text: re.sub(r"(?<=\d) (?=(?:us|ms|s|h)\b|%)", "\u00a0", text)
"""Keeps numbers and their units on one line."""


def ours(markup: str) -> Markup:
    """What is not to be escaped: made by edgebed, with every text from outside escaped already."""
    return Markup(markup)  # noqa: S704


def render(template: str, **values: object) -> str:
    """The page that `template` makes of the values, which are escaped."""
    return _PAGES.get_template(template).render(
        asset=lambda name: ours((Path(__file__).parent / name).read_text(encoding="utf-8")),
        light=ours(palette.css(dark=False)),
        dark=ours(palette.css(dark=True)),
        **values,
    )
