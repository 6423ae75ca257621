"""`edgebed run`."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from emulator import experiment as experiments
from emulator import study
from emulator.commands.study import is_study, run_study
from emulator.errors import InputError
from emulator.host import this_host
from emulator.overrides import set_keys
from emulator.profiles import Testbed
from emulator.report import result
from emulator.report.progress import Progress
from emulator.report.table import console, table
from emulator.units import SHARE, UnitError, parse

INVALID = 3


@click.command()
@click.argument("experiment", default="demo")
@click.option("--runtime", type=click.Choice(experiments.RUNTIMES), default=experiments.RUNTIMES[0], show_default=True)
@click.option("--algorithm", "algorithms", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--testbed", metavar="NAME|FILE", help="Another testbed than the experiment's.")
@click.option("--scenario", metavar="NAME|FILE", help="What changes while it runs; none: nothing.")
@click.option("--rounds", type=int, metavar="N")
@click.option("--target", metavar="ACCURACY", help="Time is taken until this accuracy is reached, such as '80 %'.")
@click.option("--seed", type=int, metavar="N")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Default: runs/<experiment>-<number>.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of the experiment, dotted.")
@click.option("--size", metavar="NAME", help="Of a study: one of its sizes.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Of a study: processes at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json and nothing else.")
def run(
    experiment: str,
    runtime: str,
    algorithms: tuple[str, ...],
    testbed: str | None,
    scenario: str | None,
    rounds: int | None,
    target: str | None,
    seed: int | None,
    out: Path | None,
    settings: tuple[str, ...],
    size: str | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Run EXPERIMENT (a name, or a YAML file) and print the latencies it measured."""
    overrides: dict[str, Any] = set_keys(settings)
    named = [name.strip() for text in algorithms for name in text.split(",")]
    options = {"algorithms": named or None, "testbed": testbed, "rounds": rounds, "seed": seed}
    overrides |= {key: value for key, value in options.items() if value is not None}
    if scenario is not None:
        overrides["scenario"] = None if scenario == "none" else scenario
    if target is not None:
        try:
            parse(target, SHARE)
        except UnitError as error:
            raise InputError(f"--target: {error}") from None
        overrides["target_accuracy"] = target
    if is_study(experiment, overrides):
        asked = click.get_current_context().get_parameter_source("runtime") is click.core.ParameterSource.COMMANDLINE
        if asked and runtime != study.RUNTIME:
            raise InputError(f"{experiment} is a study, which runs in virtual time: leave --runtime out")
        with interruptible():
            run_study(experiment, overrides, size, jobs, out, as_json)
        return
    if size or jobs:
        raise InputError(f"--{'size' if size else 'jobs'} is for studies, and {experiment} is none: leave it out")
    prepared = experiments.check(experiment, overrides, prepare=True)
    with interruptible(), Progress(console(sys.stderr)) as progress:
        finished = experiments.run(prepared, runtime, this_host(), out, progress)
    if as_json:
        sys.stdout.write(result.to_json(finished.result))
    else:
        assert isinstance(prepared.testbed, Testbed)
        shown = table(
            finished.summaries,
            finished.verdict,
            testbed=prepared.testbed.name,
            runtime=runtime,
            time_scale=finished.time_scale,
            predicted=finished.predicted,
        )
        console(sys.stdout).print(shown)
        click.echo(f"results: {finished.folder}")
    host = finished.result["host"]
    for note in (*([host["hub_priority"]] if host["hub_priority"] else []), *host["notes"]):
        click.echo(f"note: {note}", err=True)
    if not finished.verdict.valid:
        sys.exit(INVALID)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM stop the run as Ctrl-C does, so that no process is left behind; either ends in `click.Abort`."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal has shown ^C
        raise click.Abort from None
    finally:
        signal.signal(signal.SIGTERM, before)
