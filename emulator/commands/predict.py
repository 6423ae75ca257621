"""`edgebed predict`."""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from emulator import experiment as experiments
from emulator import prediction, timeline
from emulator.commands.run import interruptible
from emulator.comparison import Comparison, compare
from emulator.errors import InputError, nearest, refusals
from emulator.explanation import Explanation, explain
from emulator.host import Host, this_host
from emulator.library import load_testbed
from emulator.overrides import set_keys
from emulator.plan import Plan, make_plan
from emulator.prediction import cost_model
from emulator.profiles import Experiment
from emulator.report import explanation as explained
from emulator.report import files
from emulator.report.explanation import Curve
from emulator.retiming import check_recording, replayed, retime
from emulator.timeline import Span


@click.command()
@click.argument("what", metavar="EXPERIMENT|RUN_DIR", default="demo")
@click.option("--testbed", metavar="NAME|FILE", help="Of a run: what it would have been like there.")
@click.option("--scenario", metavar="NAME|FILE", help="Of an experiment: what changes while it runs; none: nothing.")
@click.option("--algorithm", "algorithms", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--rounds", type=int, metavar="N", help="Of an experiment.")
@click.option("--target", metavar="ACCURACY", help="Of a run: until when, such as '80 %'.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of an experiment, dotted.")
@click.option("--curves", type=click.Path(path_type=Path), metavar="FILE", help="Accuracy against time, as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def predict(
    what: str,
    testbed: str | None,
    scenario: str | None,
    algorithms: tuple[str, ...],
    rounds: int | None,
    target: str | None,
    settings: tuple[str, ...],
    curves: Path | None,
    as_json: bool,
) -> None:
    """Explain how long EXPERIMENT will take, or what RUN_DIR would have been like on another testbed."""
    folder = Path(what)
    overrides: dict[str, Any] = {"target_accuracy": target} if target is not None else {}
    if folder.is_dir():
        given = {"set": settings or None, "rounds": rounds, "scenario": scenario}
        if fixed := [option for option, value in given.items() if value is not None]:
            raise InputError(f"--{fixed[0]}: {folder} is as it was run")
        _of_run(folder, overrides, algorithms, testbed, curves, as_json)
        return
    if curves is not None or target is not None:
        raise InputError("--curves and --target need a folder that a run has left: what is not trained has no accuracy")
    overrides |= {"algorithms": list(algorithms)} if algorithms else {}
    overrides |= {"testbed": testbed} if testbed else {}
    overrides |= {"rounds": rounds} if rounds is not None else {}
    overrides |= {"scenario": None if scenario == "none" else scenario} if scenario is not None else {}
    overrides |= set_keys(settings)
    prepared = experiments.check(what, overrides)
    host = this_host()
    with interruptible():  # it may be calibrated
        cost = cost_model(prepared, host, say=_say)
    spans = prediction.predict(prepared, host, cost)
    _show(_explanations(spans, make_plan(prepared, host.core_flops, host.cores, virtual=True)), {}, {}, as_json)


def _of_run(
    folder: Path,
    overrides: dict[str, Any],
    algorithms: Sequence[str],
    testbed: str | None,
    curves: Path | None,
    as_json: bool,
) -> None:
    check_recording(folder)
    recorded = experiments.check(str(folder / files.EXPERIMENT), overrides)
    # All are predicted, whichever are shown: the first run of an experiment is not like the others.
    for name in algorithms:
        if name not in recorded.algorithms:
            raise InputError(f"--algorithm {name}: {folder} has no such run{nearest(name, recorded.algorithms)}")
    spans = files.read_timeline(folder / files.TIMELINE)
    host = _recorded_host(folder)
    old = make_plan(recorded, host.core_flops, host.cores, virtual=True)
    if testbed is None:
        mine = this_host()
        # What another host's cores did says nothing of this one's.
        own = spans if (mine.cpu, mine.core_flops) == (host.cpu, host.core_flops) else ()
        said = prediction.predict(recorded, mine, cost_model(recorded, mine, say=_say), measured=own)
        by_run = timeline.runs(spans)
        try:
            agreed = {run: compare(by_run[run], own, old.scale) for run, own in timeline.runs(said).items()}
        except (KeyError, ValueError) as error:
            raise InputError(f"{folder}: the recorded run lacks spans: {error}: run the experiment again") from None
        _show(_explanations(said, old, algorithms), agreed, {}, as_json, replayed(spans, old))
        return
    other = recorded.model_copy(update={"testbed": load_testbed(testbed)})
    new = make_plan(other, host.core_flops, host.cores, virtual=True)
    retimed = retime(spans, old, new)
    found = _curves(folder, spans, retimed, recorded)
    found = {run: curve for run, curve in found.items() if run in algorithms or not algorithms}
    if curves is not None:
        files.write(curves, explained.curves_csv(found))
    _show(_explanations(retimed, new, algorithms), {}, found, as_json)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _explanations(spans: Sequence[Span], plan: Plan, only: Sequence[str] = ()) -> list[Explanation]:
    return [explain(own, plan) for run, own in timeline.runs(spans).items() if run in only or not only]


def _recorded_host(folder: Path) -> Host:
    path = folder / files.RESULT
    try:
        host = json.loads(path.read_text(encoding="utf-8"))["host"]
        return Host(str(host["cpu"]), int(host["cores"]), 0, float(host["core_flops"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say which host the run was on ({error!r}): run it again") from None


def _curves(
    folder: Path, recorded: Sequence[Span], retimed: Sequence[Span], experiment: Experiment
) -> dict[str, Curve]:
    """The accuracies that were recorded, at the times there and then, and at the new ones."""
    accuracies: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    path = folder / files.METRICS
    with refusals("read", path), path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row.get("accuracy"):
                accuracies[row["algorithm"]][int(row["round"])].append(float(row["accuracy"]))
    then, now = timeline.runs(recorded), timeline.runs(retimed)
    found: dict[str, Curve] = {}
    for run, own in now.items():
        before = timeline.elapsed_at(timeline.latencies(then[run]))
        after = timeline.elapsed_at(timeline.latencies(own))
        points = [
            (number, before[number], after[number], sum(values) / len(values))
            for number, values in sorted(accuracies[run].items())
        ]
        found[run] = Curve(points, experiment.target_accuracy)
    return found


def _show(
    found: Sequence[Explanation],
    agreed: Mapping[str, Comparison],
    curves: Mapping[str, Curve],
    as_json: bool,
    again: Mapping[str, Comparison] | None = None,
) -> None:
    if as_json:
        sys.stdout.write(explained.to_json(found, agreed, curves, again))
    else:
        click.echo(explained.to_text(found, agreed, curves, again))
