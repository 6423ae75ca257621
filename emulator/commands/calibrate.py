"""`edgebed calibrate`."""

from pathlib import Path
from typing import Any

import click

from emulator import experiment as experiments
from emulator.calibrate import SECONDS
from emulator.calibration import Calibration, default_path, subject, write
from emulator.commands.run import interruptible
from emulator.host import this_host
from emulator.overrides import set_keys
from emulator.prediction import calibrate_experiment, calibration_plan
from emulator.report import text
from emulator.units import SIZE, THROUGHPUT, show


@click.command()
@click.argument("experiment", default="demo")
@click.option("--testbed", metavar="NAME|FILE", help="Another testbed than the experiment's.")
@click.option("--algorithm", "algorithms", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of the experiment, dotted.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: in your cache folder.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=SECONDS, show_default=True, help="To spend, about.")
def calibrate(
    experiment: str,
    testbed: str | None,
    algorithms: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path | None,
    seconds: float,
) -> None:
    """Measure what the stages of EXPERIMENT take this host, for predictions of it and of its like."""
    overrides: dict[str, Any] = set_keys(settings)
    if testbed:
        overrides["testbed"] = testbed
    if algorithms:
        overrides["algorithms"] = list(algorithms)
    prepared = experiments.check(experiment, overrides, prepare=True)
    host = this_host()
    with interruptible():
        made = calibrate_experiment(prepared, host, seconds)
    path = out or default_path(subject(calibration_plan(prepared, host)))
    write(path, made)
    _show(made)
    click.echo(f"kept in {path}")


def _show(made: Calibration) -> None:
    interruption = made.cost.interruption
    costs = (
        f"; a CPU quota's interruption of {text.seconds(interruption.brief.seconds)} costs "
        f"{text.seconds(interruption.brief.cost)}, of {text.seconds(interruption.long.seconds)} "
        f"{text.seconds(interruption.long.cost)}, "
        f"the kernel looks at quotas every {text.seconds(interruption.tick)}"
        if interruption
        else ""
    )
    click.echo(
        f"{made.subject}\none core: {show(made.cost.core_flops, THROUGHPUT, 3)}, "
        f"{show(made.cost.bandwidth, SIZE, 3)}/s; late by {text.seconds(made.overheads.timer)} (timers), "
        f"{text.seconds(made.overheads.delivery)} (messages){costs}\n"
        f"{'run':<8} {'role':<8} {'stage':<16} {'overhead':>9} {'efficiency':>11} {'first call':>11}"
    )
    for stage in made.cost.stages:
        efficiency = "-" if stage.efficiency is None else text.share(stage.efficiency)
        click.echo(
            f"{stage.run:<8} {stage.role:<8} {stage.stage:<16} {text.seconds(stage.overhead):>9} {efficiency:>11} "
            f"{'+' + text.seconds(stage.first):>11}"
        )
