"""The commands. Exit status: 0 done and valid; 3 done but INVALID; 2 bad usage or input; 1 anything else."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from emulator import experiment as experiments
from emulator import library, live
from emulator.cli_calibrate import calibrate
from emulator.cli_predict import predict_command
from emulator.cli_study import is_study, run_study
from emulator.compose_command import command as compose_command
from emulator.document import Document, as_yaml
from emulator.errors import EdgebedError, InputError, nearest
from emulator.host import this_host
from emulator.overrides import set_keys
from emulator.profiles import Experiment, Profile, Testbed
from emulator.report import result
from emulator.report.command import report
from emulator.report.progress import Progress
from emulator.report.table import console, table
from emulator.units import SHARE, UnitError, parse

INVALID = 3
KEY_OF_KIND = {"programs": "experiments", "nodes": "testbeds", "up": "links", "down": "links", "training": "devices"}
"""A key that only one kind of file has."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgebed")
def cli() -> None:
    """Measure end-to-end latency of split learning on emulated heterogeneous hardware."""


@cli.command()
@click.argument("experiment", default="demo")
@click.option("--runtime", type=click.Choice(experiments.RUNTIMES), default=experiments.RUNTIMES[0], show_default=True)
@click.option("--algorithm", "algorithms", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--testbed", metavar="NAME|FILE", help="Another testbed than the experiment's.")
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
    if target is not None:
        try:
            parse(target, SHARE)
        except UnitError as error:
            raise InputError(f"--target: {error}") from None
        overrides["target_accuracy"] = target
    if is_study(experiment, overrides):
        with _interruptible():
            run_study(experiment, overrides, size, jobs, out, as_json)
        return
    if size or jobs:
        raise InputError(f"--{'size' if size else 'jobs'} is for studies, and {experiment} is none: leave it out")
    prepared = experiments.check(experiment, overrides, prepare=True)
    with _interruptible(), Progress(console(sys.stderr)) as progress:
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


cli.add_command(report)


@cli.group()
def profiles() -> None:
    """The devices, links, testbeds and experiments that come with edgebed, and your own."""


@profiles.command("list")
def list_profiles() -> None:
    """List all shipped profiles with their descriptions."""
    for kind, model in library.KINDS.items():
        click.echo(f"{kind}:")
        for name in library.names(kind):
            click.echo(f"  {name:<16} {library.load(model, name).description}".rstrip())


@profiles.command()
@click.argument("name", metavar="NAME|FILE")
def show(name: str) -> None:
    """Show a profile, checked; of a name, every kind that has it."""
    kinds = [kind for kind in library.KINDS if name in library.names(kind)]
    if not kinds:
        if "/" not in name and not name.endswith((".yaml", ".yml")):
            known = {known for kind in library.KINDS for known in library.names(kind)}
            raise InputError(f"unknown profile '{name}'{nearest(name, known)}")
        kinds = [_kind(Document.read(Path(name)))]
    for kind in kinds:
        profile: Profile = library.load(library.KINDS[kind], name)
        shown = profile.model_dump(mode="json", exclude_unset=True, exclude={"name"})
        click.echo(f"# {kind.removesuffix('s')} {profile.name}\n{as_yaml(shown)}".rstrip())


@profiles.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a YAML file of your own, and everything it refers to."""
    document = Document.read(file)
    kind = _kind(document)
    model = library.KINDS[kind]
    reference = str(file if file.is_absolute() else Path.cwd() / file)
    if model is Testbed:
        library.load_testbed(reference)
    elif model is Experiment:
        experiments.check(reference, {})
    else:
        library.check(document, model, file.stem)
    click.echo(f"{file}: a valid {kind.removesuffix('s')} file")


def _kind(document: Document) -> str:
    for key, kind in KEY_OF_KIND.items():
        if key in document.data:
            return kind
    keys = ", ".join(f"'{key}' ({kind.removesuffix('s')})" for key, kind in KEY_OF_KIND.items() if key != "down")
    raise InputError(f"{document.source}: cannot tell what kind of profile this is: it has none of the keys {keys}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
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


cli.add_command(calibrate)
cli.add_command(predict_command)
cli.add_command(compose_command)
for live_command in (live.status, live.apply, live.link):
    cli.add_command(live_command)


def main() -> NoReturn:
    """Run a command; whatever fails is one line on standard error."""
    try:
        cli.main(standalone_mode=False)
        status = 0
    except EdgebedError as error:
        click.echo(f"edgebed: {error}", err=True)
        status = error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        status = error.exit_code
    except click.ClickException as error:
        click.echo(f"edgebed: {error.format_message()}", err=True)
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        click.echo("edgebed: interrupted: every process it started has been stopped", err=True)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
