"""The self-test in virtual time: nothing is late, so that every error is the links' own."""

from collections.abc import Mapping
from typing import Any

from emulator.cost import Hardware
from emulator.library import resolve_testbed
from emulator.node import Work
from emulator.plan import Plan, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.selftest.figures import Figure, of_devices, of_links, sent
from emulator.selftest.loads import phases
from emulator.selftest.program import SPIN
from emulator.selftest.ways import conductor_of
from emulator.timeline import Metric, Span
from emulator.verdict import DEFAULT_LIMITS
from tests.unit.virtual_world import run

CORE = 1e10
DEVICE = {"name": "board", "training": "1 GFLOP/s", "memory": "unlimited", "source": "a test"}
WIDE = {"rate": "1 Gbit/s", "delay": "1 ms"}


def channel(rate: str = "20 Mbit/s", delay: str = "10 ms", **more: str) -> dict[str, str]:
    return {"rate": rate, "delay": delay, **more}


def link(up: Mapping[str, str], down: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"source": "a test", "up": dict(up), "down": dict(down or up)}


def plan(*clients: Mapping[str, Any], server: Mapping[str, Any] | None = None, scale: float = 1.0) -> Plan:
    """The self-test's plan of clients with these links, and a server."""
    nodes = [{"role": "server", "device": DEVICE, "link": server or link(WIDE)}]
    nodes += [{"role": "client", "name": f"c{k}", "device": DEVICE, "link": own} for k, own in enumerate(clients, 1)]
    testbed = resolve_testbed(Testbed.model_validate({"name": "test", "nodes": nodes}))
    programs = {node.role: "emulator.selftest:node" for node in testbed.nodes}
    experiment = Experiment(name="selftest", testbed=testbed, programs=programs, time_scale=scale)
    return with_phases(make_plan(experiment, CORE, 2, virtual=True))


def with_phases(made: Plan) -> Plan:
    """The plan with what the self-test sends and computes on it."""
    found = phases(made)
    workload = {"conductor": conductor_of(made.nodes), "phases": found}
    config = {**made.runs[0].config, "rounds": len(found), "workload": workload}
    return made.model_copy(update={"runs": [made.runs[0].model_copy(update={"config": config})]})


class _Exact:
    """What each computation takes its device, exactly."""

    def __init__(self, made: Plan, longer: float) -> None:
        (self._load,) = (phase for phase in _phases(made) if set(phase.get("nodes", ())) == set(_names(made)))
        self._longer = longer

    def seconds(self, node: str, role: str, stage: str, work: Work | None, device: Hardware) -> float:
        load = self._load["nodes"][node]
        return float(load["spin_cpu" if stage == SPIN else "tick_cpu"] * device.slowdown * self._longer)


def timeline(made: Plan, longer: float = 1.0) -> tuple[list[Span], list[Metric]]:
    """What happens; computations take `longer` than they should."""
    return run(made, pricing=lambda _: _Exact(made, longer))


def figures(made: Plan, carried_out: Plan | None = None, longer: float = 1.0) -> dict[tuple[str, str], Figure]:
    """The figures by name and what they are of; `carried_out` is another plan than the one compared with."""
    spans, metrics = timeline(carried_out or made, longer)
    found = of_links(sent(spans, made), made, DEFAULT_LIMITS) + of_devices(spans, metrics, made, DEFAULT_LIMITS)
    return {(figure.name, figure.of): figure for figure in found}


def _phases(made: Plan) -> list[dict[str, Any]]:
    return list(made.runs[0].config["workload"]["phases"])


def _names(made: Plan) -> list[str]:
    return [node.name for node in made.nodes]
