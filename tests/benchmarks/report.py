"""What a report costs, and what it is made of, as JSON: python -m tests.benchmarks.report

A run of ten clients, five algorithms and 200 rounds each is made up, and its report made three times in processes of
their own. What recording costs is CPU time against the emulated time of the run: at time scale 1 the least that the run
can last. The nodes' part, noting spans and handing them in, is all that a node could wait for; the rest is done by the
process that collects the timeline, which is neither a node's nor the hub's.
"""

import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from emulator import timeline
from emulator.bus import wire
from emulator.bus.client import FLUSH_ENTRIES
from emulator.bus.controller import Event
from emulator.bus.wire import Header, Kind
from emulator.control.state import State
from emulator.plan import make_plan
from emulator.profiles import HUB
from emulator.recorder import Recorder
from emulator.report import files
from emulator.report.folder import Folder, read
from emulator.report.progress import Progress
from tests.made_runs import make_run

ALGORITHMS = ("gapsl", "epsl", "psl", "sfl", "sl")
REPEATS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        run = make_run(Path(name) / "run", algorithms=ALGORITHMS, rounds=200, testbed="mixed-10", every=5)
        took, cpu = zip(*(_report(run) for _ in range(REPEATS)), strict=True)
        folder = read(run)
        emulated = sum(one["emulated_s"] for one in (folder.result or {})["algorithms"].values())
        spans = sum(map(len, folder.spans.values()))
        nodes, collecting = _recording(folder)
        figures = {
            "spans": spans,
            "report_s": {"median": statistics.median(took), "max": max(took)},
            "report_cpu_s": statistics.median(cpu),
            "report_bytes": (run / files.REPORT).stat().st_size,
            "recording": {
                "nodes_us_per_span": 1e6 * nodes / spans,
                "nodes_share": nodes / emulated,
                "share": (nodes + collecting) / emulated,
            },
        }
    print(json.dumps({"report": figures}, indent=2))


def _report(run: Path) -> tuple[float, float]:
    """Seconds that `edgebed report` takes, its start and its imports among them, by the clock and of CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "emulator.cli", "report", run], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def _recording(folder: Folder) -> tuple[float, float]:
    """CPU seconds of all nodes together, to note and hand in every span, and of the process that takes them, writes
    them down, and keeps what the live page shows."""
    plan = make_plan(folder.experiment, core_flops=1e12, cores=11)  # of any host
    state = State(plan, "local", folder.path)
    nodes = collecting = 0.0
    with (
        files.TimelineWriter(folder.path / "again.jsonl") as writer,
        Progress(Console(file=io.StringIO())) as progress,
    ):
        recorder = Recorder(folder.path, writer, plan, progress)
        for run, spans in folder.spans.items():
            state.event(Event("started", HUB, {"run": run}))
            for at in range(0, len(spans), FLUSH_ENTRIES):
                began = time.process_time()
                entries = [span.to_fields() for span in spans[at : at + FLUSH_ENTRIES]]
                frames = wire.pack(Header(Kind.TELEMETRY, fields={"entries": entries}))
                handed_in = time.process_time()
                for entry in map(timeline.entry, wire.unpack(frames).fields["entries"]):
                    recorder.entry(entry)
                    state.entry(entry)
                nodes += handed_in - began
                collecting += time.process_time() - handed_in
    return nodes, collecting


if __name__ == "__main__":
    main()
