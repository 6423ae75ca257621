"""`edgebed profiles`."""

from pathlib import Path

import click

from emulator import experiment as experiments
from emulator import library
from emulator.document import Document, as_yaml
from emulator.errors import InputError, nearest
from emulator.profiles import Experiment, Profile, Scenario, Testbed

KEY_OF_KIND = {
    "programs": "experiments", "scenario": "scenarios", "nodes": "testbeds", "up": "links", "down": "links",
    "training": "devices",
}  # fmt: skip
"""A key that only one kind of file has."""


@click.group()
def profiles() -> None:
    """The devices, links, testbeds, scenarios and experiments that come with edgebed, and your own."""


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
    elif model is Scenario:
        library.check_scenario(document, file)
    else:
        library.check(document, model, file.stem)
    click.echo(f"{file}: a valid {kind.removesuffix('s')} file")


def _kind(document: Document) -> str:
    for key, kind in KEY_OF_KIND.items():
        if key in document.data:
            return kind
    keys = ", ".join(f"'{key}' ({kind.removesuffix('s')})" for key, kind in KEY_OF_KIND.items() if key != "down")
    raise InputError(f"{document.source}: cannot tell what kind of profile this is: it has none of the keys {keys}")
