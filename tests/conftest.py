"""What every test here is run with."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy core makes single examples slow, and says nothing about the code: pytest's own time limit is enough.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", patient, max_examples=60)
settings.register_profile("thorough", patient, max_examples=1000)  # pytest --hypothesis-profile=thorough
settings.load_profile("quick")

HERE = Path(__file__).parent
ONE_AT_A_TIME = ("docker", "browser")
"""Folders whose tests share an engine, or a browser."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, keep together those that share something: a folder, or else a file."""
    for item in items:
        path = item.path.relative_to(HERE)
        item.add_marker(pytest.mark.xdist_group(path.parts[0] if path.parts[0] in ONE_AT_A_TIME else str(path)))
