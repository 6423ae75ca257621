"""Room in a process's heap: what is asked for in another order than before, or by two threads at once, may not fit
between what is in use, and getting new pages from the kernel takes long."""

import math
import resource

import psutil

from emulator import cgroup

LARGEST_PIECE = 24 * 2**20
"""Bytes: what glibc takes from the heap, where `system.keep_memory` was called, and no mapping of its own."""
SHARE = 1 / 4
"""Of what the process may still ask for: a device's memory is for its computations."""


def keep_room(size: int) -> None:
    """Have `size` free bytes in as few pieces as may be, fewer where memory is short.

    After `system.keep_memory`, or they are given back.
    """
    size = int(min(size, SHARE * _left()))
    pieces = [b"\1" * min(LARGEST_PIECE, size - got) for got in range(0, size, LARGEST_PIECE)]
    pieces.clear()


def _left() -> float:
    """Bytes that this process may still ask for."""
    info = psutil.Process().memory_info()
    own = resource.getrlimit(resource.RLIMIT_DATA)[0]
    of_process = math.inf if own == resource.RLIM_INFINITY else own - info.data
    return max(0.0, min(of_process, cgroup.memory_limit() - info.rss))
