import math
from pathlib import Path

import pytest

from emulator.cgroup import Bandwidth, Throttling, bandwidth, memory_limit, oom_kills, throttling
from tests.tolerance import assert_close

Files = dict[str, str]
V1_NO_LIMIT = "9223372036854771712\n"


def tree(root: Path, files: Files) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.max": "150000 100000\n"}, Bandwidth(0.15, 0.1)),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "2500\n", "cpu/cpu.cfs_period_us": "10000\n"}, Bandwidth(0.0025, 0.01)),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "2500\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": "a b"}, None),
        ({}, None),
    ],
)
def test_a_quota_is_read_in_either_version(files: Files, found: Bandwidth | None, tmp_path: Path) -> None:
    assert bandwidth(tree(tmp_path, files)) == found


def test_a_quota_is_so_many_cores() -> None:
    assert_close(Bandwidth(0.0025, 0.01).cores, 0.25)
    assert str(Bandwidth(0.0025, 0.01)) == "0.25 cores (2.5 ms in each 10 ms)"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.stat": "usage_usec 9\nnr_periods 7\nnr_throttled 3\nthrottled_usec 1500000\n"}, Throttling(7, 3, 1.5)),
        ({"cpu.stat": "usage_usec 9\nuser_usec 4\n"}, None),  # the root group of v2
        ({"cpu/cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 1500000000\n"}, Throttling(7, 3, 1.5)),
        ({"cpu/cpu.stat": "nr_periods many"}, None),
        ({}, None),
    ],
)
def test_throttling_is_read_in_either_version(files: Files, found: Throttling | None, tmp_path: Path) -> None:
    assert throttling(tree(tmp_path, files)) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"memory.max": "268435456\n"}, 2.0**28),
        ({"memory.max": "max\n"}, math.inf),
        ({"memory/memory.limit_in_bytes": "268435456\n"}, 2.0**28),
        ({"memory/memory.limit_in_bytes": V1_NO_LIMIT}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_memory_limit_is_read_in_either_version(files: Files, found: float, tmp_path: Path) -> None:
    assert memory_limit(tree(tmp_path, files)) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\n"}, 1),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}, 2),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 0),  # older kernels do not count
        ({}, 0),
    ],
)
def test_kills_by_the_memory_limit_are_counted(files: Files, found: int, tmp_path: Path) -> None:
    assert oom_kills(tree(tmp_path, files)) == found
