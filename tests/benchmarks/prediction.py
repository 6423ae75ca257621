"""What predictions cost and how close they come: virtual time, the vectorised round, and a demo beside its prediction.

`python -m tests.benchmarks.prediction [EXPERIMENT [KEY=VALUE ...]]`
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from emulator import experiment as experiments
from emulator import timeline
from emulator.clock import VirtualEventLoop
from emulator.host import this_host
from emulator.library import load
from emulator.plan import make_plan
from emulator.prediction import cost_model
from emulator.profiles import LinkProfile
from emulator.report import files
from emulator.report.progress import Progress
from emulator.retiming import replayed
from emulator.runtime.virtual import simulate
from emulator.timeline import Span
from emulator.vectorised import Fleet, parallel_round

CLIENTS = 1000
MILLION = 1_000_000


CLIENT_EVENT = "an entry of the timeline: one message, one computation or one wait, on the clock or off it"


def virtual(overrides: dict[str, Any], repeats: int = 3) -> dict[str, float]:
    """An experiment without training, in virtual time and kept in memory: the best of some repetitions, by this
    process's CPU time, which includes the start of every node."""
    host = this_host()
    experiment = experiments.check("demo", {"training": False, "calibration": "none", **overrides})
    plan = make_plan(experiment, host.core_flops, host.cores, virtual=True)
    best, spans = float("inf"), list[Any]()
    for _ in range(repeats):
        spans.clear()
        began = time.process_time()
        simulate(plan, spans.append)
        best = min(best, time.process_time() - began)
    spans = [entry for entry in spans if isinstance(entry, Span)]
    emulated = sum(timeline.emulated_time(own) for own in timeline.runs(spans).values())
    # What it would take in processes on this host, at the least: its time scale times what it emulates.
    in_processes = make_plan(experiment, host.core_flops, host.cores).scale * emulated
    return {
        "cpu_s": best,
        "client_events": len(spans),
        "client_events_per_s": len(spans) / best,
        "emulated_s": emulated,
        "times_real_time": emulated / best,
        "times_run_in_processes": in_processes / best,
    }


def recorded(repeats: int = 3) -> dict[str, float]:
    """The demo as `edgebed run demo --runtime virtual --set training=false` does it, recording included: emulated
    seconds over this host's, all algorithms together and the slowest alone; the best of some repetitions."""
    host = this_host()
    experiment = experiments.check("demo", {"training": False})
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, Progress(Console(stderr=True)) as progress:
            runs = experiments.run(experiment, "virtual", host, Path(folder) / "run", progress).result["algorithms"]
        emulated, wall = ([one[key] for one in runs.values()] for key in ("emulated_s", "wall_s"))
        slowest = min(own / took for own, took in zip(emulated, wall, strict=True))
        found.append({"wall_s": sum(wall), "times_real_time": sum(emulated) / sum(wall), "slowest_run": slowest})
    return min(found, key=lambda one: one["wall_s"])


def timers() -> float:
    """Bare timers of the virtual event loop a second: the ceiling of everything above."""

    async def sleeper(number: int) -> None:
        for step in range(20):
            await asyncio.sleep(1e-3 * (1 + (step + number) % 7))

    async def main() -> None:
        await asyncio.gather(*(sleeper(number) for number in range(1000)))

    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        began = time.process_time()
        runner.run(main())
        return 20_000 / (time.process_time() - began)


def vectorised() -> dict[str, float]:
    """A round of a million clients on three kinds of links, the server's queue included."""
    kinds = [load(LinkProfile, name) for name in ("ethernet-1g", "adsl", "lan-unlimited")]
    still = [
        kind.model_copy(update={way: getattr(kind, way).model_copy(update={"jitter": 0.0}) for way in ("up", "down")})
        for kind in kinds
    ]
    links = [still[number % 3] for number in range(MILLION)]
    generator = np.random.default_rng(1)
    began = time.process_time()
    fleet = Fleet.of(links, still[0])
    made = time.process_time()
    found = parallel_round(
        fleet,
        forward=generator.uniform(0.01, 0.1, MILLION),
        uplink=np.full(MILLION, 8192 + 100),
        server=1.0,
        downlink=np.full(MILLION, 8192 + 90),
        backward=generator.uniform(0.02, 0.2, MILLION),
    )
    return {
        "clients": MILLION,
        "links_cpu_s": made - began,
        "round_cpu_s": time.process_time() - made,
        "latency_s": found.latency,
    }


def agreement(reference: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """An experiment as processes, and how far its prediction is off, with the verdict on the run itself."""
    experiment, host = experiments.check(reference, overrides, prepare=True), this_host()
    cost_model(experiment, host)
    with tempfile.TemporaryDirectory() as folder, Progress(Console(stderr=True)) as progress:
        finished = experiments.run(experiment, "local", host, Path(folder) / "run", progress)
        spans = files.read_timeline(finished.folder / files.TIMELINE)
    again = replayed(spans, make_plan(experiment, host.core_flops, host.cores, virtual=True))
    ranked = [
        sorted(finished.predicted, key=lambda name: getattr(finished.predicted[name].latency, which))
        for which in ("measured_mean", "predicted_mean")
    ]
    return {
        "valid": finished.verdict.valid,
        "runs_from_quickest": dict(zip(("measured", "predicted"), ranked, strict=True)),
        "runs": {
            name: {
                "measured_ms": 1e3 * one.latency.measured_mean,
                "predicted_ms": 1e3 * one.latency.predicted_mean,
                "error": one.latency.error,
                "error_at_measured_cpu": again[name].latency.error if name in again else None,
                "stage_median_errors": {stage: each.furthest for stage, each in one.stages.items()},
            }
            for name, one in finished.predicted.items()
        },
    }


def main() -> None:
    reference, *settings = sys.argv[1:] or ["demo"]
    overrides = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in settings)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "thousand.yaml"
        client = {"role": "client", "device": "raspberry-pi-4", "link": "wifi-5", "count": CLIENTS}
        server = {"role": "server", "device": "jetson-orin-nx", "link": "ethernet-1g"}
        path.write_text(yaml.safe_dump({"nodes": [server, client]}))
        many = {"testbed": str(path), "rounds": 5, "algorithms": ["psl"], "workload.batch_size": 1}
        figures = {
            "client_event": CLIENT_EVENT,
            "bare_timers_per_s": timers(),
            "demo": virtual({}),
            "demo_recorded": recorded(),
            f"{CLIENTS}_clients": virtual(many),
            "vectorised": vectorised(),
            "agreement": {reference: agreement(reference, overrides)},
        }
    print(json.dumps({"prediction": figures}, indent=2))


if __name__ == "__main__":
    main()
