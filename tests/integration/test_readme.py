"""The README's commands and files, word for word."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made_runs import make_run

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(README.read_text(encoding="utf-8"))]
COMMANDS = [
    line
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
    if line.startswith("edgebed ") and "--runtime docker" not in line  # see tests/docker
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with every file that the README shows, under the name in its first line."""
    for kind, text in BLOCKS:
        if kind in ("python", "yaml"):
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_readme_has_commands() -> None:
    assert any(command.startswith("edgebed run pingpong.yaml") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, files: Path) -> None:
    words = shlex.split(command)
    if words[1] == "report":
        make_run(files / "runs/demo-1")
    edgebed = Path(sys.executable).with_name("edgebed")
    done = subprocess.run([edgebed, *words[1:]], cwd=files, capture_output=True, text=True, timeout=110)
    # 3: done, but the host was too busy with other tests to be believed.
    assert done.returncode in (0, 3), done.stderr
    assert done.stdout or "--out" in words
    assert "Traceback" not in done.stderr
    if words[1] == "run":
        assert list(files.glob("runs/*/result.json"))


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = README.with_name("Makefile").read_text(encoding="utf-8")
    inline = "\n".join(re.findall(r"`([^`\n]+)`", README.read_text(encoding="utf-8")))
    shown = "\n".join(text for kind, text in BLOCKS if kind == "sh")
    targets = set(re.findall(r"^make (\w+)", f"{inline}\n{shown}", re.MULTILINE))
    assert {"demo", "test", "check", "bench"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
