"""CPU quotas: which one makes a core of this host as slow as a device, and whether a stage was long enough for it.

The kernel (CFS bandwidth control) lets a group run until its quota is used up, then stops it until the next period
begins. A group that was idle has its first quota at once: what takes less CPU time than that is not slowed down at
all, and a longer stage ends up to two periods early. Hence short periods, and whatever comes early is held back.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

from emulator.cgroup import Bandwidth
from emulator.errors import InputError, NodeFailure
from emulator.timeline import Span

PERIOD = 0.010
LONGEST_PERIOD = 1.0
LEAST_QUOTA = 0.001
"""Seconds; the kernel refuses less of a quota, and more of a period."""
MICROSECOND = 1e-6
TOLERANCE = 0.01
"""What a quota read back may be off, as a share of it: it is set in whole microseconds."""
ROUNDING = 0.01
"""Microseconds that are none: a throughput is written with some digits."""
NAMED = 4


def bandwidth(cores: float) -> Bandwidth:
    """The quota of `cores` cores, a whole one at most, with the shortest period that is not under PERIOD.

    Raises `InputError` when the kernel has no quota that small.
    """
    if cores * LONGEST_PERIOD < LEAST_QUOTA:
        raise InputError(
            f"a CPU quota of {cores:.2g} cores is less than the kernel's least, {LEAST_QUOTA / LONGEST_PERIOD:g}: "
            f"lower time_scale, or leave out compute: quota"
        )
    cores = min(cores, 1.0)
    microseconds = math.ceil(max(PERIOD, LEAST_QUOTA / cores) / MICROSECOND - ROUNDING)
    return Bandwidth(round(cores * microseconds) * MICROSECOND, microseconds * MICROSECOND)


def throttling(cores: float) -> Bandwidth | None:
    """The quota of a device of `cores` cores; None for a whole core, which never waits.

    Raises as `bandwidth` does.
    """
    return None if cores >= 1 else bandwidth(cores)


def check(in_force: Bandwidth | None, cores: float, device: str) -> None:
    """Raises `NodeFailure` when the quota read back is not that of `cores` cores."""
    wanted = bandwidth(cores)
    if in_force is None or abs(in_force.cores / wanted.cores - 1) > TOLERANCE:
        found = "there is none" if in_force is None else f"{in_force} are in force"
        raise NodeFailure(f"its device '{device}' takes a CPU quota of {wanted}, but {found}")


def mode(promised: float, early: float, throttled: int | None, period: float) -> str:
    """How a stage of `promised` seconds (host time) was slowed down that ended `early` before it was due: "quota" or
    "stretched".

    `throttled`: how many periods' quota it used up; None: unknown. One that used up none, and is too short for it, was
    not slowed down by the quota, though a timer or a busy core may have made it late.
    """
    if throttled == 0 and promised <= 2 * period:
        return "stretched"
    return "quota" if early <= 0 or (throttled and early <= 2 * period) else "stretched"


def short_stages(spans: Iterable[Span]) -> list[str]:
    """What was held back because it was too short for the quota to bite, one line for each kind of stage."""
    computed: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.mode in ("quota", "stretched") and not span.off_clock:
            computed[span.stage].append(span)
    lines = []
    for stage, all_of_it in computed.items():
        short = [span for span in all_of_it if span.mode == "stretched"]
        if short:
            cpu = math.fsum(span.cpu or 0.0 for span in short) / len(short)
            lines.append(
                f"{stage} of {_listed(dict.fromkeys(span.node for span in short))}: {len(short)} of {len(all_of_it)} "
                f"stages were too short for the CPU quota ({1000 * cpu:.2g} ms of CPU time): held back"
            )
    return lines


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known) if len(known) <= NAMED else f"{known[0]} and {len(known) - 1} others"
