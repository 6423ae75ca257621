"""A process that asks for more memory than its device has: `python -m emulator.selftest.memory BYTES`.

It says the limit in force, then `refused`, `given`, or `untried`; or it is killed, which is a refusal, too. Where a
container's limit would have to be filled to be met, that is done only if the host has the memory to spare, and the
container CPU time enough: what fills its memory uses up the quota by which its node gives signs of life.
"""

import os
import resource
import sys
from pathlib import Path

from emulator import cgroup

MORE = 32 * 2**20
"""Bytes beyond the device's."""
MOST_FILLED = 2 * 2**30
FILLED_EACH_SECOND = 2**30
"""Bytes for each second of CPU time, in pages that the kernel has to find and clear."""
MOST_SECONDS = 10.0
PAGE = 4096


def main() -> int:
    limit = float(sys.argv[1])
    own = resource.getrlimit(resource.RLIMIT_DATA)[0]
    of_process = float("inf") if own == resource.RLIM_INFINITY else float(own)
    of_container = cgroup.memory_limit()
    in_force = min(of_process, of_container)
    sys.stdout.write(f"{in_force if in_force < float('inf') else 0.0}\n")
    sys.stdout.flush()
    if of_process <= of_container:
        outcome = _asked(int(limit) + MORE)
    else:
        outcome = _filled(int(limit) + MORE) if to_spare(limit) else "untried"
    sys.stdout.write(f"{outcome}\n")
    return 0


def _asked(nbytes: int) -> str:
    """Whether the system gives that much address space, none of which is used."""
    try:
        bytearray(nbytes)
    except MemoryError:
        return "refused"
    return "given"


def _filled(nbytes: int) -> str:
    """Fill that much memory: this process is killed at its group's limit, before any other of the group."""
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        taken = bytearray(nbytes)
    except MemoryError:
        return "refused"
    for at in range(0, nbytes, PAGE):
        taken[at] = 1
    return "given"


def to_spare(limit: float) -> bool:
    """Whether `limit` bytes can be filled here without harm."""
    quota = cgroup.bandwidth()
    if quota is not None and limit / FILLED_EACH_SECOND / quota.cores > MOST_SECONDS:
        return False
    return limit <= MOST_FILLED and limit + MORE <= os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


if __name__ == "__main__":
    sys.exit(main())
