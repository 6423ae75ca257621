"""The folder that a run leaves, and how its files are written.

Whatever the file system refuses (a folder that is not the user's, a full disk) raises `InputError` in one line, with
the path and the reason.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType

from emulator.errors import InputError, refusals
from emulator.timeline import Span

RUNS = Path("runs")

EXPERIMENT = "experiment.yaml"
TIMELINE = "timeline.jsonl"
METRICS = "metrics.csv"
PREDICTION = "prediction.csv"
RESULT = "result.json"
SELFTEST = "selftest.json"
FAILURE = "failure.txt"
REPORT = "report.html"

_COMPACT = (",", ":")


def create_folder(experiment: str, out: Path | None = None, runs: Path = RUNS) -> Path:
    """The new, empty folder of a run: `out`, or the next free `<experiment>-<number>` in `runs`."""
    if out is None:
        return _next_folder(experiment or "run", runs)
    with refusals("create", out):
        if out.is_dir():
            if any(out.iterdir()):
                raise InputError(f"{out} is not empty: name a new folder, or an empty one")
        else:
            out.mkdir(parents=True)
    return out


def write(path: Path, text: str) -> None:
    """Write a whole file: it is there complete or, if the disk fills up half-way, as it was before."""
    # In the same folder, because only within one file system does replacing take a single step.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with refusals("write", path):
        try:
            unfinished.write_text(text, encoding="utf-8", newline="")
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


class TimelineWriter:
    """Appends spans to a file, one a line, while the run goes on.

    At most `flush_every` spans are lost when the process is killed; the lines before them can be read.
    """

    def __init__(self, path: Path, flush_every: int = 64) -> None:
        self.path = path
        self._flush_every = flush_every
        self._waiting: list[Span] = []
        with refusals("write", path):
            # Unbuffered: what a full disk has refused once is not tried again when the file is closed.
            self._file = path.open("ab", buffering=0)

    def write(self, span: Span) -> None:
        self._waiting.append(span)
        if len(self._waiting) >= self._flush_every:
            self.flush()

    def flush(self) -> None:
        """Hand all spans to the operating system."""
        left = memoryview(_lines(self._waiting).encode())
        self._waiting.clear()
        with refusals("write", self.path):
            while left:
                left = left[self._file.write(left) or 0 :]

    def close(self) -> None:
        try:
            if not self._file.closed:
                self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> "TimelineWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lines(spans: list[Span]) -> str:
    """Each as JSON in a line of its own. Encoded together, which is quicker, and parted where one ends and the next
    begins: nowhere else does an opening brace follow a closing one, with an unescaped quote and its first key after."""
    if not spans:
        return ""
    together = json.dumps(
        [span.to_fields() for span in spans], ensure_ascii=False, allow_nan=False, separators=_COMPACT
    )
    return together[1:-1].replace('},{"run":', '}\n{"run":') + "\n"


def read_timeline(path: Path) -> list[Span]:
    """The spans of a file. `InputError` names the file, and the line that is no span.

    A last line without its end was being written when the run was killed, and is left out.
    """
    with refusals("read", path):
        lines = path.read_bytes().splitlines(keepends=True)
    spans: list[Span] = []
    for number, fields in enumerate(_parsed(path, lines), start=1):
        try:
            spans.append(Span.from_fields(fields))
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}") from error
    return spans


def _parsed(path: Path, lines: Sequence[bytes]) -> Iterable[object]:
    """What each line says; a last one without its end may be missing."""
    with suppress(ValueError, RecursionError):  # all at once takes half the time
        entries: list[object] = json.loads(b"[" + b",".join(lines) + b"]")
        if len(entries) == len(lines):
            return entries
    return _one_by_one(path, lines)


def _one_by_one(path: Path, lines: Iterable[bytes]) -> Iterator[object]:
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line.decode())
        except json.JSONDecodeError as error:
            if not line.endswith(b"\n"):
                return
            raise InputError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}: {error}") from error


def _next_folder(experiment: str, runs: Path) -> Path:
    with refusals("create a folder in", runs):
        runs.mkdir(parents=True, exist_ok=True)
        taken = (entry.name.removeprefix(f"{experiment}-") for entry in runs.glob("*"))
        last = max((int(number) for number in taken if number.isdecimal()), default=0)
        for number in count(last + 1):
            folder = runs / f"{experiment}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:  # another run has just taken this number
                continue
            return folder
    raise AssertionError("the numbers never end")
