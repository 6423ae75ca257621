"""Traces as text: a table of seconds and rates, or Mahimahi's packet-delivery opportunities. No file is read here.

A table is CSV. Lines that begin with `#` say what it is, a header names the columns and their units, and each row says
that from its time on these are the rates. The last row marks the end of the period, after which all begins anew: its
rates are empty, or those of the row before once more.

    # A link that is slow for a minute out of five
    seconds,up Mbit/s,down Mbit/s
    0,8,30
    240,0.5,2
    300,,

The columns are `seconds` and then `up` and `down`, in any order, or one `rate` for both. A time is at least 0, the
first is 0, and they rise.

Mahimahi's format (Netravali et al., USENIX ATC 2015) is a line for each packet of 1500 bytes that could be delivered:
at which millisecond, a whole number, in order; a millisecond that stands there n times delivers n packets. The last one
is the period. Here the bytes of a millisecond go through evenly within it (those of millisecond 0, which is the end of
the lap before, within the last one), and neighbours become one piece of one rate, as long as what has gone through by
any millisecond is what the file says, or at most a packet more: the next one, on its way.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from emulator.errors import nearest
from emulator.trace import Trace
from emulator.units import RATE

PACKET = 1500
"""Bytes."""
LONGEST = 86_400
"""Seconds of a period."""
FASTEST = 1e15
"""Bit/s: far above any link, so that sums stay finite."""
PIECES = 200_000
"""Of a trace: it travels with every node's profile."""
SECONDS = "seconds"
COLUMNS = ({"up", "down"}, {"rate"})
SLACK = 1.0
"""Packets by which a trace may be ahead of a Mahimahi file, at any millisecond."""
PACKET_MS = PACKET * 8 * 1000
"""Bit/s of a packet a millisecond."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COLUMN = re.compile(r"([A-Za-z]+)\s*(.*)")
_SHOWN = 40
DIGITS = 20
"""More than any millisecond has."""


class TraceError(ValueError):
    """A text is no trace: on line `line` (0: as a whole), for a reason that says what to do."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class _Column:
    """Where it stands, and what it is: 'up', 'down' or 'rate', in which unit."""

    place: int
    name: str
    unit: str


def directions(text: str) -> dict[str, str]:
    """What `text` says of 'up' and of 'down': a table of one `rate` each (see `model`). Raises `TraceError`."""
    if "\0" in text:
        raise TraceError(text.count("\n", 0, text.index("\0")) + 1, "is binary: a trace is text, one line a row")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    first = next((line for line in lines if not _is_remark(line)), "")
    if not first.strip():
        at = next((number for number, line in enumerate(lines, 1) if not _is_remark(line)), 0)
        raise TraceError(at, f"is empty: write a table that begins with '{_header()}', or Mahimahi's milliseconds")
    if re.search(r"[A-Za-z,]", first) and not _NUMBER.fullmatch(first.strip()):
        return _table(lines)
    rows = _mahimahi(lines)
    return {"up": rows, "down": rows}


@lru_cache(maxsize=256)
def model(rows: str) -> Trace:
    """The trace that a table with one `rate` says. Raises `TraceError`."""
    header, lines = _head([line.rstrip("\r") for line in rows.rstrip().split("\n")])
    if [column.name for column in header] != ["rate"]:
        raise TraceError(1, f"these are the rows of one direction: their header is '{SECONDS},rate Mbit/s'")
    return _traces(header, lines)["rate"]


def remarks(text: str) -> str:
    """The first of the lines that say what a table is; empty where none does."""
    first = text.split("\n", 1)[0].strip()
    return first.removeprefix("#").strip() if _is_remark(first) else ""


def write(times: Sequence[float], columns: Mapping[str, Sequence[float]], period: float, about: Sequence[str]) -> str:
    """A table: `times` and `period` in seconds, `columns` in the units that their names end in ('up Mbit/s')."""
    lines = [*(f"# {line}" for line in about), ",".join([SECONDS, *columns])]
    lines += [",".join(map(_shown, row)) for row in zip(times, *columns.values(), strict=True)]
    lines.append(_shown(period) + "," * len(columns))
    return "\n".join(lines) + "\n"


