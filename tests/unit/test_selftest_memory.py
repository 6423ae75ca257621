import pytest

from emulator import cgroup
from emulator.selftest import memory


@pytest.mark.parametrize(
    ("gibibytes", "cores", "filled"),
    [(1.0, None, True), (1.0, 0.5, True), (1.0, 0.04, False), (0.25, 0.04, True), (3.0, None, False)],
)
def test_memory_is_filled_only_where_a_quota_lets_that_end(
    gibibytes: float, cores: float | None, filled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = None if cores is None else cgroup.Bandwidth(cores * 0.01, 0.01)
    monkeypatch.setattr(cgroup, "bandwidth", lambda: quota)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 2**24)
    assert memory.to_spare(gibibytes * 2**30) is filled
