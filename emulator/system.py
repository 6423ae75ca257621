"""What edgebed's processes ask of the operating system: priority, and not to outlive their parent."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 32 * 2**20
"""Bytes: the most that glibc takes for a threshold."""

_GIVES_WAY = 10
"""The niceness of what is not due at any moment."""

COLLECT_EVERY = 200_000
"""Objects made and still there, between two looks of the garbage collector at the youngest."""


def raise_priority(level: int) -> str | None:
    """Raise this process's priority, of all its threads, as far as it may be; None when raised, else why not, in one
    line. The higher `level` goes first, and all before who has none.

    Threads that start later inherit it (see `lower_this_thread`).
    """
    try:
        for thread in _threads():
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(level))
        return None
    except (OSError, AttributeError):
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        return None
    except OSError as error:
        return f"no right to raise the hub's priority ({error.strerror}): run as root or with CAP_SYS_NICE"


def _threads() -> list[int]:
    """Of this process; elsewhere than on Linux the one that asks."""
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


def lower_this_thread() -> None:
    """Give way to the event loops of all nodes, where the system has priorities per thread (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # whoever started it may have been raised
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVES_WAY)


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Have this thread give way meanwhile, like `lower_this_thread`, where it may have its priority back afterwards.

    Otherwise it stays as it is: what it started later would be slower for good.
    """
    if sys.platform != "linux":
        yield
        return
    thread = threading.get_native_id()
    usual = os.getpriority(os.PRIO_PROCESS, thread)
    try:
        os.setpriority(os.PRIO_PROCESS, thread, usual - 1)  # who may do this may do the like afterwards
    except OSError:
        yield
        return
    try:
        os.setpriority(os.PRIO_PROCESS, thread, max(usual, _GIVES_WAY))
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, usual)


def die_with_parent(parent: int | None = None) -> None:
    """End when the parent does, however that ends (Linux; elsewhere a silent controller ends the hub, and a silent
    hub the nodes). `parent`: its number, where it may have ended before this process could ask."""
    if sys.platform == "linux":
        parent = os.getppid() if parent is None else parent
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def keep_memory() -> None:
    """Keep what is freed for what is asked for next, where the C library can (glibc); call it before any thread starts.

    Usually it gives memory back to the kernel whenever the end of its heap is free, and where that is differs from
    process to process: getting the pages of a training step's tensors again, or not, makes the very same step take up
    to a sixth more CPU time in one process than in another.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_M_ARENA_MAX, 1)


@contextlib.contextmanager
def collecting_seldom() -> Iterator[None]:
    """Have the garbage collector look seldom: at a million small things of which next to none is garbage, it takes as
    long as what is done with them, and holds up whatever is due meanwhile."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_EVERY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def keep() -> None:
    """Collect what garbage there is, and have the collector leave alone what remains: going through the objects of a
    numerical library takes it a tenth of a second, in which nothing else happens."""
    gc.collect()
    gc.freeze()


def release() -> None:
    """Have the collector look at everything again."""
    gc.unfreeze()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back meanwhile, and from the processes started meanwhile for good: whoever started them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def host_id() -> str:
    """The same in all processes, containers included, that share this host's monotonic clock, and in no others."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()  # one for each start of a kernel
    except OSError:
        return f"{uuid.getnode():x}"


def single_threaded() -> dict[str, str]:
    """Environment that keeps numerical libraries to one thread: an emulated device is at most one core of the host."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def one_thread() -> None:
    """Keep this process's numerical libraries to one thread, as a node's are: how many there are decides the order of
    sums, and so the last bit of a result."""
    os.environ.update(single_threaded())
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def cache_folder() -> Path:
    """Where what was measured or counted once is kept for the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgebed"
