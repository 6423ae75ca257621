"""What an experiment's cost model is, and what it predicts: the same experiment in virtual time, nothing learnt."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from emulator import calibration, timeline
from emulator.calibrate import SECONDS, calibrate, computed
from emulator.calibration import Calibration
from emulator.clock import new_event_loop
from emulator.cost import Charges, CostModel
from emulator.errors import InputError
from emulator.host import Host
from emulator.interruption import Step, interruption
from emulator.plan import Plan, make_plan
from emulator.profiles import Experiment
from emulator.runtime.program import sizer
from emulator.runtime.virtual import simulate
from emulator.speeds import sensed
from emulator.timeline import Span

MOST_NODES = 24
"""A calibration starts no more processes than these; a larger testbed is calibrated on its first nodes of each role."""
INTERRUPTIONS = "what a CPU quota's interruptions cost"


def predict(
    experiment: Experiment,
    host: Host,
    cost: CostModel | None,
    plan: Plan | None = None,
    measured: Iterable[Span] = (),
) -> list[Span]:
    """The spans of all runs of `experiment` in virtual time, their computations at the price of `cost`.

    `plan`: the one that was carried out, should the experiment have been; `measured`: what came of it, of which nothing
    is used but how fast its cores were. Raises as `runtime.virtual.run` does.
    """
    made = make_plan(experiment, host.core_flops, host.cores, virtual=True) if plan is None else plan
    runs = [run.model_copy(update={"config": {**run.config, "training": False}}) for run in made.runs]
    probes = {run: _probes(own, made.scale) for run, own in timeline.runs(measured).items()}
    first = runs[0].name
    spans: list[Span] = []
    simulate(
        # How long a quota lets a computation run depends on the time scale; nothing else here does.
        made.model_copy(update={"runs": runs, "cost": cost, "scale": made.scale if made.compute == "quota" else 1.0}),
        lambda entry: spans.append(entry) if isinstance(entry, Span) else None,
        pricing=lambda run: Charges(cost, run, first_run=run == first, seed=made.seed, probes=probes.get(run)),
    )
    return spans


def _probes(spans: Iterable[Span], scale: float) -> dict[tuple[str, str], list[float]]:
    """What the probe took the host at each call of each node's stage in one run, in order."""
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for span, call in sensed(spans, scale):
        if call.probe is not None:
            found[span.node, span.stage].append(call.probe)
    return dict(found)


def cost_model(
    experiment: Experiment,
    host: Host,
    *,
    insist: bool = True,
    make: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> CostModel | None:
    """What predictions of `experiment` stand on: its calibration, made now (seconds) when there is none that fits.

    None where the experiment wants none; unless `insist`, where its programs do not say what their work is; and unless
    `make`, where none is kept.
    `say` hears of what takes a while. Raises `InputError` for a calibration that the experiment names and that does
    not fit.
    """
    if experiment.calibration == "none":
        return None
    plan = calibration_plan(experiment, host)
    of = calibration.subject(plan)
    if experiment.calibration != "auto":
        named = Path(experiment.calibration)
        kept = calibration.read(named, of)
        if missing := _lacks(kept, experiment, plan, host):
            raise InputError(f"{named}: has nothing of {', '.join(missing)}: run edgebed calibrate anew")
        return kept.cost
    path = calibration.default_path(of)
    known = _kept(path, of)
    missing = [] if known is None else _lacks(known, experiment, plan, host)
    if known is not None and not missing:
        return known.cost
    if not make:
        return None
    if not insist and known is None and all(sizer(node.program) is None for node in plan.nodes):
        return None
    if known is not None and missing == [INTERRUPTIONS]:
        say(f"measuring {INTERRUPTIONS}: about a minute, once")
        known = _with_interruption(known, *_interrupted(plan))
        calibration.write(path, known)
        return known.cost
    say(f"calibrating this host for {of}: about a minute, once")
    made = calibrate_experiment(experiment, host)
    if known is not None and (known.cost.core_flops, known.awake) == (made.cost.core_flops, made.awake):
        others = tuple(stage for stage in known.cost.stages if stage.run not in made.runs)
        interrupted = known.cost.interruption if made.cost.interruption is None else made.cost.interruption
        cost = made.cost.model_copy(update={"stages": made.cost.stages + others, "interruption": interrupted})
        made = made.model_copy(update={"cost": cost})
    calibration.write(path, made)
    return made.cost


def calibrate_experiment(experiment: Experiment, host: Host, seconds: float = SECONDS) -> Calibration:
    """Measure what its stages take this host, now, and under CPU quotas what their interruptions cost.

    Raises as `calibrate.calibrate` and `runtime.interruption.measure` do.
    """
    plan = calibration_plan(experiment, host)
    # First: there may be no engine for it.
    interrupted = _interrupted(plan) if experiment.compute == "quota" else None
    made = calibrate(plan, host, seconds).model_copy(update={"subject": calibration.subject(plan)})
    return _with_interruption(made, *interrupted) if interrupted else made


def _interrupted(plan: Plan) -> tuple[float, list[Step]]:
    from emulator.runtime import interruption  # and with it Docker's SDK: seldom needed, slow to import

    with asyncio.Runner(loop_factory=new_event_loop) as loop:
        return loop.run(interruption.measure(plan))


def _with_interruption(known: Calibration, tick: float, steps: list[Step]) -> Calibration:
    cost = known.cost.model_copy(update={"interruption": interruption(steps, tick)})
    return known.model_copy(update={"cost": cost})


def calibration_plan(experiment: Experiment, host: Host) -> Plan:
    """The experiment as it is calibrated: in processes, and without its scenario; `calibrate` sets the pace."""
    as_processes = {"time_scale": 1.0, "training": True, "compute": "stretched", "links": "bus", "scenario": None}
    trained = experiment.model_copy(update=as_processes)
    plan = make_plan(trained, host.core_flops, host.cores, virtual=True, awake=host.awake)
    if len(plan.nodes) > MOST_NODES:
        left: defaultdict[str, int] = defaultdict(lambda: MOST_NODES // len(plan.peers))
        kept = []
        for node in plan.nodes:
            left[node.role] -= 1
            if left[node.role] >= 0:
                kept.append(node)
        plan = plan.model_copy(update={"nodes": kept})
    return plan


def _lacks(kept: Calibration, experiment: Experiment, plan: Plan, host: Host) -> list[str]:
    """In words, what the experiment needs and the calibration does not know."""
    missing = sorted({run.name for run in plan.runs} - kept.runs) or kept.lacks(computed(plan, host))
    if experiment.compute == "quota" and kept.cost.interruption is None:
        missing.append(INTERRUPTIONS)
    if kept.awake != host.awake:
        missing.append(f"cores that {'are kept awake' if host.awake else 'sleep'} between computations")
    return missing


def _kept(path: Path, of: str) -> Calibration | None:
    """The calibration in the file, if there is one of this host and of that subject."""
    try:
        return calibration.read(path, of)
    except InputError:
        return None
