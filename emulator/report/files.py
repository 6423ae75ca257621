"""The folder that a run leaves, and how its files are written.

Whatever the file system refuses (a folder that is not the user's, a full disk) raises `InputError` in one line, with
the path and the reason.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType

from emulator.errors import InputError
from emulator.timeline import Span

RUNS = Path("runs")

EXPERIMENT = "experiment.yaml"
TIMELINE = "timeline.jsonl"
METRICS = "metrics.csv"
PREDICTION = "prediction.csv"
RESULT = "result.json"
SELFTEST = "selftest.json"
PREDICTION = "prediction.csv"
FAILURE = "failure.txt"
REPORT = "report.html"


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
        self._waiting: list[str] = []
        with refusals("write", path):
            # Unbuffered: what a full disk has refused once is not tried again when the file is closed.
            self._file = path.open("ab", buffering=0)

    def write(self, span: Span) -> None:
        line = json.dumps(span.to_fields(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._waiting.append(line + "\n")
        if len(self._waiting) >= self._flush_every:
            self.flush()

    def flush(self) -> None:
        """Hand all spans to the operating system."""
        left = memoryview("".join(self._waiting).encode())
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


def read_timeline(path: Path) -> list[Span]:
    """The spans of a file. `InputError` names the file, and the line that is no span.

    A last line without its end was being written when the run was killed, and is left out.
    """
    spans: list[Span] = []
    with refusals("read", path), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                spans.append(Span.from_fields(json.loads(line.decode())))
            except json.JSONDecodeError as error:
                if not line.endswith(b"\n"):
                    break
                raise InputError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from error
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}:{number}: {error}") from error
    return spans


@contextmanager
def refusals(verb: str, path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line for the user."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot {verb} {path}: {error.strerror or error}") from error


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
