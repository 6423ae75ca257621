"""`edgebed selftest`."""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from emulator.commands.run import INVALID, interruptible
from emulator.document import Document, as_yaml
from emulator.errors import InputError, nearest
from emulator.experiment import carry_out, host_facts
from emulator.host import Host, this_host
from emulator.library import load_testbed
from emulator.overrides import set_keys
from emulator.plan import Plan, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.recorder import named
from emulator.report import files
from emulator.report import selftest as report
from emulator.report.progress import Progress
from emulator.report.table import console
from emulator.selftest.figures import of_devices, of_links, sent
from emulator.selftest.judgement import judged, of_clocks
from emulator.selftest.loads import phases
from emulator.selftest.ways import conductor_of
from emulator.verdict import DEFAULT_LIMITS

NAME = "selftest"
PROGRAM = "emulator.selftest:node"
RUNTIMES = ("local", "docker", "compose")
KEYS = ("bus", "compute", "control", "deadlines", "seed", "time_scale")
"""Of an experiment, which a self-test has, too."""


@click.command()
@click.option("--testbed", default="demo", show_default=True, metavar="NAME|FILE")
@click.option("--runtime", type=click.Choice(RUNTIMES), default=RUNTIMES[0], show_default=True)
@click.option("--time-scale", default="auto", show_default=True, metavar="auto|NUMBER")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of an experiment, such as compute.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Default: runs/selftest-<number>.")
@click.option("--json", "as_json", is_flag=True, help="Print selftest.json and nothing else.")
def selftest(
    testbed: str, runtime: str, time_scale: str, settings: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Send known messages over every link of a testbed, have every device do known work, and compare.

    Exit status: 0 within the limits, 3 outside of them, with the likely cause and the remedy.
    """
    experiment = experiment_of(load_testbed(testbed), time_scale, set_keys(settings))
    host = this_host()
    plan = _plan(experiment, host)
    folder = files.create_folder(NAME, out)
    config = plan.runs[0].config
    decided = {"time_scale": plan.scale, "rounds": config["rounds"], "workload": config["workload"]}
    written = experiment.model_copy(update=decided)
    files.write(folder / files.EXPERIMENT, as_yaml(written.model_dump(mode="json", exclude_none=True)))
    with interruptible(), Progress(console(sys.stderr)) as progress:
        recorder, outcome = carry_out(plan, runtime, folder, progress)
    bed = experiment.testbed
    assert isinstance(bed, Testbed)
    facts = host_facts(bed, plan, host, outcome, recorder)
    spans, metrics = recorder.entries(NAME)
    with named(NAME):
        figures = of_links(sent(spans, plan), plan, DEFAULT_LIMITS)
        figures += of_devices(spans, metrics, plan, DEFAULT_LIMITS)
        figures += of_clocks(outcome.clocks, plan.scale, DEFAULT_LIMITS)
        verdict = judged(figures, facts)
    where = {"testbed": bed.name, "runtime": runtime}
    built = report.to_json(figures, verdict, facts, host.cpu, version=version("edgebed"), **where)
    files.write(folder / files.SELFTEST, built)
    if as_json:
        sys.stdout.write(built)
    else:
        report.show_all(console(sys.stdout), figures, verdict, time_scale=plan.scale, **where)
        click.echo(f"results: {folder}")
    for note in (*([facts.hub_priority] if facts.hub_priority else []), *facts.notes):
        click.echo(f"note: {note}", err=True)
    if not verdict.valid:
        sys.exit(INVALID)


def experiment_of(testbed: Testbed, time_scale: str, settings: Mapping[str, Any]) -> Experiment:
    """The self-test of `testbed` (resolved), with the values that were `--set`, by dotted key.

    Raises `InputError` for those that a self-test does not have.
    """
    try:
        scale = time_scale if time_scale == "auto" else float(time_scale)
        decided = Experiment(
            name=NAME,
            testbed=testbed,
            programs={node.role: PROGRAM for node in testbed.nodes},
            time_scale=scale,
            calibration="none",
        )
    except ValueError:
        raise InputError(
            f"--time-scale: '{time_scale:.40}' is no time scale: write a number above 0 and at most 1e6, or auto"
        ) from None
    document = Document(f"name: {NAME}", NAME)
    for key, value in settings.items():
        if (first := key.partition(".")[0]) not in KEYS:
            raise InputError(f"--set {key}: the self-test has no such key{nearest(first, KEYS)}")
        document.override(key, value)
    try:
        return Experiment.model_validate({**dict(decided), **document.data})
    except ValidationError as error:
        raise document.explain(error, Experiment) from None


def _plan(experiment: Experiment, host: Host) -> Plan:
    """The plan with its phases, which depend on the time scale that it finds."""
    plan = make_plan(experiment, host.core_flops, host.cores, awake=host.awake)
    found = phases(plan)
    (run,) = plan.runs
    workload = {"conductor": conductor_of(plan.nodes), "phases": found}
    config = {**run.config, "rounds": len(found), "workload": workload}
    return plan.model_copy(update={"runs": [run.model_copy(update={"config": config})]})
