"""Experiments in virtual time, for tests."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from emulator.cost import CostModel, Pricing
from emulator.library import resolve_testbed
from emulator.plan import Plan, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.runtime.virtual import simulate
from emulator.timeline import Metric, Span

HERE = "tests.unit.virtual_programs"
LINK = {
    "source": "a test",
    "up": {"rate": "8 Mbit/s", "delay": "10 ms"},
    "down": {"rate": "8 Mbit/s", "delay": "10 ms"},
}
DEVICE = {"name": "gigaflop", "training": "1 GFLOP/s", "memory": "1 GiB", "source": "a test"}


def plan(
    programs: Mapping[str, str] | None = None,
    *,
    clients: int = 1,
    rounds: int = 2,
    scale: float = 1.0,
    link: Mapping[str, Any] = LINK,
    device: object = DEVICE,
    algorithms: list[str] | None = None,
    training: bool = True,
    seed: int = 1,
    cost: CostModel | None = None,
    workload: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a server and some clients; programs are functions of `virtual_programs`, or full names."""
    testbed = Testbed.model_validate(
        {
            "name": "test",
            "nodes": [
                {"role": "server", "device": device, "link": link},
                *(
                    {"role": "client", "name": f"client-{k + 1}", "device": device, "link": link}
                    for k in range(clients)
                ),
            ],
        }
    )
    named = programs or {"server": "server", "client": "client"}
    experiment = Experiment(
        name="test",
        testbed=resolve_testbed(testbed),
        programs={role: name if ":" in name else f"{HERE}:{name}" for role, name in named.items()},
        algorithms=algorithms or [],
        rounds=rounds,
        seed=seed,
        time_scale=scale,
        training=training,
        workload=dict(workload or {}),
    )
    return make_plan(experiment, 1e10, 2, virtual=True).model_copy(update={"cost": cost})


def run(made: Plan, pricing: Callable[[str], Pricing] | None = None) -> tuple[list[Span], list[Metric]]:
    """What happened."""
    spans: list[Span] = []
    metrics: list[Metric] = []

    def note(entry: Span | Metric) -> None:
        if isinstance(entry, Span):
            spans.append(entry)
        else:
            metrics.append(entry)

    simulate(made, note, pricing=pricing)
    return spans, metrics


def as_lines(spans: list[Span]) -> str:
    """The text of their timeline."""
    return "\n".join(json.dumps(span.to_fields()) for span in spans)
