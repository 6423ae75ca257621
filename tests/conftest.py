"""What every test here is run with."""

import os
import signal
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# What a script has started in the background ignores interrupts, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy core makes single examples slow, and says nothing about the code: pytest's own time limit is enough.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", patient, max_examples=60)
settings.register_profile("thorough", patient, max_examples=1000)  # pytest --hypothesis-profile=thorough
settings.load_profile("quick")

ONE_AT_A_TIME = ("docker", "browser")
"""Folders whose tests share an engine, or a browser."""


class Together(LoadScopeScheduling):
    """Where tests run in several processes, keeps together those that share something: a folder, or else a file.

    pytest-xdist's own groups (3.8) are none to pytest 9.2: it takes no other name for a test.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return next((part for part in file.parts if part in ONE_AT_A_TIME), str(file))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only tests that run alone, and their fixtures, may keep cores awake: what does makes way within its own session,
    and each run that a test starts has one."""
    if item.get_closest_marker("alone") is None:
        os.environ["EDGEBED_AWAKE"] = "no"
    else:
        os.environ.pop("EDGEBED_AWAKE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)
