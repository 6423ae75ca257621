import os
import platform
import subprocess
import sys
import threading

import pytest

from emulator.system import giving_way

KEEPING = """
import resource
from emulator.system import keep_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {keep}:
    keep_memory()
bytearray(16 * 2**20)
before = pages()
for _ in range(10):
    bytearray(16 * 2**20)
print(pages() - before)
"""


def faults(*, keep: bool) -> int:
    """Pages that a process gets from the kernel for ten times the same 16 MiB."""
    code = KEEPING.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_was_freed_is_not_got_from_the_kernel_again() -> None:
    kept, usual = faults(keep=True), faults(keep=False)
    assert kept < 100, (kept, usual)


RAISING = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
from emulator.system import lower_this_thread, raise_priority

def policy():
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

ask, answer = threading.Event(), []
before = threading.Thread(target=lambda: (ask.wait(), answer.append(policy()[0])))
before.start()
print(raise_priority(1))
ask.set()
before.join()
with ThreadPoolExecutor(1, initializer=lower_this_thread) as computing:
    computes = computing.submit(policy).result()
print(policy()[0] == os.SCHED_FIFO, answer == [os.SCHED_FIFO], computes == (os.SCHED_OTHER, 10))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no priorities per thread")
def test_all_threads_of_a_server_are_raised_but_that_of_its_computations() -> None:
    done = subprocess.run([sys.executable, "-c", RAISING], capture_output=True, text=True, check=True)
    why_not, raised = done.stdout.splitlines()
    if why_not != "None":
        pytest.skip(why_not)
    assert raised == "True True True"


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="no priorities per thread")
def test_who_gives_way_has_its_priority_back_and_who_could_not_have_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = niceness()
    setting = os.setpriority

    def without_the_right(which: int, who: int, value: int) -> None:
        if value < niceness():
            raise PermissionError(13, "Permission denied")
        setting(which, who, value)

    if os.geteuid() == 0:
        with giving_way():
            assert niceness() > usual
        assert niceness() == usual
    monkeypatch.setattr(os, "setpriority", without_the_right)
    with giving_way():
        assert niceness() == usual
    assert niceness() == usual
