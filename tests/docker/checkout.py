"""A fresh copy of the repository, as `git clone` makes one."""

import subprocess
from pathlib import Path

from tests.docker.conftest import REPOSITORY


def copy_checkout(to: Path) -> Path:
    """Copy every file that is, or is about to be, in the repository into the folder `to`."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).exists():  # else it is about to be removed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes((REPOSITORY / name).read_bytes())
            (to / name).chmod((REPOSITORY / name).stat().st_mode)
    return to
