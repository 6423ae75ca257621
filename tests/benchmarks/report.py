"""What a report costs, as JSON: python -m tests.benchmarks.report

A run of ten clients, five algorithms and 200 rounds each is made up, and its report made three times in processes of
their own. What recording costs is CPU time of the process that collects the timeline, which is neither a node's nor
the hub's, against the emulated time of the run: at time scale 1 the least that the run can last.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emulator.control.history import History
from emulator.control.rounds import Rounds
from emulator.report import files
from emulator.report.folder import read
from emulator.timeline import Span
from tests.made_runs import make_run

ALGORITHMS = ("gapsl", "epsl", "psl", "sfl", "sl")
REPEATS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", algorithms=ALGORITHMS, rounds=200, testbed="mixed-10", every=5)
        took = [_report(run) for _ in range(REPEATS)]
        emulated = sum(one["emulated_s"] for one in (read(run).result or {})["algorithms"].values())
        recording, spans = _recording(run)
        figures = {
            "spans": spans,
            "report_s": {"median": statistics.median(took), "max": max(took)},
            "report_bytes": (run / files.REPORT).stat().st_size,
            "recording_s": recording,
            "recording_share": recording / emulated,
        }
    print(json.dumps(figures, indent=2))


def _report(run: Path) -> float:
    """Seconds that `edgebed report` takes, its start and its imports among them."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "emulator.cli", "report", run], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _recording(run: Path) -> tuple[float, int]:
    """CPU seconds of taking, keeping, writing and showing every span, and how many there are."""
    entries = [json.loads(line) for line in (run / files.TIMELINE).read_text().splitlines()]
    rounds, history = Rounds(), History([f"client-{number}" for number in range(1, 11)], {"server"})
    history.begin("all")
    with files.TimelineWriter(run / "again.jsonl") as writer:
        began = time.process_time()
        for entry in entries:
            span = Span.from_fields(entry)
            writer.write(span)
            rounds.note(span)
            history.span(span)
        return time.process_time() - began, len(entries)


if __name__ == "__main__":
    main()
