from pathlib import Path

import pytest

from emulator import timeline
from emulator.errors import InputError
from emulator.retiming import check_recording, retime
from emulator.timeline import Span
from tests.tolerance import assert_close
from tests.unit.virtual_world import DEVICE, plan, run

TIMELESS = "tests.unit.timeless_programs"
PROGRAMS = {"server": f"{TIMELESS}:server", "client": f"{TIMELESS}:client"}
FAST = {**DEVICE, "training": "4 GFLOP/s"}


def recording(**keys: object) -> tuple[list[Span], object]:
    made = plan(PROGRAMS, clients=2, rounds=3, **keys)  # type: ignore[arg-type]
    return run(made)[0], made


def test_on_the_same_testbed_a_run_takes_the_same_time() -> None:
    spans, made = recording()
    again = retime(spans, made, made)
    assert timeline.latencies(again).keys() == timeline.latencies(spans).keys()
    for number, seconds in timeline.latencies(spans).items():
        assert_close(timeline.latencies(again)[number], seconds, what="a round's latency")


def test_on_faster_devices_computations_take_as_much_less() -> None:
    spans, made = recording()
    faster = retime(spans, made, plan(PROGRAMS, clients=2, rounds=3, device=FAST))
    for one, other in zip(timeline.stage_times(faster)["think"], timeline.stage_times(spans)["think"], strict=True):
        assert_close(one, other / 4, what="seconds to think")


def test_what_was_measured_is_replayed_call_by_call() -> None:
    _, made = recording()
    measured = []
    for number in (1, 2, 3):
        for name in ("client-1", "client-2"):
            cpu = number * (0.1 if name == "client-1" else 0.2)
            measured.append(Span("test", number, name, "think", 0.0, 10.0 * cpu, cpu=cpu, mode="stretched"))
        measured.append(Span("test", number, "server", "serve", 5.0, 6.0, cpu=0.1, mode="stretched"))
    found = timeline.rounds(retime(measured, made, made))
    for number, of_round in found.items():
        thinking = {span.node: span.duration for span in of_round if span.stage == "think"}
        # The devices are ten times slower than the host of `plan`.
        assert_close(thinking["client-1"], number * 1.0, what="seconds of client-1")
        assert_close(thinking["client-2"], number * 2.0, what="seconds of client-2")


def test_a_recording_that_lacks_spans_is_refused() -> None:
    spans, made = recording()
    with pytest.raises(InputError, match="it has 2 rounds of 3: run the experiment again"):
        retime([span for span in spans if span.round < 3], made, made)
    with pytest.raises(Exception, match="the recorded run lacks spans: 'think' of client-2"):
        retime([span for span in spans if not (span.round == 2 and span.node == "client-2")], made, made)
    with pytest.raises(InputError, match="lacks spans"):
        retime([], made, made)


def test_another_number_of_clients_is_refused() -> None:
    spans, made = recording()
    with pytest.raises(InputError, match="3 nodes of role 'client' cannot take the place of 2"):
        retime(spans, made, plan(PROGRAMS, clients=3, rounds=3))


def test_programs_whose_accuracy_may_depend_on_time_are_refused() -> None:
    made = plan(rounds=2)
    spans, _ = run(made)
    with pytest.raises(InputError, match=r"may depend on the times.*synchronous\(config\)"):
        retime(spans, made, made)


def test_a_folder_that_no_run_has_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder of a finished run: it has no experiment.yaml"):
        check_recording(tmp_path)
