import subprocess
import sys

import psutil
import pytest

from emulator.runtime import owner
from emulator.runtime.owner import OWNER, RUN, is_orphan, labels


def changed(**parts: str) -> dict[str, str]:
    """This process's labels, with some parts of the owner replaced."""
    own = labels("1f")
    values = dict(zip(("host", "namespace", "pid", "started"), own[OWNER].split("/"), strict=True))
    return {**own, OWNER: "/".join({**values, **parts}.values())}


def test_what_a_living_process_has_made_is_left_alone() -> None:
    assert labels("1f")[RUN] == "1f"
    assert not is_orphan(labels("1f"), running=True)
    assert not is_orphan(labels("1f"), running=False)


def test_what_a_dead_process_has_made_is_an_orphan() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        started = psutil.Process(dead.pid).create_time()
    assert is_orphan(changed(pid=str(dead.pid), started=f"{started:.2f}"), running=True)


def test_another_process_with_the_same_number_does_not_count() -> None:
    assert is_orphan(changed(started="12345.00"), running=True)


@pytest.mark.parametrize("running", [True, False])
def test_of_another_host_or_before_its_last_start_only_what_runs_is_left_alone(running: bool) -> None:
    assert is_orphan(changed(host="another-boot"), running) is not running


def test_a_process_that_cannot_be_seen_from_here_is_taken_for_alive() -> None:
    assert not is_orphan(changed(namespace="1", pid="1", started="1.00"), running=True)


@pytest.mark.parametrize("found", [{}, {OWNER: "nonsense"}, {OWNER: "a/b/c/d"}, {"edgebed": "1"}])
def test_what_is_not_understood_is_left_alone(found: dict[str, str]) -> None:
    here = {OWNER: found[OWNER].replace("a/b", f"{owner.host_id()}/{owner._namespace()}")} if OWNER in found else found
    assert not is_orphan(here, running=True)
