"""`edgebed report`: what a finished, failed or running experiment came to, for people and for other programs."""

import sys
from pathlib import Path

import click

from emulator.report import drawing, files, html, plain, trace
from emulator.report.figures import figures
from emulator.report.folder import read
from emulator.report.outcome import outcomes
from emulator.report.table import console


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR...")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: report.html, in RUN_DIR or here."
)
@click.option("--figures", "pictures", type=click.Path(path_type=Path), metavar="DIR", help="Figures as SVG and PNG.")
@click.option("--trace", "events", type=click.Path(path_type=Path), metavar="FILE", help="For Perfetto: Trace Events.")
@click.option("--text", "as_text", is_flag=True, help="Print the report; no page is made.")
def report(
    folders: tuple[Path, ...], out: Path | None, pictures: Path | None, events: Path | None, as_text: bool
) -> None:
    """Make a page of a run's results, or of several runs to compare them."""
    runs = [read(folder) for folder in folders]
    if pictures is not None:
        for figure in figures(outcomes(runs)):
            for path in drawing.save(figure, pictures):
                click.echo(path)
    if events is not None:
        click.echo(trace.make(runs, events))
    if as_text:
        plain.show(runs, console(sys.stdout))
    else:
        place = out or (folders[0] / files.REPORT if len(folders) == 1 else Path(files.REPORT))
        files.write(place, html.page(runs))
        click.echo(place)
