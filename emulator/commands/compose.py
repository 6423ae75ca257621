"""`edgebed compose`: writes an experiment down for Docker Compose or Docker Swarm."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import click

from emulator import compose as composing
from emulator import experiment as experiments
from emulator.commands.selftest import experiment_of
from emulator.compose import Order, devices_of
from emulator.device import cpu_ceilings
from emulator.document import as_yaml
from emulator.errors import InputError
from emulator.host import this_host
from emulator.library import load_testbed
from emulator.overrides import set_keys
from emulator.plan import device_shares, make_plan
from emulator.profiles import Experiment, Testbed
from emulator.report import files

DEMO = "demo"
SHIPPED = ("nodes.", "emulator.")
"""The packages of the image whose programs need no file of the user's."""

COMPOSE_HEAD = """
    From the folder in which this file lies, whose folder runs gets the results:

      docker compose --file FILE up testbed

    and, while it runs, docker compose --file FILE exec testbed edgebed status. EDGEBED_ARGS="{example}" in the
    environment adds options of {command}. The control API is at 127.0.0.1, port EDGEBED_PORT, and asks for
    EDGEBED_CONTROL_TOKEN if that is set, else for a token of its own. Another --project-name with another EDGEBED_PORT
    makes a second testbed beside the first. The image is built in edgebed's repository: docker compose build.
"""
STACK_HEAD = """
    The hosts' labels say where hub and server run and where the clients may; every host has the image:

      docker node update --label-add edgebed.hub=true HOST; docker node update --label-add edgebed.clients=true HOST ...
      docker stack deploy --compose-file FILE edgebed; docker service logs --follow edgebed_testbed

    EDGEBED_ARGS="{example}" in the environment adds options of {command}. The results are in the volume
    edgebed_runs of the hub's host. The hosts must be alike: devices are held back by the speed of the hub's.
"""
LOOSE = """
    cpus keeps the nodes from one another: training / fastest training of the testbed, at least 0.5 so that PyTorch
    starts in seconds. At the automatic time scale that is a quarter above what each device needs; its exact speed
    is made by holding results back.
"""


@dataclass(frozen=True)
class _Limits:
    """CPU limits, the comment that explains them, and what a run under them has to be told."""

    cores: Mapping[str, float]
    why: str
    options: tuple[str, ...] = ()
    core_flops: float | None = None


@click.command()
@click.argument("testbed", required=False, metavar="[TESTBED]")
@click.option("--experiment", default=DEMO, show_default=True, metavar="NAME|FILE")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
@click.option("--swarm", is_flag=True, help="Write a stack for Docker Swarm: more than one host.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of the experiment, dotted.")
@click.option("--scenario", metavar="NAME|FILE", help="What changes while it runs; none: nothing.")
@click.option("--selftest", is_flag=True, help="The self-test of TESTBED, in place of an experiment.")
@click.option("--mount", is_flag=True, help="Let the containers read the current folder, such as for data in it.")
def compose(
    testbed: str | None,
    experiment: str,
    out: Path | None,
    swarm: bool,
    settings: tuple[str, ...],
    scenario: str | None,
    selftest: bool,
    mount: bool,
) -> None:
    """Write a file with which Docker Compose runs an experiment on TESTBED (default: the experiment's own)."""
    values = set_keys(settings)
    if scenario is not None:
        values["scenario"] = None if scenario == "none" else scenario
    if selftest:
        for option, given in (("--scenario", scenario is not None), ("--experiment", experiment != DEMO)):
            if given:
                raise InputError(f"{option} is for experiments, and --selftest is none: leave one of them out")
        checked = experiment_of(load_testbed(testbed or DEMO), "auto", values)
        command, example = ["edgebed", "selftest", "--testbed", _here(testbed or DEMO)], "--json"
    else:
        checked = experiments.check(experiment, values | ({"testbed": testbed} if testbed else {}))
        command, example = ["edgebed", "run", _here(experiment)], "--rounds 10"
        if testbed and checked.testbed != experiments.check(experiment, values).testbed:
            command += ["--testbed", _here(testbed)]
    for setting in settings:
        command += ["--set", setting]
    if scenario is not None:
        command += ["--scenario", _here(scenario)]
    own_files = any(map(_is_file, (experiment, testbed or "", scenario or "")))
    own_programs = not all(program.startswith(SHIPPED) for program in checked.programs.values())
    limits = _cores(checked)
    order = Order(
        experiment=checked,
        command=[*command, *limits.options, "--runtime", "compose"],
        image=f"edgebed:{version('edgebed')}",
        mounted=mount or own_files or own_programs,
        cores=limits.cores,
        core_flops=limits.core_flops,
    )
    written_by = ["edgebed", "compose", *([testbed] if testbed else [])]
    written_by += ["--experiment", experiment] if experiment != DEMO else []
    written_by += [word for setting in settings for word in ("--set", setting)]
    written_by += ["--scenario", scenario] if scenario is not None else []
    flags = (("--selftest", selftest), ("--mount", mount), ("--swarm", swarm))
    written_by += [flag for flag, given in flags if given]
    head = (STACK_HEAD if swarm else COMPOSE_HEAD).format(example=example, command=shlex.join(command[:2]))
    text = _head(shlex.join(written_by), head, limits.why)
    text += as_yaml(composing.stack(order) if swarm else composing.compose(order))
    if out is None:
        sys.stdout.write(text)
    else:
        files.write(out, text)


def _cores(experiment: Experiment) -> _Limits:
    """The nodes' CPU limits, and what is to be said about them."""
    assert isinstance(experiment.testbed, Testbed)
    if experiment.compute != "quota":
        return _Limits(cpu_ceilings({name: device.training for name, device in devices_of(experiment).items()}), LOOSE)
    host = this_host()
    scale = make_plan(experiment, host.core_flops, host.cores).scale
    shares = device_shares(experiment.testbed, host.core_flops)
    why = f"""
        cpu_quota is the device's share of a core of this host ({host.cpu}, {host.core_flops / 1e9:.3g} GFLOP/s a core)
        at time scale {scale:g}: on another host, write this file anew. It is in force from the start, so that starting
        takes long.
    """
    cores = {name: share / scale for name, share in shares.items()}
    return _Limits(cores, why, ("--set", f"time_scale={scale:g}"), host.core_flops)


def _head(written_by: str, *paragraphs: str) -> str:
    lines = [f"Written by: {written_by}", *(dedent(text).rstrip() for text in paragraphs)]
    return "".join(f"# {line}".rstrip() + "\n" for line in "\n".join(lines).split("\n")) + "\n"


def _is_file(reference: str) -> bool:
    return reference.endswith((".yaml", ".yml")) or "/" in reference


def _here(reference: str) -> str:
    """A name as it is; a file relative to the current folder, which is all of this host that containers may see."""
    if not _is_file(reference):
        return reference
    path = Path(reference).expanduser().resolve()
    try:
        return str(path.relative_to(Path.cwd().resolve()))
    except ValueError:
        raise InputError(
            f"{reference} lies outside this folder, which is what containers get to see: run edgebed compose in a "
            f"folder that has it"
        ) from None