def rows(trace: Trace) -> str:
    """`trace` as a table with one `rate`, which `model` reads back as it is."""
    return write(trace.times, {"rate bit/s": trace.rates}, trace.period, ()).rstrip("\n")


def _table(lines: Sequence[str]) -> dict[str, str]:
    header, rest = _head(lines)
    _traces(header, rest)
    found = {}
    for column in header:
        said = [f"{SECONDS},rate {column.unit}"]
        said += [f"{cells[0]},{cells[column.place]}" for _, cells in _rows(header, rest)]
        found[column.name] = "\n".join(said)
    return {"up": found["rate"], "down": found["rate"]} if "rate" in found else found


def _head(lines: Sequence[str]) -> tuple[list[_Column], list[tuple[int, str]]]:
    """The columns beside the time's, in the order of the file, and the numbered lines below them."""
    left = [(number, line) for number, line in enumerate(lines, 1) if not _is_remark(line)]
    if not left:
        raise TraceError(0, f"has no header: begin with '{_header()}'")
    number, line = left[0]
    time, *others = [cell.strip() for cell in line.split(",")]
    if time != SECONDS:
        raise TraceError(
            number, f"'{_cut(time)}' is not the first column of a trace: begin with the header '{_header()}'"
        )
    columns = []
    for place, cell in enumerate(others, 1):
        match = _COLUMN.fullmatch(cell)
        name, unit = match.groups() if match else (cell, "")
        known = set().union(*COLUMNS)
        if name not in known:
            raise TraceError(number, f"'{_cut(name)}' is no column of a trace{nearest(name, known)}")
        if unit not in RATE.units:
            reason = f"has no unit: write '{name} Mbit/s'" if not unit else f"'{_cut(unit)}' is no unit of rate"
            hint = "" if not unit else f": use one of {', '.join(RATE.units)}"
            raise TraceError(number, f"the column {name}: {reason}{hint}")
        columns.append(_Column(place, name, unit))
    names = [column.name for column in columns]
    if set(names) not in COLUMNS or len(set(names)) < len(names):
        said = ", ".join(names) or "none"
        raise TraceError(number, f"the columns beside {SECONDS} are {said}: write up and down, or rate")
    return columns, left[1:]


