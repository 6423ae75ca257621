"""The first process of a container, on a host without containers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator.runtime import container

SUPERVISE = """
import os, sys
from emulator.runtime.container import supervise
print(supervise([sys.executable, "-c", sys.argv[1]], dict(os.environ)), flush=True)
"""


def supervised(program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", SUPERVISE, program], stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate(timeout=30)
    return out.strip()


@pytest.mark.parametrize(
    ("program", "code"), [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)]
)
def test_the_exit_status_is_the_nodes(program: str, code: int) -> None:
    assert said(supervised(program)) == str(code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(number: signal.Signals, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = f"import pathlib, signal, time; signal.signal({int(number)}, lambda *_: exit(5)); "
    process = supervised(program + f"pathlib.Path('{ready}').touch(); time.sleep(60)")
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert said(process) == "5"


def test_a_childs_signals_are_not_blocked() -> None:
    assert said(supervised("import signal; assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())")) == "0"


def test_it_imports_little() -> None:
    """It shares the node's memory limit."""
    heavy = {"numpy", "zmq", "pydantic", "asyncio", "msgpack"}
    program = f"import sys, emulator.runtime.container; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("code", "kills", "told", "status"),
    [(0, 0, False, 0), (3, 1, False, 3), (-9, 0, False, 137), (-9, 1, True, 137), (-15, 0, False, 143)],
)
def test_only_a_node_killed_when_its_memory_ran_out_is_said_to_be(
    code: int, kills: int, told: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [0, kills]
    said: list[bytes] = []
    identities: list[str] = []

    def supervise(command: list[str], env: dict[str, str]) -> int:
        identities.append(env["EDGEBED_IDENTITY"])
        return code

    monkeypatch.setattr(container, "oom_kills", lambda: counts.pop(0))
    monkeypatch.setattr(container, "supervise", supervise)
    monkeypatch.setattr(container, "say_killed", said.append)
    assert container.main() == status
    assert [identity.hex() for identity in said] == (identities if told else [])


def test_what_else_ends_in_the_container_is_reaped() -> None:
    program = "import os, time; os.fork() or os._exit(0); time.sleep(0.3)"
    process = supervised(program)
    assert said(process) == "0"
    assert os.WIFEXITED(process.returncode)
