"""Runs an experiment: one algorithm after the other, judged and summarised, and leaves its folder."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emulator import timeline, verdict
from emulator.document import Document, as_yaml
from emulator.errors import EdgebedError, InputError
from emulator.host import Host
from emulator.library import load_experiment
from emulator.plan import Plan, device_shares, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.report import files, result
from emulator.report.metrics import metrics_csv
from emulator.report.progress import Progress
from emulator.report.summary import Summary, summarise
from emulator.runtime import local
from emulator.runtime.program import checker, settings_of
from emulator.timeline import Metric, Span
from emulator.verdict import HostFacts, Verdict

RUNTIME = "local"
SERVER_ROLES = ("server",)
"""Roles whose traffic is the other side of the clients': `up` is to them, `down` is from them."""


@dataclass(frozen=True)
class Finished:
    """What an experiment came to."""

    folder: Path
    summaries: list[Summary]
    verdict: Verdict
    result: dict[str, Any]
    time_scale: float


def prepare(reference: str, overrides: Mapping[str, Any]) -> Experiment:
    """The experiment that `reference` means, with `overrides`, checked as far as it can be before anything starts.

    Raises `InputError` with file, line and key.
    """
    experiment, document = load_experiment(reference, overrides)
    # The time scale and the host decide nothing that is checked here: any host will do.
    scaled = experiment.model_copy(update={"time_scale": "auto"})
    for algorithm in _runs(experiment):
        plan = make_plan(scaled, algorithm, core_flops=1e9, cores=1)
        for role, program in experiment.programs.items():
            config = next(node.config for node in plan.nodes if node.role == role)
            _check_config(program, config, plan, document)
    return experiment


def _runs(experiment: Experiment) -> list[str | None]:
    """The algorithms to run; a workload that has none runs once."""
    return [*experiment.algorithms] or [None]


def _check_config(program: str, config: dict[str, Any], plan: Plan, document: Document) -> None:
    settings, check = settings_of(program), checker(program)
    try:
        if settings is not None:
            settings.model_validate(config)
        if check is not None:
            check(config, plan.peers)
    except ValidationError as error:
        # A run's config has one algorithm where the file has a list of them.
        raise document.explain(error, settings, rename={"algorithm": "algorithms"}) from None
    except ValueError as error:
        raise InputError(f"{document.source}: workload: {error}") from None


def run(experiment: Experiment, host: Host, out: Path | None, progress: Progress) -> Finished:
    """Run `experiment` (resolved) on `host`; leaves a folder (`out`, or the next free one) with everything.

    Raises `EdgebedError` of the kind that fits; what had been measured until then is in the folder.
    """
    plans = [make_plan(experiment, algorithm, host.core_flops, host.cores) for algorithm in _runs(experiment)]
    assert isinstance(experiment.testbed, Testbed)
    scale = plans[0].scale
    folder = files.create_folder(experiment.name, out)
    resolved = experiment.model_copy(update={"time_scale": scale}).model_dump(mode="json", exclude_none=True)
    files.write(folder / files.EXPERIMENT, as_yaml(resolved))

    shares = device_shares(experiment.testbed, host.core_flops)
    unthrottled = len(experiment.testbed.nodes) - len(shares)
    facts = HostFacts(host.cores, sum(shares.values()) / scale + unthrottled, scale)
    summaries: list[Summary] = []
    metrics: list[Metric] = []
    elapsed: dict[str, dict[int, float]] = {}
    notes: list[str] = []
    with files.TimelineWriter(folder / files.TIMELINE) as writer:
        for plan in plans:
            recorder = _Recorder(plan.run, experiment.rounds, writer, progress)
            outcome = asyncio.run(local.run(plan, folder / "logs" / plan.run, recorder.take))
            recorder.end()
            writer.flush()
            facts = HostFacts(facts.cores, facts.cores_wanted, scale, outcome.hub_priority, notes)
            notes += [f"{plan.run}: {note}" for note in outcome.notes]
            metrics += recorder.metrics
            try:
                summaries.append(_summarise(recorder, plan, facts, outcome.wall_s, experiment.target_accuracy))
                elapsed[plan.run] = timeline.elapsed_at(timeline.latencies(recorder.spans))
            except ValueError as error:
                raise EdgebedError(f"{plan.run}: {error}") from error
            files.write(folder / files.METRICS, metrics_csv(metrics, elapsed))
    built = result.build(
        summaries,
        facts,
        version=version("edgebed"),
        runtime=RUNTIME,
        testbed=experiment.testbed.name,
        seed=experiment.seed,
    )
    built["host"] = {**built["host"], "cpu": host.cpu, "core_flops": host.core_flops}
    files.write(folder / files.RESULT, result.to_json(built))
    combined = verdict.combine({summary.run: summary.verdict for summary in summaries})
    return Finished(folder, summaries, combined, built, scale)


def _summarise(recorder: "_Recorder", plan: Plan, facts: HostFacts, wall: float, target: float | None) -> Summary:
    servers = {name for role in SERVER_ROLES for name in plan.peers.get(role, ())}
    return summarise(
        recorder.spans,
        recorder.metrics,
        servers=servers,
        wall=wall,
        target=target,
        verdict=verdict.judge(recorder.spans, facts),
    )


class _Recorder:
    """Keeps what the nodes of one run noted, writes it to the timeline, and shows the progress."""

    def __init__(self, run: str, rounds: int, writer: files.TimelineWriter, progress: Progress) -> None:
        self.spans: list[Span] = []
        self.metrics: list[Metric] = []
        self._run = run
        self._rounds = rounds
        self._writer = writer
        self._progress = progress
        self._round = 0
        progress.begin(run, rounds)

    def take(self, fields: dict[str, Any]) -> None:
        """One span or metric, as it came from a node."""
        if "stage" in fields:
            span = Span.from_fields(fields)
            self.spans.append(span)
            self._writer.write(span)
            if span.round > self._round:
                self._round = span.round
                self._progress.round(self._run, span.round - 1)
        else:
            metric = Metric.from_fields(fields)
            self.metrics.append(metric)
            if metric.name == "accuracy":
                self._progress.accuracy(self._run, metric.value)

    def end(self) -> None:
        """The run is over."""
        self._progress.round(self._run, self._rounds)
        self._progress.end(self._run)
