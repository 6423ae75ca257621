"""This host: what it is, and how fast one of its cores trains.

The speed is measured once, by a short reference workload (see `reference`), and kept in the user's cache folder with
the host's fingerprint; another host, processor or PyTorch measures anew.
"""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import psutil

from emulator import awake, cgroup
from emulator.errors import EdgebedError
from emulator.reference import Reference
from emulator.system import cache_folder, single_threaded

CORE_FLOPS = "EDGEBED_CORE_FLOPS"
"""Environment: this host's speed in FLOP/s, where limits have been set by it that must fit what is made of it now."""
AWAKE = "EDGEBED_AWAKE"
"""Environment: "no" lets this host's cores sleep in a run, whatever was measured of them."""
MEASURE_SECONDS = 120.0


@dataclass(frozen=True)
class Host:
    """A host and its measured speed."""

    cpu: str
    cores: int
    """Whole logical cores this process may use."""
    memory: int
    """Bytes."""
    core_flops: float
    """FLOP/s of one core in single-precision training."""
    waking: float | None = None
    """By which factor work takes longer that wakes a core up; None: not measured."""

    @property
    def awake(self) -> bool:
        """Whether its cores are to be kept awake while something is measured on them."""
        return awake.worth(self.waking) and os.environ.get(AWAKE) != "no"


def this_host() -> Host:
    """This host, its speed from the cache or measured now (some seconds)."""
    cpu, cores, memory = _cpu_model(), _usable_cores(), psutil.virtual_memory().total
    path, mark = cache_file(), fingerprint()
    known = _kept(path, mark)
    if given := os.environ.get(CORE_FLOPS):
        known = replace(known or Reference(0.0), core_flops=float(given))
    if known is not None:
        return Host(cpu, cores, memory, **asdict(known))
    host = Host(cpu, cores, memory, **asdict(_measured()))
    entry = {"fingerprint": mark, "measured": time.strftime("%Y-%m-%d"), **asdict(host)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"note: {path} cannot be written ({error.strerror}): this host will be measured again\n")
    return host


def _kept(path: Path, mark: str) -> Reference | None:
    """What was measured of this host; None: nothing yet, or nothing that can be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        speed, waking = float(kept["core_flops"]), kept["waking"]
        if kept["fingerprint"] != mark or speed <= 0:
            return None
        return Reference(speed, None if waking is None else float(waking))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class CoreTimes:
    """Seconds of all cores of this host since it started, as far as the system counts them."""

    total: float
    stolen: float | None
    """In which there was work, and the hypervisor had given the core to another machine; None: they are not counted."""

    @classmethod
    def now(cls) -> "CoreTimes":
        """Until now. Guests are counted as what runs them, too: only once here."""
        times = psutil.cpu_times()._asdict()
        total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
        return cls(total, times.get("steal"))

    def stolen_since(self, before: "CoreTimes") -> float | None:
        """The share of the cores that was taken since `before`; None where that is not counted, or no time has gone."""
        total = self.total - before.total
        if self.stolen is None or before.stolen is None or total <= 0:
            return None
        return max(0.0, self.stolen - before.stolen) / total


def fingerprint() -> str:
    """What must be the same for a measurement of this host to hold: processor, cores, C library, PyTorch and NumPy."""
    library = " ".join(platform.libc_ver())
    return (
        f"{_cpu_model()}|{os.cpu_count()}|{platform.machine()}|{library}|torch {version('torch')}"
        f"|numpy {version('numpy')}"
    )


def cache_file() -> Path:
    """Where the measured speed is kept."""
    return cache_folder() / "host.json"


def _measured() -> Reference:
    command = [sys.executable, "-m", "emulator.reference"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env={**os.environ, **single_threaded()},
            capture_output=True,
            text=True,
            timeout=MEASURE_SECONDS,
            check=True,
        )
        return Reference(**json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError, TypeError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise EdgebedError(f"this host's speed could not be measured: {said[-1] if said else error}") from None


def _usable_cores() -> int:
    """Cores by affinity and, inside a limited container, by its CPU quota: the whole ones, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup.bandwidth()
    return cores if quota is None else max(1, min(cores, int(quota.cores)))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
