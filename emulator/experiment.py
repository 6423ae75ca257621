"""Runs an experiment: one algorithm after the other, judged and summarised, and leaves its folder."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emulator import kernel_fidelity, quota, timeline, verdict
from emulator.control.rounds import Rounds
from emulator.document import Document, as_yaml
from emulator.errors import EdgebedError, InputError
from emulator.host import Host
from emulator.library import load_experiment
from emulator.plan import SERVER_ROLES, Plan, device_shares, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.report import files, html, result
from emulator.report.metrics import metrics_csv
from emulator.report.progress import Progress
from emulator.report.summary import Summary, summarise
from emulator.runtime.program import checker, preparer, settings_of
from emulator.runtime.watch import Observer, Outcome
from emulator.timeline import Metric, Span
from emulator.verdict import HostFacts, Verdict

RUNTIMES = ("local", "docker", "compose")
"""Where nodes may live: a module of `emulator.runtime` each."""


@dataclass(frozen=True)
class Finished:
    """What an experiment came to."""

    folder: Path
    summaries: list[Summary]
    verdict: Verdict
    result: dict[str, Any]
    time_scale: float


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
    plan = make_plan(experiment, host.core_flops, host.cores)
    folder = files.create_folder(experiment.name, out)
    with _reported(folder):
        finished = _run(experiment, plan, runtime, host, folder, progress)
    html.make([folder], folder / files.REPORT)
    return finished


def _run(experiment: Experiment, plan: Plan, runtime: str, host: Host, folder: Path, progress: Progress) -> Finished:
    assert isinstance(experiment.testbed, Testbed)
    resolved = experiment.model_copy(update={"time_scale": plan.scale}).model_dump(mode="json", exclude_none=True)
    files.write(folder / files.EXPERIMENT, as_yaml(resolved))
    with files.TimelineWriter(folder / files.TIMELINE) as writer:
        recorder = _Recorder(folder, writer, plan, progress)
        try:
            outcome = asyncio.run(_runner(runtime)(plan, folder / "logs", recorder))
        except BaseException:
            recorder.keep()
            raise
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
    summaries = [recorder.summary(run.name, plan, facts, experiment.target_accuracy) for run in plan.runs]
    built = result.build(
        summaries,
        facts,
        version=version("edgebed"),
        runtime=runtime,
        testbed=experiment.testbed.name,
        seed=experiment.seed,
    )
    built["host"] = {**built["host"], "cpu": host.cpu, "core_flops": host.core_flops}
    files.write(folder / files.RESULT, result.to_json(built))
    combined = verdict.combine({summary.run: summary.verdict for summary in summaries})
    return Finished(folder, summaries, combined, built, plan.scale)


@contextlib.contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Leave what a run failed of, and a report that says so, in its folder.

    Not after an interruption: whoever interrupts does not want to wait.
    """
    try:
        yield
    except KeyboardInterrupt:
        files.write(folder / files.FAILURE, "interrupted\n")
        raise
    except EdgebedError as error:
        with contextlib.suppress(EdgebedError):  # what failed first is what the user is told
            files.write(folder / files.FAILURE, f"{error}\n")
            html.make([folder], folder / files.REPORT)
        raise


def _runner(runtime: str) -> Callable[[Plan, Path, Observer], Coroutine[Any, Any, Outcome]]:
    """The function that carries out a plan; imported only now, for each runtime needs other libraries."""
    run: Callable[[Plan, Path, Observer], Coroutine[Any, Any, Outcome]]
    run = import_module(f"emulator.runtime.{runtime}").run
    return run


class _Recorder:
    """Keeps what the nodes noted, writes it down as it comes, and shows the progress."""

    def __init__(self, folder: Path, writer: files.TimelineWriter, plan: Plan, progress: Progress) -> None:
        self._folder = folder
        self._writer = writer
        self._rounds = int(plan.runs[0].config["rounds"])
        self._servers = {name for role in SERVER_ROLES for name in plan.peers.get(role, ())}
        self._progress = progress
        self._spans: dict[str, list[Span]] = {}
        self._metrics: dict[str, list[Metric]] = {}
        self._wall: dict[str, float] = {}
        self._round: dict[str, int] = {}
        self._recent: dict[str, Rounds] = {}

    def entry(self, fields: dict[str, Any]) -> None:
        """One span or metric, as it came from a node."""
        if "stage" in fields:
            span = Span.from_fields(fields)
            self._begin(span.run)
            self._spans[span.run].append(span)
            self._writer.write(span)
            self._recent[span.run].note(fields)
            if span.round > self._round[span.run]:
                self._round[span.run] = span.round
                self._show(span.run, span.round - 1)
        else:
            metric = Metric.from_fields(fields)
            self._begin(metric.run)
            self._metrics[metric.run].append(metric)
            if metric.name == "accuracy":
                self._progress.accuracy(metric.run, metric.value)

    def _show(self, run: str, ended: int) -> None:
        recent = self._recent[run]
        latency = recent.latency()
        if latency is not None:
            busy = {name: seconds for name, seconds in recent.busy().items() if name not in self._servers}
            self._progress.latency(run, latency, max(busy, key=lambda name: busy[name], default=None))
        self._progress.round(run, ended)

    def finished(self, run: str, wall_s: float) -> None:
        """A run is over."""
        self._begin(run)
        self._wall[run] = wall_s
        self._progress.round(run, self._rounds)
        self._progress.end(run)
        self._writer.flush()
        with _named(run):
            # The next run may have begun, but its timing is not complete.
            self._write_metrics(self._wall)

    def keep(self) -> None:
        """Write down the metrics of the whole rounds of a run that breaks off."""
        for run, spans in self._spans.items():
            if run not in self._wall:
                self._spans[run] = [span for span in spans if span.round < self._round[run]]
                self._metrics[run] = [metric for metric in self._metrics[run] if metric.round < self._round[run]]
        with contextlib.suppress(ValueError, EdgebedError):  # what the run broke off for is what the user is told
            self._write_metrics([run for run, last in self._round.items() if run in self._wall or last > 1])

    def _write_metrics(self, runs: Collection[str]) -> None:
        metrics = [metric for run in runs for metric in self._metrics[run]]
        elapsed = {run: timeline.elapsed_at(timeline.latencies(self._spans[run])) for run in runs}
        files.write(self._folder / files.METRICS, metrics_csv(metrics, elapsed))

    def short_stages(self) -> list[str]:
        """What the CPU quotas could not slow down, one line for each kind of stage."""
        return quota.short_stages(span for spans in self._spans.values() for span in spans)

    def summary(self, run: str, plan: Plan, facts: HostFacts, target: float | None) -> Summary:
        """What a finished run comes to."""
        spans, metrics, wall = self._spans[run], self._metrics[run], self._wall[run]
        with _named(run):
            links = {node.name: node.link for node in plan.nodes}
            ideal = kernel_fidelity.promised(spans, links) if plan.links == "kernel" else ()
            judged = verdict.judge(spans, facts, ideal=ideal)
            return summarise(spans, metrics, servers=self._servers, wall=wall, target=target, verdict=judged)

    def _begin(self, run: str) -> None:
        if run not in self._spans:
            self._spans[run], self._metrics[run], self._round[run] = [], [], 0
            self._recent[run] = Rounds()
            self._progress.begin(run, self._rounds)


@contextlib.contextmanager
def _named(run: str) -> Iterator[None]:
    """Turn timing that is missing or makes no sense into one line that names the run."""
    try:
        yield
    except ValueError as error:
        raise EdgebedError(f"{run}: {error}") from error
