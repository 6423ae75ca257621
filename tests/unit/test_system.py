import platform
import subprocess
import sys

import pytest

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
