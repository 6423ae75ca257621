import io
import json
import math

import pytest

from emulator.causes import HostFacts
from emulator.pulse import Pulse
from emulator.report import selftest as report
from emulator.report.result import read_verdict
from emulator.report.table import console
from emulator.selftest.figures import Figure
from emulator.selftest.judgement import judged

FACTS = HostFacts(cores=2, cores_wanted=1.2, time_scale=2.1, hub=Pulse(0.0002, 0.08, 0.1))
FIGURES = [
    Figure("largest_message", "far up", None, 262144.0, "bytes"),
    Figure("rate_error", "far up", 8e6, 7.984e6, "bit/s", -0.001, 0.02),
    Figure("loss_effect", "far up", 0.999, 0.998, "share", -0.001, 0.02),
    Figure("delay_error", "far up", 0.0102, 0.0107, "s", 0.0005, 0.002, "s"),
    Figure("jitter_sd", "far up", 0.0049, 0.0081, "s", 0.653, 0.2, note="200 messages"),
    Figure("together_lateness", "far up", 0.0, 0.0004, "s", 0.0004, 0.004, "s"),
    Figure("rate_error", "near up", math.inf, 2e9, "bit/s", note="unlimited: not checked"),
    Figure("together_rate", "server down", 230e6, 229.8e6, "bit/s", note="4 senders"),
    Figure("unfairness", "server down", 1.0, 0.9998, "", -0.0002, 0.01, note="4 senders, shared fairly"),
    Figure("cpu_share", "far", 0.107, 0.1068, "cores", -0.002, 0.05),
    Figure("memory_limit", "far", 2.0**30, 2.0**30, "bytes", 0.0, 0.01, note="refused"),
    Figure("memory_limit", "near", math.inf, None, "bytes", note="not limited"),
    Figure("clock_offset", "far", 0.0, 1e-4, "s", 0.0, 0.002, "s"),
]
WHERE = {"testbed": "demo", "runtime": "local"}


@pytest.fixture(autouse=True)
def _no_forced_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown() -> list[str]:
    file = io.StringIO()
    report.show_all(console(file), FIGURES, judged(FIGURES, FACTS), time_scale=2.1, **WHERE)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_each_way_has_what_was_configured_above_what_was_achieved() -> None:
    lines = shown()
    at = next(number for number, line in enumerate(lines) if line.startswith("far up"))
    assert lines[at].split() == [
        "far",
        "up",
        "256",
        "KiB",
        "8",
        "Mbit/s",
        "99.90",
        "%",
        "10.2",
        "ms",
        "4.9",
        "ms",
        "0.4",
        "ms",
    ]
    assert lines[at + 1].split()[:4] == ["7.984", "Mbit/s", "-0.1", "%"]
    assert lines[at + 1].endswith("10.7 ms +0.5 ms   8.1 ms +65 % !")


def test_what_is_outside_its_limit_is_marked_and_named_with_its_cause() -> None:
    text = "\n".join(shown())
    assert text.count(" !") == 2  # and once in the words that explain it
    assert (
        "testbed demo, local runtime, time scale 2.1. INVALID: jitter_sd 65.3 % (limit 20 %): the host was busy" in text
    )


def test_what_was_not_checked_says_why() -> None:
    text = "\n".join(shown())
    (near,) = (line for line in shown() if line.startswith("near up"))
    assert near.split()[:4] == ["near", "up", "-", "unlimited"]
    assert "not limited" in text
    assert "1.0 GiB, refused" in text


def test_the_shared_link_has_its_index() -> None:
    (line,) = (line for line in shown() if line.startswith("server down"))
    assert (
        line
        == "server down, all at once: 230 Mbit/s, achieved 229.8 Mbit/s, Jain's index 0.9998 (4 senders, shared fairly)"
    )


def test_it_fits_120_columns() -> None:
    assert max(map(len, shown())) <= 120


def test_json_has_all_figures_in_si_units_and_the_verdict_of_a_result() -> None:
    text = report.to_json(FIGURES, judged(FIGURES, FACTS), FACTS, "a processor", version="0.1.0", **WHERE)
    built = json.loads(text)
    assert list(built) == ["schema", "version", "runtime", "testbed", "host", "verdict", "figures"]
    assert len(built["figures"]) == len(FIGURES)
    assert built["figures"][1] == {
        "name": "rate_error", "of": "far up", "configured": 8e6, "achieved": 7.984e6, "quantity": "bit/s",
        "error": -0.001, "limit": 0.02, "unit": "share", "note": "", "ok": True,
    }  # fmt: skip
    assert built["figures"][6]["configured"] is None
    assert built["host"]["hub"] == {"late_p95": 0.0002, "cpu": 0.08, "busiest": 0.1}
    assert read_verdict(built["verdict"]) == judged(FIGURES, FACTS)
