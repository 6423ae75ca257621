import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.control import found
from emulator.control.found import Testbed, announced, find, folder, running
from emulator.errors import InputError

HERE = Testbed(url="http://127.0.0.1:1", token="secret", experiment="demo", folder="runs/demo-1")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(found.URL, raising=False)
    monkeypatch.delenv(found.TOKEN, raising=False)
    return tmp_path / "edgebed"


def left_by(pid: int, own_folder: Path, started: float, **more: str) -> Path:
    """A file as another process would have left it."""
    own_folder.mkdir(exist_ok=True)
    path = own_folder / f"{pid}.json"
    path.write_text(HERE.model_copy(update={"pid": pid, "started": started, **more}).model_dump_json())
    return path


def test_a_testbed_is_found_while_it_runs_and_no_longer() -> None:
    with announced(HERE):
        assert running() == [HERE]
        assert find(None) == HERE
    with pytest.raises(InputError, match="no testbed is running: start one with 'edgebed run'"):
        find(None)


def test_who_looks_while_it_is_being_written_does_not_remove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Testbed.model_dump_json

    def looked_at(testbed: Testbed) -> str:
        assert running() == []
        return write(testbed)

    monkeypatch.setattr(Testbed, "model_dump_json", looked_at)
    with announced(HERE):
        assert running() == [HERE]


def test_only_its_user_may_read_the_token(own_folder: Path) -> None:
    with announced(HERE):
        (path,) = own_folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700


def test_the_file_goes_whatever_ends_the_run(own_folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), announced(HERE):
        raise KeyboardInterrupt
    assert not list(own_folder.iterdir())


def test_what_a_killed_run_has_left_is_ignored_and_removed(own_folder: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = left_by(ended.pid, own_folder, started=1.0)
    reused = left_by(os.getpid(), own_folder, started=HERE.started - 1000)  # another process has its number now
    broken = own_folder / "1.json"
    broken.write_text("{")
    foreign = own_folder / "2.json"
    foreign.write_bytes(b"\xff")
    assert running() == []
    assert not any(path.exists() for path in (dead, reused, broken, foreign))


def test_of_several_one_must_be_named(own_folder: Path) -> None:
    parent = os.getppid()
    left_by(parent, own_folder, found._now_started(parent), experiment="other", folder="/tmp/mine/runs/other-4")
    with announced(HERE):
        with pytest.raises(InputError, match="2 testbeds are running: name one with --run: ") as refused:
            find(None)
        assert "runs/demo-1 (demo)" in str(refused.value)
        assert "runs/other-4 (other)" in str(refused.value)
        for name in ("demo", "demo-1", "runs/demo-1"):
            assert find(name) == HERE
        for name in ("other", "other-4", "/tmp/mine/runs/other-4"):
            assert find(name).pid == parent
        with pytest.raises(InputError, match=r"--run demo-2: no such testbed is running: did you mean 'demo-1'\?"):
            find("demo-2")


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with announced(HERE):
        monkeypatch.setenv(found.URL, "http://testbed:8080/")
        with pytest.raises(InputError, match="EDGEBED_CONTROL is set, EDGEBED_CONTROL_TOKEN is not"):
            find(None)
        monkeypatch.setenv(found.TOKEN, "of the container")
        there = find(None)
        assert (there.url, there.token) == ("http://testbed:8080", "of the container")


def test_without_a_runtime_folder_the_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for value in ("", str(tmp_path / "absent")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        assert folder() == tmp_path / "cache" / "edgebed" / "running"


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_folder.write_text("a file, where the folder should be")
    with announced(HERE):
        pass
    said = capsys.readouterr().err
    assert said.startswith("note: ")
    assert said.endswith("'edgebed status' will not find this run\n")


def test_the_file_says_nothing_but_what_a_command_needs(own_folder: Path) -> None:
    with announced(HERE):
        (path,) = own_folder.iterdir()
        assert set(json.loads(path.read_text())) == {"url", "token", "experiment", "folder", "pid", "started"}
