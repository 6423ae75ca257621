"""Folders of runs that never ran: split-learning rounds drawn at random, judged and written as a run's own are."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator import timeline
from emulator.document import as_yaml
from emulator.library import load_experiment
from emulator.profiles import Experiment, NodeSpec, Testbed
from emulator.report import files, result
from emulator.report.metrics import metrics_csv
from emulator.report.summary import summarise
from emulator.timeline import Metric, Span
from emulator.verdict import HostFacts, judge

HOST = HostFacts(cores=2, cores_wanted=1.25, time_scale=2.0, notes=("made, not run",))
UP, DOWN, MODEL, SERVER_FLOPS = 40_000, 36_000, 6_000, 3e8
SPEED = {"gapsl": 1.0, "epsl": 0.9, "psl": 1.1, "sfl": 1.3, "sl": 2.0}
"""How fast accuracy grows, relative; any other run learns like gapsl."""


def make_run(
    folder: Path,
    *,
    algorithms: Sequence[str] = ("gapsl", "psl"),
    rounds: int = 4,
    testbed: str = "demo",
    every: int = 1,
    late: float = 0.0,
    target: str = "60 %",
    finished: bool = True,
) -> Path:
    """A run's folder. With `late`, computations end so many seconds after they are due, which makes the run INVALID.

    If not `finished`, it breaks off in the last algorithm's last round, and has no result.
    """
    experiment = _experiment(algorithms, rounds, testbed, target)
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / files.EXPERIMENT, as_yaml(experiment.model_dump(mode="json", exclude_none=True)))
    spans = {name: _spans(name, experiment, rounds, late) for name in algorithms}
    metrics = {name: _metrics(name, experiment, rounds, every) for name in algorithms}
    if not finished:
        spans[algorithms[-1]] = spans[algorithms[-1]][:-3]
    with files.TimelineWriter(folder / files.TIMELINE, flush_every=10_000) as writer:
        for span in (span for of_run in spans.values() for span in of_run):
            writer.write(span)
    elapsed = {name: timeline.elapsed_at(timeline.latencies(of_run)) for name, of_run in spans.items()}
    files.write(folder / files.METRICS, metrics_csv([metric for one in metrics.values() for metric in one], elapsed))
    if finished:
        summaries = [
            summarise(
                spans[name],
                metrics[name],
                servers={"server"},
                wall=12.5,
                target=experiment.target_accuracy,
                verdict=judge(spans[name], HOST),
            )
            for name in algorithms
        ]
        built = result.build(summaries, HOST, version="0.1.0", runtime="local", testbed=testbed, seed=1)
        built["host"] = {**built["host"], "cpu": "Made Processor", "core_flops": 5e10}
        files.write(folder / files.RESULT, result.to_json(built))
    return folder


def _experiment(algorithms: Sequence[str], rounds: int, testbed: str, target: str) -> Experiment:
    overrides: Mapping[str, object] = {
        "algorithms": list(algorithms),
        "rounds": rounds,
        "testbed": testbed,
        "target_accuracy": target,
        "time_scale": 2.0,
    }
    return load_experiment("demo", overrides)[0]


def _nodes(experiment: Experiment) -> tuple[NodeSpec, list[NodeSpec]]:
    assert isinstance(experiment.testbed, Testbed)
    server, *clients = experiment.testbed.nodes
    return server, clients


def _seconds(node: NodeSpec, flops: float) -> float:
    assert not isinstance(node.device, str)
    return flops / node.device.training


def _crossing(node: NodeSpec, up: bool, size: int) -> float:
    assert not isinstance(node.link, str)
    channel = node.link.up if up else node.link.down
    return channel.delay + size * 8 / channel.rate


def _spans(run: str, experiment: Experiment, rounds: int, late: float) -> list[Span]:
    """The rounds of `run`, whose clients act together or, in sl, one after the other."""
    server, clients = _nodes(experiment)
    draw = random.Random(run)
    made: list[Span] = []
    at = 5.0
    for number in range(1, rounds + 1):
        for group in [[client] for client in clients] if run == "sl" else [clients]:
            at = _exchange(made, run, number, at, server, group, draw, late)
            if run == "sl" and group[0] is not clients[-1]:
                heir = clients[clients.index(group[0]) + 1]
                passed = at + _crossing(group[0], True, MODEL) + _crossing(heir, False, MODEL)
                made.append(_message(run, number, group[0], heir, "handover", at, passed, MODEL))
                at = passed
        at += 0.7  # evaluation, off the clock
        made.append(Span(run, number, str(server.name), "evaluation", at - 0.6, at - 0.1, off_clock=True))
    return made


def _exchange(
    made: list[Span],
    run: str,
    number: int,
    at: float,
    server: NodeSpec,
    clients: Sequence[NodeSpec],
    draw: random.Random,
    late: float,
) -> float:
    arrived = at
    for client in clients:
        forward = at + _seconds(client, 6e7) * draw.uniform(0.95, 1.1)
        up = forward + _crossing(client, True, UP) * draw.uniform(1, 1.2)
        made.append(_compute(run, number, client, "client_forward", at, forward, late))
        made.append(_message(run, number, client, server, "uplink", forward, up, UP))
        arrived = max(arrived, up)
    stepped = arrived + _seconds(server, SERVER_FLOPS) * (2 if run == "gapsl" else 1) * draw.uniform(0.95, 1.1)
    made.append(_compute(run, number, server, "server_step", arrived, stepped, late))
    ended = stepped
    for client in clients:
        down = stepped + _crossing(client, False, DOWN) * draw.uniform(1, 1.2)
        backward = down + _seconds(client, 1e8) * draw.uniform(0.95, 1.1)
        made.append(_message(run, number, server, client, "downlink", stepped, down, DOWN))
        made.append(_compute(run, number, client, "client_backward", down, backward, late))
        ended = max(ended, backward)
    return ended


def _compute(run: str, number: int, node: NodeSpec, stage: str, start: float, end: float, late: float) -> Span:
    due = max(start, end - late)
    return Span(run, number, str(node.name), stage, start, end, due=due, cpu=(end - start) / 3, mode="stretched")


def _message(
    run: str, number: int, sender: NodeSpec, to: NodeSpec, stage: str, start: float, end: float, size: int
) -> Span:
    return Span(run, number, str(sender.name), stage, start, end, bytes=size, peer=str(to.name), due=end)


def _metrics(run: str, experiment: Experiment, rounds: int, every: int) -> list[Metric]:
    server, clients = _nodes(experiment)
    draw = random.Random(run)
    made: list[Metric] = []

    def record(number: int, **values: float) -> None:
        made.extend(Metric(run, number, str(server.name), name, value) for name, value in values.items())

    for number in range(1, rounds + 1):
        progress = SPEED.get(run, 1.0) * number / rounds
        record(number, loss=2.3 * math.exp(-2 * progress) + draw.uniform(0, 0.05))
        if run == "gapsl":
            aligned = draw.randint(1, len(clients))
            record(number, aligned=aligned, leaders=min(2, aligned), k_t=0.5, dispersion=draw.uniform(0.05, 0.2))
            record(number, mean_angle=draw.uniform(0.5, 1.8))
        if number % every == 0 or number == rounds:
            accuracy = 0.95 - 0.85 * math.exp(-2.5 * progress)
            spread = 0.04 * draw.uniform(0.5, 1.5)
            record(number, accuracy=accuracy, accuracy_min=accuracy - spread, accuracy_max=min(1.0, accuracy + spread))
    return made
