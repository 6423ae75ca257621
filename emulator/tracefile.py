"""Reads the files of traces (see `trace_text` for what they say)."""

from dataclasses import dataclass
from pathlib import Path

from emulator import trace_text
from emulator.errors import InputError
from emulator.profiles import DIRECTIONS

BYTES = 32 * 2**20
LINES = 1_000_000
"""What a file may hold at most: in Mahimahi's format ten minutes at 20 Mbit/s."""


@dataclass(frozen=True)
class TraceFile:
    """What a file, or two, say: a table of one `rate` for each direction, and what it is."""

    rows: dict[str, str]
    about: str = ""


def read(path: Path) -> TraceFile:
    """The trace in `path` or, where that is no file, in the two beside it that end in `.up` and `.down`.

    Raises `InputError` with file, line and what to do.
    """
    pair = [path.with_name(f"{path.name}.{direction}") for direction in DIRECTIONS]
    if not path.exists() and any(one.exists() for one in pair):
        return TraceFile(
            {direction: _one(one).rows[direction] for direction, one in zip(DIRECTIONS, pair, strict=True)}
        )
    return _one(path)


def _one(path: Path) -> TraceFile:
    text = _text(path)
    try:
        return TraceFile(trace_text.directions(text), trace_text.remarks(text))
    except trace_text.TraceError as error:
        where = f"{path}:{error.line}" if error.line else f"{path}"
        raise InputError(f"{where}: {error.reason}") from None


def _text(path: Path) -> str:
    """What the file says, of which no more is read than a trace may have."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: cannot be read: it is no file: name one that holds a trace")
        with path.open("rb") as file:
            said = file.read(BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(said) > BYTES:
        raise InputError(f"{path}: is larger than {BYTES // 2**20} MiB: take a part of it")
    if said.count(b"\n") > LINES:
        raise InputError(f"{path}: has more than {LINES} lines: take a part of it")
    try:
        return said.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = said.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: is binary: a trace is text, one line a row") from None
