"""What the kernel holds this process's control group to, and what that came to: read from cgroup v2, or v1.

Nothing is written here: limits are set by whoever made the group, such as a container's engine. Inside a container
`CGROUPS` is the container's own group. What a host does not have is unlimited, or None.
"""

import math
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED_BYTES = 2**60
"""From here on a limit of v1 is none: it says 'no limit' as the largest multiple of a page."""


@dataclass(frozen=True)
class Bandwidth:
    """`quota` seconds of CPU time in each `period` seconds."""

    quota: float
    period: float

    @property
    def cores(self) -> float:
        """Cores of the host."""
        return self.quota / self.period

    def __str__(self) -> str:
        return f"{self.cores:.3g} cores ({1000 * self.quota:.4g} ms in each {1000 * self.period:.4g} ms)"


@dataclass(frozen=True)
class Throttling:
    """How often a quota has been used up since the group was made."""

    periods: int
    """Periods in which the group had something to run."""
    throttled: int
    """Those of them in which the quota was used up, and the group had to wait."""
    seconds: float
    """That it waited, all its threads together."""


def bandwidth(root: Path = CGROUPS) -> Bandwidth | None:
    """The CPU quota in force; None where there is none."""
    words = _words(root / "cpu.max") or [
        *_words(root / "cpu/cpu.cfs_quota_us"),
        *_words(root / "cpu/cpu.cfs_period_us"),
    ]
    try:
        quota, period = words
        return None if quota in ("max", "-1") else Bandwidth(int(quota) / 1e6, int(period) / 1e6)
    except ValueError:
        return None  # neither version has it here


def throttling(root: Path = CGROUPS) -> Throttling | None:
    """What the quota came to; None where it cannot be known."""
    for path, seconds, unit in (
        (root / "cpu.stat", "throttled_usec", 1e6),
        (root / "cpu/cpu.stat", "throttled_time", 1e9),
    ):
        counts = _counts(path)
        if "nr_throttled" in counts:
            return Throttling(counts["nr_periods"], counts["nr_throttled"], counts[seconds] / unit)
    return None


def memory_limit(root: Path = CGROUPS) -> float:
    """Bytes; infinity where memory is not limited."""
    for path in (root / "memory.max", root / "memory/memory.limit_in_bytes"):
        words = _words(path)
        if len(words) == 1 and words[0].isdecimal() and int(words[0]) < UNLIMITED_BYTES:
            return float(words[0])
    return math.inf


def oom_kills(root: Path = CGROUPS) -> int:
    """How many processes of the group were killed because it had reached its memory limit."""
    counts = _counts(root / "memory.events") or _counts(root / "memory/memory.oom_control")
    return counts.get("oom_kill", 0)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []  # not this version, or no such controller


def _counts(path: Path) -> dict[str, int]:
    """A file of a name and a number a line."""
    words = _words(path)
    try:
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))
    except ValueError:
        return {}
