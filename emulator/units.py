"""Quantities as people write them, and as the code counts them.

Inside the code a rate is in bit/s, a size in bytes, a time in seconds, a throughput in FLOP/s and a share is a
fraction of 1. Text appears only in files and on screens, always with its unit; `unlimited` is a word (infinity
inside), never 0.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer


class UnitError(ValueError):
    """A text is not a quantity of the dimension asked for."""


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity.

    `units` maps each unit to its size in the code's unit, smallest first; `mistaken` maps what people write instead
    to the unit they mean, for the hint.
    """

    name: str
    units: Mapping[str, float]
    example: str
    mistaken: Mapping[str, str]
    unbounded: bool = True


RATE = Dimension(
    "rate",
    {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9, "Tbit/s": 1e12},
    "10 Mbit/s",
    {"bps": "bit/s", "kbps": "kbit/s", "Mbps": "Mbit/s", "Gbps": "Gbit/s"},
)
SIZE = Dimension(
    "size",
    {
        "B": 1, "kB": 1e3, "KiB": 2**10, "MB": 1e6, "MiB": 2**20, "GB": 1e9, "GiB": 2**30, "TB": 1e12, "TiB": 2**40,
    },
    "2 MiB",
    {},
)  # fmt: skip
TIME = Dimension(
    "time",
    {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600},
    "50 ms",
    {"sec": "s", "msec": "ms", "m": "min"},
)
THROUGHPUT = Dimension(
    "throughput",
    {"FLOP/s": 1, "kFLOP/s": 1e3, "MFLOP/s": 1e6, "GFLOP/s": 1e9, "TFLOP/s": 1e12},
    "25 GFLOP/s",
    {"MFLOPS": "MFLOP/s", "GFLOPS": "GFLOP/s", "TFLOPS": "TFLOP/s"},
)
SHARE = Dimension("share", {"%": 0.01}, "80 %", {}, unbounded=False)

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")


def parse(text: object, dimension: Dimension) -> float:
    """The value of `text` in the code's unit of `dimension`.

    Raises `UnitError` for a bare number, an unknown unit, or anything that is no quantity; the message says what
    to write instead.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise UnitError(f"{text} has no unit: write a {dimension.name} such as '{dimension.example}'")
    if not isinstance(text, str):
        raise UnitError(f"{text!r} is not a {dimension.name}: write one such as '{dimension.example}'")
    if text.strip() == "unlimited" and dimension.unbounded:
        return math.inf
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UnitError(f"{text!r} is not a {dimension.name}: write one such as '{dimension.example}'")
    number, unit = match.groups()
    if not unit:
        raise UnitError(f"'{text}' has no unit: write a {dimension.name} such as '{dimension.example}'")
    if unit not in dimension.units:
        raise UnitError(f"'{unit}' is no unit of {dimension.name}{_hint(unit, dimension)}")
    size = dimension.units[unit]
    # The inverse of a small unit is a whole number: '57 %' is 0.57 exactly, which 57 * 0.01 is not.
    value = float(number) * size if size >= 1 else float(number) / round(1 / size)
    if not math.isfinite(value):
        raise UnitError(f"'{text}' is out of range")
    return value


def show(value: float, dimension: Dimension, digits: int = 12) -> str:
    """`value` as text: the largest unit that leaves at least 1 before it. `parse` reads it back."""
    if value == math.inf and dimension.unbounded:
        return "unlimited"
    if not math.isfinite(value):
        raise UnitError(f"{value} is not a {dimension.name}")
    unit = next(iter(dimension.units))
    for candidate, size in dimension.units.items():
        # A size is shown in binary units, as the profiles are written; '1.5 kB' would read as '1.46 KiB' otherwise.
        if dimension is SIZE and candidate not in ("B", "KiB", "MiB", "GiB", "TiB"):
            continue
        if abs(value) >= size:
            unit = candidate
    return f"{value / dimension.units[unit]:.{digits}g} {unit}"


def _hint(unit: str, dimension: Dimension) -> str:
    # A unit in the wrong case is nearer than any other: 'mbit/s' means 'Mbit/s', not 'bit/s'.
    for known, meant in {**dimension.mistaken, **{name: name for name in dimension.units}}.items():
        if known.casefold() == unit.casefold():
            return f": write '{meant}'"
    near = difflib.get_close_matches(unit, dimension.units, n=1, cutoff=0.6)
    return f": did you mean '{near[0]}'?" if near else f": use one of {', '.join(dimension.units)}"


def _reader(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(lambda text: parse(text, dimension))


def exact(value: float, dimension: Dimension) -> str:
    """`value` as text that `parse` reads back as the very same number (of a share, all but)."""
    base = next((unit for unit, size in dimension.units.items() if size == 1), None)
    texts = [show(value, dimension), f"{value!r} {base}" if base else show(value, dimension, 17)]
    return next((text for text in texts if parse(text, dimension) == value), texts[-1])


def _writer(dimension: Dimension) -> PlainSerializer:
    return PlainSerializer(lambda value: exact(value, dimension), return_type=str)


Rate = Annotated[float, _reader(RATE), _writer(RATE)]
Size = Annotated[float, _reader(SIZE), _writer(SIZE)]
Time = Annotated[float, _reader(TIME), _writer(TIME)]
Throughput = Annotated[float, _reader(THROUGHPUT), _writer(THROUGHPUT)]
Share = Annotated[float, _reader(SHARE), _writer(SHARE)]
