"""Cores that are kept awake: by processes that make way for all others, and are gone afterwards."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from emulator import awake as awakening
from emulator import host
from emulator.awake import awake, waking
from emulator.cgroup import Bandwidth
from emulator.host import Host
from tests.tolerance import assert_close

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no idle policy")

SPIN_SECONDS = 0.5


def spinning() -> list[psutil.Process]:
    """The processes that keep cores awake for this one."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "emulator.awake" in process.cmdline()]


def test_each_core_has_a_process_that_makes_way_and_ends_with_it() -> None:
    with awake() as are_awake:
        assert are_awake
        kept = spinning()
        pinned = [process.cpu_affinity() for process in kept]
        for core in os.sched_getaffinity(0):
            assert [core] in pinned
        assert {os.sched_getscheduler(process.pid) for process in kept} == {os.SCHED_IDLE}
        sessions = {os.getsid(process.pid) for process in kept}
        assert sessions == {os.getsid(0)}, "the kernel may weigh sessions against each other"
    psutil.wait_procs(kept, timeout=5)
    assert not any(process.is_running() for process in kept)


def test_nothing_is_started_where_it_is_not_wanted() -> None:
    with awake(False) as are_awake:
        assert not are_awake
        assert not spinning()


def test_what_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with awake() as are_awake:
        assert not are_awake


def test_they_end_when_whoever_started_them_is_killed() -> None:
    program = "from emulator.awake import awake\nwith awake(): print(flush=True); input()"
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    assert starter.stdout is not None
    starter.stdout.readline()
    kept = psutil.Process(starter.pid).children(recursive=True)
    assert kept
    starter.kill()
    starter.communicate()
    _, alive = psutil.wait_procs(kept, timeout=5)
    assert not alive


def test_a_quota_is_not_used_up_by_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awakening.cgroup, "bandwidth", lambda: Bandwidth(0.2, 0.1))
    assert waking() is None
    with awake() as are_awake:
        assert not are_awake
        assert not spinning()


@pytest.mark.alone
def test_work_loses_next_to_nothing_to_them() -> None:
    with awake():
        before, began = time.thread_time(), time.perf_counter()
        while time.thread_time() < before + SPIN_SECONDS:
            pass
        took = time.perf_counter() - began
    assert_close(took / SPIN_SECONDS, 1.0, relative=0.1, what="wall-clock seconds a CPU second")


def test_where_a_system_cannot_nothing_is_measured_and_nothing_kept_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awakening, "_POSSIBLE", False)
    assert waking() is None
    with awake():
        assert not spinning()


def test_what_was_measured_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(host.AWAKE, raising=False)
    known = Host("", 2, 0, 1e9, waking=1.4)
    assert known.awake
    assert not Host("", 2, 0, 1e9, waking=0.8).awake, "two threads of a core take from each other"
    assert not Host("", 2, 0, 1e9).awake
    monkeypatch.setenv(host.AWAKE, "no")
    assert not known.awake


@pytest.mark.alone
def test_waking_is_a_ratio_of_times() -> None:
    factor = waking()
    assert factor is not None
    assert 0.3 < factor < 5, factor
