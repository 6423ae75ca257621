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

from emulator import verdict
from emulator.comparison import Comparison
from emulator.document import Document, as_yaml
from emulator.errors import EdgebedError, InputError
from emulator.host import CoreTimes, Host
from emulator.library import load_experiment
from emulator.plan import Plan, device_shares, make_plan
from emulator.prediction import cost_model, predict
from emulator.profiles import Experiment, Testbed
from emulator.recorder import Recorder
from emulator.report import files, html, prediction, result
from emulator.report.progress import Progress
from emulator.report.summary import Summary
from emulator.runtime.program import checker, preparer, settings_of
from emulator.runtime.watch import Outcome
from emulator.verdict import HostFacts, Verdict

RUNTIMES = ("local", "docker", "compose", "virtual")
"""Where nodes may live: a module of `emulator.runtime` each."""
SLEEPY = (
    "this host's cores slept between computations, and took longer for the first milliseconds after that: here nobody "
    "keeps them awake"
)


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
                    have_ready(run.config, plan.peers)
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


def run(
    experiment: Experiment, runtime: str, host: Host, out: Path | None, progress: Progress, *, page: bool = True
) -> Finished:
    """Run `experiment` (resolved) in `runtime` on `host`; leaves a folder, `out` or the next free one, with it all.

    Without `page` a run that goes well leaves no report.html; `edgebed report` can make it at any time.

    Raises `EdgebedError` of the kind that fits; what had been measured until then is in the folder.
    """
    virtual = runtime == "virtual"
    if not (virtual or experiment.training):
        raise InputError("training: false measures nothing: add --runtime virtual, or leave training out")
    plan = make_plan(experiment, host.core_flops, host.cores, virtual=virtual, awake=host.awake and not virtual)
    if runtime == "local":
        from emulator.runtime import local  # only now: it takes a while

        local.check(plan)  # before a minute of calibration
    # Where the nodes are not this process's to start, neither are those of a calibration.
    cost = cost_model(experiment, host, insist=virtual, make=runtime != "compose", say=progress.say)
    if virtual:
        plan = plan.model_copy(update={"cost": cost})
    folder = files.create_folder(experiment.name, out)
    with _reported(folder):
        scale = experiment.time_scale if virtual else plan.scale
        resolved = experiment.model_copy(update={"time_scale": scale}).model_dump(mode="json", exclude_none=True)
        files.write(folder / files.EXPERIMENT, as_yaml(resolved))
        recorder, outcome = carry_out(plan, runtime, folder, progress)
        predicted: dict[str, Comparison] = {}
        slower: dict[str, float] = {}
        if cost is not None and not virtual:
            try:
                virtually = make_plan(experiment, host.core_flops, host.cores, virtual=True)
                virtually = virtually.model_copy(update={"scale": plan.scale})
                said = predict(experiment, host, cost, virtually, recorder.spans)
                predicted = recorder.compare(said)
                slower = recorder.slower(cost)
                outcome.notes.extend(recorder.drifts(said, virtually, slower))
            except EdgebedError as error:  # what was measured stands without it
                outcome.notes.append(f"not predicted: {error}")
        finished = _judge(experiment, plan, runtime, host, recorder, outcome, predicted, slower)
    if page:
        html.make([folder], folder / files.REPORT)
    return finished


def carry_out(plan: Plan, runtime: str, folder: Path, progress: Progress) -> tuple[Recorder, Outcome]:
    """Carry out `plan` in `runtime`, leaving its timeline in `folder`; raises as the runtime does."""
    runner = import_module(f"emulator.runtime.{runtime}")  # only now: each runtime needs other libraries
    with files.TimelineWriter(folder / files.TIMELINE) as writer:
        recorder = Recorder(folder, writer, plan, progress)
        before = CoreTimes.now()
        try:
            with asyncio.Runner(loop_factory=getattr(runner, "new_event_loop", None)) as loop:
                outcome: Outcome = loop.run(runner.run(plan, folder / "logs", recorder))
            outcome.stolen = CoreTimes.now().stolen_since(before)
            if plan.awake and not outcome.kept_awake:
                outcome.notes.append(SLEEPY)
            return recorder, outcome
        except BaseException:
            recorder.keep()
            raise


def _judge(
    experiment: Experiment,
    plan: Plan,
    runtime: str,
    host: Host,
    recorder: Recorder,
    outcome: Outcome,
    predicted: Mapping[str, Comparison],
    slower: Mapping[str, float],
) -> Finished:
    """What the runs came to, and whether to believe it; leaves the result."""
    assert isinstance(experiment.testbed, Testbed)
    facts = host_facts(experiment.testbed, plan, host, outcome, recorder)
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
        built["algorithms"][name]["predicted"] = {**prediction.fields(comparison), "slower": slower.get(name)}
    built["host"] = {**built["host"], "cpu": host.cpu, "core_flops": host.core_flops}
    files.write(recorder.folder / files.RESULT, result.to_json(built))
    combined = verdict.combine({summary.run: summary.verdict for summary in summaries})
    return Finished(recorder.folder, summaries, combined, built, plan.scale, predicted)


def host_facts(testbed: Testbed, plan: Plan, host: Host, outcome: Outcome, recorder: Recorder) -> HostFacts:
    """What `host` could give to the runs of `plan`, and what they asked of it."""
    worst = max(outcome.clocks, key=lambda name: outcome.clocks[name].error, default="")
    return HostFacts(
        host.cores,
        sum(device_shares(testbed, host.core_flops).values()) / plan.scale,
        plan.scale,
        outcome.hub_priority,
        outcome.notes + (recorder.short_stages() if plan.compute == "quota" else []),
        hosts=outcome.hosts,
        clock_error=outcome.clocks[worst].error if worst else 0.0,
        clock_worst=worst if worst and outcome.clocks[worst].error else "",
        disturbances=outcome.disturbances,
        hub=outcome.hub,
        stolen=outcome.stolen,
        kept_awake=outcome.kept_awake,
    )


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
