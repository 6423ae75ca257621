"""docs/prediction.md names commands that there are, of experiments that there are."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from emulator import experiment as experiments
from emulator.cli import cli
from emulator.overrides import set_keys

TEXT = (Path(__file__).parents[2] / "docs" / "prediction.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]


def test_there_are_commands() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"run", "calibrate"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_document_is_understood(line: str) -> None:
    _, name, *words = shlex.split(line)
    with cli.commands[name].make_context(name, words) as context:
        given: dict[str, Any] = context.params
    overrides = set_keys(given["settings"])
    overrides |= {key: given[key] for key in ("testbed", "rounds") if given.get(key) is not None}
    assert experiments.check(given["experiment"], overrides).algorithms
