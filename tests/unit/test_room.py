import platform
import subprocess
import sys

import pytest

from emulator.room import SHARE

MEBIBYTE = 2**20
CODE = """
import resource
from emulator.room import keep_room
from emulator.system import keep_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_memory()
if {limited}:
    import psutil
    limit = psutil.Process().memory_info().data + {limited}
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = pages()
keep_room({room})
kept = pages() - before
before = pages()
taken = [bytearray(4 * 2**20) for _ in range(7)]
print(kept, pages() - before)
"""


def pages(*, room: int, limited: int = 0) -> tuple[int, int]:
    """What a process gets from the kernel for that much room, and then for 28 MiB."""
    code = CODE.format(room=room, limited=limited)
    kept, taken = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split()
    return int(kept), int(taken)


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def test_where_there_is_room_nothing_is_got_from_the_kernel_when_it_is_needed() -> None:
    (_, without), (_, taken) = pages(room=0), pages(room=32 * MEBIBYTE)
    assert taken < 100 < without


def test_room_is_no_more_than_a_share_of_what_a_process_may_still_have() -> None:
    kept, _ = pages(room=48 * MEBIBYTE, limited=64 * MEBIBYTE)
    assert 0 < kept <= 1.5 * SHARE * 64 * MEBIBYTE / 4096
