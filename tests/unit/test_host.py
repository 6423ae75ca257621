import json
from pathlib import Path

import pytest

from emulator import host
from emulator.cgroup import Bandwidth
from emulator.errors import EdgebedError
from emulator.reference import Reference


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgebed" / "host.json"


def measures(monkeypatch: pytest.MonkeyPatch, *speeds: float) -> list[float]:
    """Each measurement gives the next of `speeds`; the list returned holds those not yet taken."""
    left = list(speeds)
    monkeypatch.setattr(host, "_measured", lambda: Reference(left.pop(0), 1.5))
    return left


def test_a_host_is_measured_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = measures(monkeypatch, 40e9, 50e9)
    assert host.this_host().core_flops == 40e9
    assert host.this_host().core_flops == 40e9
    assert left == [50e9]
    assert json.loads(cache.read_text())["core_flops"] == 40e9


def test_a_speed_that_is_given_leaves_what_else_was_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, 40e9)
    monkeypatch.setenv(host.CORE_FLOPS, "10e9")
    assert (host.this_host().core_flops, host.this_host().waking) == (10e9, None)
    monkeypatch.delenv(host.CORE_FLOPS)
    host.this_host()
    monkeypatch.setenv(host.CORE_FLOPS, "10e9")
    assert (host.this_host().core_flops, host.this_host().waking) == (10e9, 1.5)


def test_what_cannot_be_measured_is_not_tried_again_and_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [Reference(40e9, None)]
    monkeypatch.setattr(host, "_measured", lambda: known.pop())
    assert host.this_host().waking is None
    assert host.this_host() == host.this_host()


def test_what_was_kept_before_waking_was_measured_is_measured_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures(monkeypatch, 40e9, 50e9)
    host.this_host()
    kept = json.loads(cache.read_text())
    del kept["waking"]
    cache.write_text(json.dumps(kept))
    assert host.this_host().core_flops == 50e9


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


def test_a_quota_leaves_whole_cores_and_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.cgroup, "bandwidth", lambda: Bandwidth(0.05, 0.1))
    assert host._usable_cores() == 1
    monkeypatch.setattr(host.cgroup, "bandwidth", lambda: None)
    assert host._usable_cores() >= 1


def test_what_a_hypervisor_took_is_a_share_of_all_cores() -> None:
    before = host.CoreTimes(total=1000.0, stolen=20.0)
    assert host.CoreTimes(total=1100.0, stolen=27.0).stolen_since(before) == 0.07
    assert host.CoreTimes(total=1100.0, stolen=20.0).stolen_since(before) == 0.0
    assert before.stolen_since(before) is None


def test_where_nobody_counts_what_a_hypervisor_took_it_is_not_zero() -> None:
    uncounted = host.CoreTimes(total=1000.0, stolen=None)
    assert host.CoreTimes(total=1100.0, stolen=None).stolen_since(uncounted) is None


def test_a_hosts_cores_have_had_time() -> None:
    now = host.CoreTimes.now()
    assert now.total > 0
    assert now.stolen is None or 0.0 <= now.stolen <= now.total