def _rows(columns: Sequence[_Column], lines: Sequence[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The cells of each row, with the number of its line."""
    found = []
    for number, line in lines:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(columns) + 1:
            raise TraceError(number, f"has {len(cells)} cells, not {len(columns) + 1} as the header has")
        found.append((number, cells))
    return found


def _traces(columns: Sequence[_Column], lines: Sequence[tuple[int, str]]) -> dict[str, Trace]:
    table = _rows(columns, lines)
    if len(table) < 2:
        at = table[-1][0] if table else 0
        raise TraceError(at, "has fewer than two rows: a rate from 0 s on, and the end of the period")
    if len(table) > PIECES:
        raise TraceError(0, f"has {len(table)} rows: at most {PIECES} are allowed: take a part of it, or longer steps")
    times = [_number(cells[0], number, "time", LONGEST, "s") for number, cells in table]
    if times[0] != 0:
        raise TraceError(table[0][0], f"begins at {_cut(table[0][1][0])} s: the first row is at 0 s")
    for (before, after), (number, _) in zip(pairwise(times), table[1:], strict=True):
        if after <= before:
            raise TraceError(number, f"{after:.12g} s does not come after {before:.12g} s: rows go forward in time")
    end, last = table[-1]
    repeats = [cells[1:] for _, cells in table[-2:]]
    if any(last[1:]) and repeats[0] != repeats[1]:
        raise TraceError(end, "is the last row, the end of the period: leave its rates empty, or as the row before")
    found = {}
    for column in columns:
        size = RATE.units[column.unit]
        rates = [
            _number(cells[column.place], number, "rate", FASTEST / size, column.unit) * size
            for number, cells in table[:-1]
        ]
        if not any(rates):
            raise TraceError(0, f"every rate of the column {column.name} is 0: nothing would ever get through")
        found[column.name] = Trace(times[:-1], rates, times[-1])
    return found


def _number(cell: str, line: int, what: str, most: float, unit: str) -> float:
    if not _NUMBER.fullmatch(cell):
        said = f"'{_cut(cell)}' is no number" if cell else "is missing"
        raise TraceError(line, f"the {what} {said}: write a plain one such as 12.5, in {unit}")
    value = float(cell)
    if not 0 <= value <= most:
        bound = "at least 0" if value < 0 else f"at most {most:g}"
        raise TraceError(line, f"the {what} {_cut(cell)} {unit} is out of range: it is {bound} {unit}")
    return value


def _mahimahi(lines: Sequence[str]) -> str:
    stamps = []
    before = 0
    for number, line in enumerate(lines, 1):
        said = line.strip()
        if not (said.isascii() and said.isdigit()):
            what = f"'{_cut(said)}' is" if said else "an empty line is"
            raise TraceError(number, f"{what} no millisecond: Mahimahi's format is a whole number of at least 0 a line")
        stamp = int(said[:DIGITS])
        if len(said) >= DIGITS or stamp > LONGEST * 1000:
            raise TraceError(number, f"millisecond {_cut(said)} is too late: a trace lasts a day at most")
        if stamp < before:
            raise TraceError(number, f"millisecond {stamp} comes after {before}: they stand in order of time")
        before = stamp
        stamps.append(stamp)
    if before == 0:
        raise TraceError(len(lines), "the last millisecond is 0: it is the period, and has to be above that")
    counts = Counter(stamp or before for stamp in stamps)
    pieces = _fewest_pieces(counts, before)
    if len(pieces) > PIECES:
        raise TraceError(0, f"comes to {len(pieces)} pieces: at most {PIECES} are allowed: take a part of it")
    said_rows = [f"{_shown(begin / 1000)},{_shown(rate / 1e6)}" for begin, rate in pieces]
    return "\n".join([f"{SECONDS},rate Mbit/s", *said_rows, f"{_shown(before / 1000)},"])


def _fewest_pieces(counts: Mapping[int, int], period: int) -> list[tuple[int, int]]:
    """Pieces (millisecond, bit/s) that carry `counts` packets of each millisecond, none of it 0, or at most SLACK more.

    Greedy: a piece goes on for as long as one rate keeps within the slack of every corner of the count (O'Rourke's
    test of lines through intervals, from a fixed point); the last one ends at the very count.
    """
    found: list[tuple[int, int]] = []
    begin, height, last = 0, 0.0, 0
    low, high = 0.0, math.inf
    for time, count in _corners(counts):
        slack = 0.0 if time == period else SLACK
        least, most = ((count + more - height) / (time - begin) for more in (0.0, slack))
        if max(low, least) > min(high, most):
            rate = round((low + high) / 2 * PACKET_MS)
            found.append((begin, rate))
            height += rate / PACKET_MS * (last - begin)
            begin, low, high = last, 0.0, math.inf
            least, most = ((count + more - height) / (time - begin) for more in (0.0, slack))
        low, high, last = max(low, least), min(high, most), time
    return [*found, (begin, round((low + high) / 2 * PACKET_MS))]


def _corners(counts: Mapping[int, int]) -> list[tuple[int, int]]:
    """Where the count of packets by each millisecond changes its slope."""
    found: list[tuple[int, int]] = []
    last, total = 0, 0
    for stamp, packets in sorted(counts.items()):
        if stamp - 1 > last:
            found.append((stamp - 1, total))
        total += packets
        found.append((stamp, total))
        last = stamp
    return found


def _shown(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _header() -> str:
    return f"{SECONDS},up Mbit/s,down Mbit/s"


def _is_remark(line: str) -> bool:
    return line.lstrip().startswith("#")


def _cut(said: str) -> str:
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
