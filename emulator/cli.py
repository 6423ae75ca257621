"""The command `edgebed`. Exit status: 0 done and valid; 3 done but INVALID; 2 bad usage or input; 1 anything else."""

import asyncio
import sys
from typing import NoReturn

import click

from emulator.commands.calibrate import calibrate
from emulator.commands.compose import compose
from emulator.commands.live import apply, link, status
from emulator.commands.predict import predict
from emulator.commands.profiles import profiles
from emulator.commands.report import report
from emulator.commands.run import run
from emulator.commands.selftest import selftest
from emulator.errors import EdgebedError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgebed")
def cli() -> None:
    """Measure end-to-end latency of split learning on emulated heterogeneous hardware."""


for command in (run, report, profiles, calibrate, predict, compose, selftest, status, apply, link):
    cli.add_command(command)


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
