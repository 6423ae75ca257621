"""`edgebed profiles`."""

from pathlib import Path

import click

from emulator import experiment as experiments
from emulator import library, trace_models, trace_text, tracefile
from emulator.document import Document, as_yaml
from emulator.errors import InputError, nearest
from emulator.profiles import Experiment, Profile, Scenario, Testbed
from emulator.units import TIME, UnitError, parse

KEY_OF_KIND = {
    "programs": "experiments", "scenario": "scenarios", "nodes": "testbeds", "up": "links", "down": "links",
    "training": "devices",
}  # fmt: skip
"""A key that only one kind of file has."""


@click.group()
def profiles() -> None:
    """The devices, links, traces, testbeds, scenarios and experiments that come with edgebed, and your own."""


@profiles.command("list")
def list_profiles() -> None:
    """List all shipped profiles with their descriptions."""
    for kind, model in library.KINDS.items():
        click.echo(f"{kind}:")
        for name in library.names(kind):
            click.echo(f"  {name:<16} {library.load(model, name).description}".rstrip())
    click.echo(f"{library.TRACES}:")
    for name in library.names(library.TRACES):
        click.echo(f"  {name:<16} {tracefile.read(library.find(library.TRACES, name)).about}".rstrip())


@profiles.command()
@click.argument("name", metavar="NAME|FILE")
def show(name: str) -> None:
    """Show a profile, checked; of a name, every kind that has it. A trace is drawn."""
    kinds = [kind for kind in (*library.KINDS, library.TRACES) if name in library.names(kind)]
    if not kinds:
        if not library.is_path(library.TRACES, name):
            known = {known for kind in (*library.KINDS, library.TRACES) for known in library.names(kind)}
            raise InputError(f"unknown profile '{name}'{nearest(name, known)}")
        kinds = [_kind(Document.read(Path(name))) if _is_yaml(name) else library.TRACES]
    for kind in kinds:
        if kind == library.TRACES:
            _draw(name)
            continue
        path, document = library.read(kind, name)
        profile: Profile = library.check(document, library.KINDS[kind], path.stem)
        library.load(library.KINDS[kind], name)  # what a link refers to
        shown = profile.model_dump(mode="json", exclude_unset=True, exclude={"name"})
        click.echo(f"# {kind.removesuffix('s')} {profile.name}\n{as_yaml(shown)}".rstrip())


@profiles.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a file of your own, and everything it refers to: a YAML file, or a trace (of any other suffix)."""
    if not _is_yaml(str(file)):
        tracefile.read(file)
        click.echo(f"{file}: a valid trace")
        return
    document = Document.read(file)
    kind = _kind(document)
    model = library.KINDS[kind]
    reference = str(file if file.is_absolute() else Path.cwd() / file)
    if model is Testbed:
        library.load_testbed(reference)
    elif model is Experiment:
        experiments.check(reference, {})
    elif model is Scenario:
        library.check_scenario(document, file)
    else:
        library.load(model, reference)
    click.echo(f"{file}: a valid {kind.removesuffix('s')} file")


@profiles.command()
@click.argument("model")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N")
@click.option("--length", default="5 min", show_default=True, metavar="TIME")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def trace(model: str, seed: int, length: str, out: Path | None) -> None:
    """Make up a trace as CSV, after MODEL: lte, wifi or satellite."""
    from emulator.report import files

    try:
        seconds = parse(length, TIME)
    except UnitError as error:
        raise InputError(f"--length: {error}") from None
    made = trace_models.make(model, seed, seconds)
    if out is None:
        click.echo(made, nl=False)
    else:
        files.write(out, made)


def _draw(name: str) -> None:
    """A trace, drawn: both directions, or one picture where they are the same. All of it is remarks, in YAML as well,
    for the link of that name may stand above."""
    from emulator.report import rates

    path = library.find(library.TRACES, name)
    found = tracefile.read(path)
    lines = [f"trace {path.stem if path.suffix == '.csv' else path.name}", *([found.about] if found.about else [])]
    one = found.rows["up"] == found.rows["down"]
    for direction, rows in [("rate", found.rows["up"])] if one else found.rows.items():
        drawn = trace_text.model(rows)
        lines += [f"{direction}: {rates.summary(drawn)}", *rates.chart(drawn)]
    click.echo("\n".join(f"# {line}" for line in lines))


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _kind(document: Document) -> str:
    for key, kind in KEY_OF_KIND.items():
        if key in document.data:
            return kind
    keys = ", ".join(f"'{key}' ({kind.removesuffix('s')})" for key, kind in KEY_OF_KIND.items() if key != "down")
    raise InputError(f"{document.source}: cannot tell what kind of profile this is: it has none of the keys {keys}")
