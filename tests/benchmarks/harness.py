"""Runs a workload on a testbed made on the spot, through the real local runtime, and gives its timeline."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.host import this_host
from emulator.library import resolve_testbed
from emulator.plan import make_plan
from emulator.profiles import DeviceProfile, Experiment, LinkProfile, Testbed
from emulator.runtime import local
from emulator.runtime.watch import Outcome
from emulator.timeline import Entry, Span, rounds

MODULE = "tests.benchmarks.workloads"


class _Spans(list[Span]):
    def entry(self, entry: Entry) -> None:
        if isinstance(entry, Span):
            self.append(entry)

    def finished(self, run: str, wall_s: float) -> None:
        """Nothing is kept but the spans."""


Nodes = Mapping[str, tuple[str, str | DeviceProfile, Mapping[str, Any]]]
"""Names, and of each node its program's function, its device and its link."""


def link(rate: str = "unlimited", delay: str = "0 s", **more: str) -> dict[str, Any]:
    """A symmetric link whose queue never makes a sender wait; `more` are further words of both its channels."""
    channel = {"rate": rate, "delay": delay, "queue": "unlimited", **more}
    return {"source": "benchmark", "up": channel, "down": channel}


def measure(nodes: Nodes, rounds_: int, **workload: Any) -> dict[int, list[Span]]:
    """The spans of each round."""
    return carried_out(nodes, rounds_, **workload)[0]


def carried_out(nodes: Nodes, rounds_: int, **workload: Any) -> tuple[dict[int, list[Span]], Outcome]:
    """The spans of each round, and what else the run left."""
    testbed = Testbed.model_validate(
        {
            "nodes": [
                {
                    "role": name.rstrip("0123456789-"),
                    "name": name,
                    "device": device,
                    "link": LinkProfile.model_validate(on),
                }
                for name, (_, device, on) in nodes.items()
            ]
        }
    )
    experiment = Experiment(
        name="benchmark",
        testbed=resolve_testbed(testbed),
        programs={name.rstrip("0123456789-"): f"{MODULE}:{function}" for name, (function, _, _) in nodes.items()},
        rounds=rounds_,
        time_scale=1.0,  # the clients of these programs hardly compute
        workload=workload,
    )
    host = this_host()
    spans = _Spans()
    with tempfile.TemporaryDirectory() as logs:
        plan = make_plan(experiment, host.core_flops, host.cores, awake=host.awake)
        outcome = asyncio.run(local.run(plan, Path(logs), spans))
    return rounds(spans), outcome
