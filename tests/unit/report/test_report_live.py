import io

from emulator.control.words import RunView, SegmentView, Status
from emulator.report.live import headline, table_of_segments
from emulator.report.table import console

NOTHING = {"last_round": None, "round_latency_s": None, "slowest": None, "accuracy": None, "eta_s": None}


def run(name: str, state: str, **known: object) -> RunView:
    return RunView.model_validate({**NOTHING, "run": name, "state": state, "round": 0, "rounds": 120, **known})


def test_the_status_says_of_each_run_what_the_progress_display_shows() -> None:
    known = {"last_round": 38, "round_latency_s": 0.306, "slowest": "client-1", "accuracy": 0.9, "eta_s": 70.4}
    runs = [
        run("gapsl", "done", round=120, round_latency_s=0.086, slowest="client-1", accuracy=0.787),
        run("sl", "running", round=39, **known),
        run("[b]psl", "to come"),
    ]
    status = Status(
        experiment="demo", testbed="demo", runtime="local", folder="runs/demo-1", time_scale=2.0, runs=runs,
        runs_done=["gapsl"], runs_left=["[b]psl"], run="sl", round=39, **{**known, "eta_s": None},
    )  # fmt: skip
    assert headline(status) == [
        "demo on testbed demo, local runtime, time scale 2: runs/demo-1",
        "gapsl: done, round 120/120, accuracy 78.7 %, round 86 ms, slowest client-1",
        "sl: round 39/120, accuracy 90.0 %, round 306 ms, slowest client-1, ETA 0:01:10",
        "[b]psl: to come",
    ]


def test_segments_have_a_table_of_their_own() -> None:
    channel = {"rate": "14 Mbit/s", "delay": "1 ms", "jitter": "2 ms"}
    link = {"name": "radio", "source": "a test", "up": channel, "down": {**channel, "rate": "unlimited", "loss": "1 %"}}
    views = [
        SegmentView.model_validate({"name": "city", "segment": None, "nodes": ["a", "b", "c"], "link": link}),
        SegmentView.model_validate({"name": "[b]cell", "segment": "city", "nodes": ["a"], "link": link}),
    ]
    shown = io.StringIO()
    console(shown).print(table_of_segments(views))
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert lines[2:] == [
        "city - 3 radio 14 Mbit/s unlimited 1 ms ± 2 ms 0 % up, 1 % down",
        "[b]cell city 1 radio 14 Mbit/s unlimited 1 ms ± 2 ms 0 % up, 1 % down",
    ]
