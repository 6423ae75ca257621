"""Runs an experiment: one algorithm after the other, judged and summarised, and leaves its folder."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emulator import kernel_fidelity, quota, timeline, verdict
from emulator.comparison import Comparison, compare, drift, join
from emulator.document import Document, as_yaml
from emulator.errors import EdgebedError, InputError
from emulator.host import Host
from emulator.library import load_experiment
from emulator.plan import SERVER_ROLES, Plan, device_shares, make_plan
from emulator.prediction import cost_model, predict
from emulator.profiles import Experiment, Testbed
from emulator.report import files, prediction, result
from emulator.report.metrics import metrics_csv
from emulator.report.progress import Progress
from emulator.report.summary import Summary, summarise
from emulator.runtime.program import checker, preparer, settings_of
from emulator.timeline import Metric, Span
from emulator.verdict import HostFacts, Verdict

RUNTIMES = ("local", "docker", "compose", "virtual")
"""Where nodes may live: a module of `emulator.runtime` each."""
DRIFT = 0.10
"""By how much the host's own speed may differ from its calibration before the reader is told."""


@dataclass(frozen=True)
class Finished:
    """What an experiment came to."""

    folder: Path
    summaries: list[Summary]
    verdict: Verdict
    result: dict[str, Any]
    time_scale: float
    predicted: Mapping[str, Comparison]
    """By run; empty where nothing was predicted."""


def check(reference: str, overrides: Mapping[str, Any], *, prepare: bool = False) -> Experiment:
    """The experiment that `reference` means, with `overrides`, checked as far as it can be before anything starts.

    With `prepare`, what its programs need, such as data, is there afterwards. Raises `InputError` with file, line and
    key.
    """
    experiment, document = load_experiment(reference, overrides)
    # The time scale and the host decide nothing that is checked here: any host will do.
    plan = make_plan(experiment.model_copy(update={"time_scale": "auto"}), core_flops=1e9, cores=1)
    for run in plan.runs:
        for program in experiment.programs.values():
            with _explained(program, document):
                _check_config(program, run.config, plan)
                if prepare and (have_ready := preparer(program)) is not None:
                    have_ready(run.config)
    return experiment


def _check_config(program: str, config: dict[str, Any], plan: Plan) -> None:
    settings, check_words = settings_of(program), checker(program)
    if settings is not None:
        settings.model_validate(config)
    if check_words is not None:
        check_words(config, plan.peers)


@contextlib.contextmanager
def _explained(program: str, document: Document) -> Iterator[None]:
    """Turn what a program's module says of its config into one line that names the place in the file."""
    try:
        yield
    except ValidationError as error:
        # A run's config has one algorithm where the file has a list of them.
        raise document.explain(error, settings_of(program), rename={"algorithm": "algorithms"}) from None
    except ValueError as error:
        raise InputError(f"{document.source}: workload: {error}") from None


def run(experiment: Experiment, runtime: str, host: Host, out: Path | None, progress: Progress) -> Finished:
    """Run `experiment` (resolved) in `runtime` on `host`; leaves a folder, `out` or the next free one, with it all.

    Raises `EdgebedError` of the kind that fits; what had been measured until then is in the folder.
    """
    assert isinstance(experiment.testbed, Testbed)
    virtual = runtime == "virtual"
    if not (virtual or experiment.training):
        raise InputError("training: false measures nothing: add --runtime virtual, or leave training out")
    plan = make_plan(experiment, host.core_flops, host.cores, virtual=virtual)
    # Where the nodes are not this process's to start, neither are those of a calibration.
    cost = cost_model(experiment, host, insist=virtual, make=runtime != "compose", say=progress.say)
    if virtual:
        plan = plan.model_copy(update={"cost": cost})
    folder = files.create_folder(experiment.name, out)
    scale = experiment.time_scale if virtual else plan.scale
    resolved = experiment.model_copy(update={"time_scale": scale}).model_dump(mode="json", exclude_none=True)
    files.write(folder / files.EXPERIMENT, as_yaml(resolved))
    with files.TimelineWriter(folder / files.TIMELINE) as writer:
        recorder = _Recorder(folder, writer, experiment.rounds, progress)
        runner = import_module(f"emulator.runtime.{runtime}")  # only now: each runtime needs other libraries
        with asyncio.Runner(loop_factory=getattr(runner, "new_event_loop", None)) as loop:
            outcome = loop.run(runner.run(plan, folder / "logs", recorder))
    predicted: dict[str, Comparison] = {}
    if cost is not None and not virtual:
        try:
            said = predict(experiment, host, cost)
            predicted = recorder.compare(said)
            outcome.notes.extend(recorder.drifts(said, {node.name: node.slowdown for node in plan.nodes}))
        except EdgebedError as error:  # what was measured stands without it
            outcome.notes.append(f"not predicted: {error}")
    shares = device_shares(experiment.testbed, host.core_flops)
    wanted = sum(shares.values()) / plan.scale
    facts = HostFacts(
        host.cores,
        wanted,
        plan.scale,
        outcome.hub_priority,
        outcome.notes + (recorder.short_stages() if plan.compute == "quota" else []),
        hosts=outcome.hosts,
        clock_error=outcome.clock_error,
        disturbances=outcome.disturbances,
    )
    target = experiment.target_accuracy if experiment.training else None
    summaries = [recorder.summary(run.name, plan, facts, target) for run in plan.runs]
    built = result.build(
        summaries,
        facts,
        version=version("edgebed"),
        runtime=runtime,
        testbed=experiment.testbed.name,
        seed=experiment.seed,
    )
    for name, comparison in predicted.items():
        built["algorithms"][name]["predicted"] = prediction.fields(comparison)
    built["host"] = {**built["host"], "cpu": host.cpu, "core_flops": host.core_flops}
    files.write(folder / files.RESULT, result.to_json(built))
    combined = verdict.combine({summary.run: summary.verdict for summary in summaries})
    return Finished(folder, summaries, combined, built, plan.scale, predicted)


