"""What every test here needs."""

import pytest

from emulator import host
from emulator.bus import endpoint, hub


@pytest.fixture(scope="session")
def core_flops() -> float:
    """The speed of this host's core; measured once, so that no test's deadline pays for that."""
    return host.this_host().core_flops


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> float:
    """Heartbeats many times a second, so that silence is noticed as much sooner."""
    for module in (endpoint, hub):
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    return 0.05
