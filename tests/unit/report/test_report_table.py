import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from report_samples import summary

from emulator.comparison import Agreement, Comparison
from emulator.report.summary import Summary
from emulator.report.table import console, table
from emulator.verdict import combine


@pytest.fixture(autouse=True)
def _no_forced_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(summaries: Sequence[Summary], width: int | None = None) -> str:
    file = io.StringIO()
    screen = console(file)
    if width is not None:
        screen.width = width
    verdict = combine({summary.run: summary.verdict for summary in summaries})
    screen.print(table(summaries, verdict, testbed="demo", runtime="local", time_scale=2.0))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


GOLDEN = """\
run     accuracy  round                       down-            to      up
verdict  min-max    p95 client uplink server   link   gaps   80 %    down
─────────────────────────────────────────────────────────────────────────
gapsl     81.2 % 2.50 s 998 ms 1.00 s 250 ms 250 ms 2.0 ms 5.00 s 6.0 MiB
VALID      75-88 2.95 s                                           2.0 MiB
psl       81.2 % 2.50 s 748 ms 1.00 s 250 ms 250 ms 252 ms 5.00 s 6.0 MiB
INVALID    75-88 2.95 s                                           2.0 MiB
testbed demo, local runtime, time scale 2. INVALID: latency_error 10.1 %
(limit 5 %), compute_overrun 100 % (limit 5 %), timer_overshoot 250 ms
(limit 2 ms): psl: the host was busy with other work
Emulated times: a round's median and 95th percentile; what its mean
consists of, along its critical path; time until the test accuracy (mean
over clients) reaches the target. Bytes over the clients' links, headers
included.
"""


def test_the_table_as_plain_text() -> None:
    assert shown([summary("gapsl"), summary("psl", late=0.25)]) == GOLDEN


def test_the_table_fits_90_columns_at_its_widest() -> None:
    wide = replace(
        summary("algorithm"),
        breakdown=dict.fromkeys(
            ("client_forward", "uplink", "server_step", "downlink", "model_up", "ping", "pong", "overhead"), 0.0123
        ),
        time_to_target=59000.0,
    )
    text = shown([wide, summary("gapsl", late=0.25)], width=90)
    _, head, _, first, _, second, *_ = text.splitlines()
    assert head.split()[-5:] == ["other", "gaps", "80", "%", "down"]
    assert first.startswith("algorithm ")
    assert first.endswith("12 ms 12 ms 25 ms  12 ms 16.4 h 6.0 MiB")
    assert second.endswith("-     - 252 ms 5.00 s 6.0 MiB")


def test_the_usual_table_fits_80_columns() -> None:
    usual = replace(
        summary("gapsl", late=0.25),
        breakdown=dict.fromkeys(
            ("client_forward", "uplink", "server_step", "downlink", "model_up", "overhead"), 0.1234
        ),
    )
    assert max(map(len, shown([usual], width=80).splitlines())) <= 80
    assert shown([usual], width=80).splitlines()[3:5] == shown([usual]).splitlines()[3:5]


def test_a_workload_that_trains_nothing_has_a_table_of_its_own_stages() -> None:
    plain = replace(summary("ping-pong"), accuracy=None, target=None, time_to_target=None)
    text = shown([replace(plain, breakdown={"ping": 0.0031, "pong": 1.25, "overhead": 0.0})])
    assert text.splitlines()[1].split() == ["verdict", "p95", "ping", "pong", "gaps", "down"]
    assert text.splitlines()[3].split("2.50 s ")[1] == "3.1 ms 1.25 s 0 ms 6.0 MiB"
    assert "accuracy" not in text


def test_a_target_that_is_never_reached_says_so() -> None:
    assert "never" in shown([summary(target=0.9)])


def test_names_are_no_markup() -> None:
    assert "[red]psl" in shown([summary("[red]psl")])


@pytest.mark.parametrize("isatty", [True, False])
def test_a_console_without_a_terminal_is_wide_enough(isatty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: isatty)
    assert console(file).width == (90 if isatty else 120)


def test_a_prediction_stands_beside_what_was_measured_within_80_columns() -> None:
    stages = ("client_forward", "uplink", "server_step", "downlink", "model_up", "overhead")
    wide = replace(summary("gapsl"), breakdown=dict.fromkeys(stages, 0.0123), time_to_target=5900.0)
    bare = summary("psl")
    latency = Agreement(measured_mean=2.5, predicted_mean=2.4, measured_median=2.5, predicted_median=0.0123)
    file = io.StringIO()
    screen = console(file)
    screen.width = 80
    verdict = combine({one.run: one.verdict for one in (wide, bare)})
    predicted = {"gapsl": Comparison(latency, {})}
    screen.print(table([wide, bare], verdict, testbed="demo", runtime="local", time_scale=2.0, predicted=predicted))
    name, head, _, first, second, *others = file.getvalue().splitlines()
    assert "pre-" in name
    assert head.split()[:4] == ["verdict", "min-max", "p95", "dicted"]
    assert "gaps" not in name + head
    assert "12 ms" in first
    assert "-4.0 %" in second
    assert others[0].split()[5] == "-"
    assert "the error of the predicted mean" in " ".join(" ".join(others).split())
    assert max(map(len, (name, head, first, second, *others))) <= 80


@pytest.mark.parametrize(("error", "shown_as"), [(0.004, "+0.4 %"), (-0.12345, "-12 %"), (1.5, "+150 %")])
def test_errors_have_a_sign_and_about_two_digits(error: float, shown_as: str) -> None:
    latency = Agreement(1.0, 1.0 + error, 1.0, 1.0)
    file = io.StringIO()
    one = summary("gapsl")
    predicted = {"gapsl": Comparison(latency, {})}
    console(file).print(table([one], one.verdict, testbed="demo", runtime="local", time_scale=2.0, predicted=predicted))
    assert shown_as in file.getvalue()