class _Recorder:
    """Keeps what the nodes noted, writes it down as it comes, and shows the progress."""

    def __init__(self, folder: Path, writer: files.TimelineWriter, rounds: int, progress: Progress) -> None:
        self._folder = folder
        self._writer = writer
        self._rounds = rounds
        self._progress = progress
        self._spans: dict[str, list[Span]] = {}
        self._metrics: dict[str, list[Metric]] = {}
        self._wall: dict[str, float] = {}
        self._round: dict[str, int] = {}

    def entry(self, fields: dict[str, Any]) -> None:
        """One span or metric, as it came from a node."""
        if "stage" in fields:
            span = Span.from_fields(fields)
            self._begin(span.run)
            self._spans[span.run].append(span)
            self._writer.write(span)
            if span.round > self._round[span.run]:
                self._round[span.run] = span.round
                self._progress.round(span.run, span.round - 1)
        else:
            metric = Metric.from_fields(fields)
            self._begin(metric.run)
            self._metrics[metric.run].append(metric)
            if metric.name == "accuracy":
                self._progress.accuracy(metric.run, metric.value)

    def finished(self, run: str, wall_s: float) -> None:
        """A run is over."""
        self._begin(run)
        self._wall[run] = wall_s
        self._progress.round(run, self._rounds)
        self._progress.end(run)
        self._writer.flush()
        # The next run may have begun, but its timing is not complete.
        metrics = [metric for name in self._wall for metric in self._metrics[name]]
        with _named(run):
            elapsed = {name: timeline.elapsed_at(timeline.latencies(self._spans[name])) for name in self._wall}
            files.write(self._folder / files.METRICS, metrics_csv(metrics, elapsed))

    def short_stages(self) -> list[str]:
        """What the CPU quotas could not slow down, one line for each kind of stage."""
        return quota.short_stages(span for spans in self._spans.values() for span in spans)

    def summary(self, run: str, plan: Plan, facts: HostFacts, target: float | None) -> Summary:
        """What a finished run comes to."""
        servers = {name for role in SERVER_ROLES for name in plan.peers.get(role, ())}
        spans, metrics, wall = self._spans[run], self._metrics[run], self._wall[run]
        with _named(run):
            links = {node.name: node.link for node in plan.nodes}
            ideal = kernel_fidelity.promised(spans, links) if plan.links == "kernel" else ()
            judged = verdict.judge(spans, facts, ideal=ideal)
            return summarise(spans, metrics, servers=servers, wall=wall, target=target, verdict=judged)

    def compare(self, predicted: list[Span]) -> dict[str, Comparison]:
        """Each run beside its prediction, and a file of all of it."""
        said = timeline.runs(predicted)
        found: dict[str, Comparison] = {}
        for run, spans in self._spans.items():
            with _named(run):
                found[run] = compare(spans, said[run])
        pairs = [pair for run, spans in self._spans.items() for pair in join(spans, said[run])]
        files.write(self._folder / files.PREDICTION, prediction.prediction_csv(pairs))
        return found

    def drifts(self, predicted: list[Span], slowdowns: Mapping[str, float]) -> list[str]:
        """Where this host was not as quick as when it was calibrated, one line for each run."""
        said = timeline.runs(predicted)
        found = {run: drift(spans, said[run], slowdowns) for run, spans in self._spans.items()}
        return [
            f"{run}: its computations took {ratio:.2f} times the CPU time that this host was calibrated at: other work "
            f"slowed it down, then or now, and the prediction is off by that (edgebed calibrate measures anew)"
            for run, ratio in found.items()
            if ratio is not None and abs(ratio - 1) > DRIFT
        ]

    def _begin(self, run: str) -> None:
        if run not in self._spans:
            self._spans[run], self._metrics[run], self._round[run] = [], [], 0
            self._progress.begin(run, self._rounds)


@contextlib.contextmanager
def _named(run: str) -> Iterator[None]:
    """Turn timing that is missing or makes no sense into one line that names the run."""
    try:
        yield
    except ValueError as error:
        raise EdgebedError(f"{run}: {error}") from error
