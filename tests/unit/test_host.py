import json
import sys
from pathlib import Path

import pytest

from emulator import host
from emulator.errors import EdgebedError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgebed" / "host.json"


def measures(monkeypatch: pytest.MonkeyPatch, *speeds: float) -> list[float]:
    """Each measurement gives the next of `speeds`; the list returned holds those not yet taken."""
    left = list(speeds)
    monkeypatch.setattr(host, "_measure_in_process", lambda: left.pop(0))
    return left


def test_a_host_is_measured_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = measures(monkeypatch, 40e9, 50e9)
    assert host.this_host().core_flops == 40e9
    assert host.this_host().core_flops == 40e9
    assert left == [50e9]
    assert json.loads(cache.read_text())["core_flops"] == 40e9


def test_another_host_measures_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, 40e9, 50e9)
    host.this_host()
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps({**kept, "fingerprint": "another machine"}))
    assert host.this_host().core_flops == 50e9


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": 1}'])
def test_a_damaged_cache_is_measured_over(text: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, 40e9)
    cache.parent.mkdir(parents=True)
    cache.write_text(text)
    assert host.this_host().core_flops == 40e9
    assert json.loads(cache.read_text())["core_flops"] == 40e9


def test_a_cache_that_cannot_be_written_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measures(monkeypatch, 40e9)
    cache.parent.write_text("a file where the folder should be")
    assert host.this_host().core_flops == 40e9
    assert "will be measured again" in capsys.readouterr().err


def test_a_failed_measurement_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.sys, "executable", "/bin/false")
    with pytest.raises(EdgebedError, match="this host's speed could not be measured"):
        host.this_host()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, sys.maxsize),
        ({"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "10000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, sys.maxsize),
        ({"cpu.max": "nonsense"}, sys.maxsize),
        ({}, sys.maxsize),
    ],
)
def test_a_containers_quota_is_read(files: dict[str, str], cores: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host._cpu_quota(tmp_path) == cores


def test_a_quota_leaves_whole_cores_and_at_least_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "CGROUPS", tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert host._usable_cores() == 1
