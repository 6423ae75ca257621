"""What every test here needs."""

import sys
from pathlib import Path

import pytest

from emulator import cli, host
from emulator.bus import endpoint, hub
from tests.integration.running import Edgebed, Finished


@pytest.fixture(scope="session")
def core_flops() -> float:
    """The speed of this host's core; measured once, so that no test's deadline pays for that."""
    return host.this_host().core_flops


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> float:
    """Heartbeats many times a second, so that silence is noticed as much sooner."""
    for module in (endpoint, hub):
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    return 0.05


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Edgebed:
    """The command in this process, which is quicker: for what ends before any other process starts."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["edgebed", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delitem(sys.modules, "tiny", raising=False)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert not [*tmp_path.glob("runs/*/logs/*")]
        return Finished(int(ended.value.code or 0), said.out, said.err)

    return run
