"""Split learning in virtual time on devices and links that a test knows by heart.

No two devices are alike: who is first of two that do the same at the same moment is not defined.
"""

from collections.abc import Sequence
from typing import Any

from workloads import config

from emulator import timeline
from emulator.library import resolve_testbed
from emulator.plan import make_plan
from emulator.profiles import Experiment, Testbed
from emulator.runtime import virtual
from emulator.timeline import Metric, Span

CHANNEL = {"rate": "8 Mbit/s", "delay": "5 ms"}
LINK = {"source": "a test", "up": CHANNEL, "down": CHANNEL}


class Run:
    """What a run came to."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.noted: list[Metric] = []

    def note(self, entry: Span | Metric) -> None:
        if isinstance(entry, Span):
            self.spans.append(entry)
        else:
            self.noted.append(entry)

    @property
    def rounds(self) -> dict[int, list[Span]]:
        return timeline.rounds(self.spans)

    @property
    def latencies(self) -> list[float]:
        return [*timeline.latencies(self.spans).values()]

    @property
    def lost(self) -> list[int]:
        return [int(value) for value in self.metric("lost_rounds").values()]

    def metric(self, name: str) -> dict[int, float]:
        return {metric.round: metric.value for metric in self.noted if metric.name == name}

    def on_the_clock(self) -> list[dict[str, Any]]:
        """Its spans as plain fields, in an order that does not depend on who was asked first."""
        spans = [span.to_fields() for span in self.spans if not span.off_clock]
        return sorted(spans, key=lambda span: (span["start"], span["end"], span["node"], span.get("peer", "")))

    def left_out(self) -> list[tuple[int, str]]:
        return [(span.round, span.node) for span in self.spans if span.stage == timeline.LEFT_OUT]


def train(
    algorithm: str,
    devices: Sequence[str] = ("20 MFLOP/s", "30 MFLOP/s", "25 MFLOP/s"),
    *,
    rounds: int = 6,
    training: bool = False,
    scenario: Sequence[dict[str, Any]] = (),
    **workload: Any,
) -> Run:
    """A run of one client for each throughput, in virtual time."""
    throughputs = {"server": "1 GFLOP/s"} | {f"client-{k}": device for k, device in enumerate(devices, start=1)}
    nodes = [
        {
            "role": name.split("-")[0],
            "name": name,
            "device": {"name": f"of-{name}", "training": throughput, "memory": "1 GiB", "source": "a test"},
            "link": LINK,
        }
        for name, throughput in throughputs.items()
    ]
    words = config(algorithm, **workload)
    experiment = Experiment(
        name="test",
        testbed=resolve_testbed(Testbed.model_validate({"name": "test", "nodes": nodes})),
        programs={"server": "nodes.server:main", "client": "nodes.client:main"},
        algorithms=[algorithm],
        rounds=rounds,
        seed=1,
        time_scale=1.0,
        training=training,
        workload=words["workload"],
        **({"scenario": [*scenario]} if scenario else {}),
    )
    run = Run()
    virtual.simulate(make_plan(experiment, 1e10, 2, virtual=True), run.note)
    return run


def away(node: str, at: float, back: float | None = None) -> list[dict[str, Any]]:
    """A scenario in which the node cannot be reached from a time (s) on, and again from another."""
    changes = [{"at": f"{at} s", "node": node, "disconnect": True}]
    return changes if back is None else [*changes, {"at": f"{back} s", "node": node, "reconnect": True}]
