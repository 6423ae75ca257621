"""Laws of the five algorithms that hold exactly in virtual time."""

import pytest

from emulator import timeline
from tests.tolerance import assert_close
from tests.unit.virtual_world import as_lines, plan, run

PROGRAMS = {"server": "nodes.server:main", "client": "nodes.client:main"}
LINK = {
    "source": "a test",
    "up": {"rate": "7 Mbit/s", "delay": "9 ms", "jitter": "2 ms"},
    "down": {"rate": "31 Mbit/s", "delay": "5 ms", "loss": "0.1 %"},
}
WORKLOAD = {
    "data": {"name": "digits"},
    "model": {"name": "digits-cnn", "cut": "relu1"},
    "algorithms": {"epsl": {"phi": 0}, "gapsl": {"eta": -100}},
}


def spans(algorithm, clients=4, scale=1.0, rounds=5):
    made = plan(
        PROGRAMS, algorithms=[algorithm], clients=clients, rounds=rounds, scale=scale, link=LINK, training=False,
        workload=WORKLOAD,
    )  # fmt: skip
    return run(made)[0]


def without_names(found):
    return as_lines(found).replace('"epsl"', '"psl"').replace('"sl"', '"psl"')


def test_epsl_with_phi_0_takes_psls_time():
    assert without_names(spans("epsl")) == as_lines(spans("psl"))


def test_gapsl_takes_psls_time_on_the_wire():
    gapsl, psl = (
        {
            (span.round, span.node, span.peer): (span.bytes, span.duration)
            for span in spans(algorithm)
            if span.is_message and not span.off_clock
        }
        for algorithm in ("gapsl", "psl")
    )
    assert gapsl.keys() == psl.keys()
    for way, (nbytes, seconds) in psl.items():
        assert gapsl[way][0] == nbytes
        assert_close(gapsl[way][1], seconds, what=f"seconds of {way}")


def test_one_client_makes_sl_and_psl_equal():
    assert without_names(spans("sl", clients=1)) == as_lines(spans("psl", clients=1))


@pytest.mark.parametrize("algorithm", ["gapsl", "epsl", "psl", "sfl", "sl"])
@pytest.mark.parametrize("scale", [2.1, 64.0])
def test_scaled_time_is_the_same_after_division(algorithm, scale):
    assert as_lines(spans(algorithm, scale=scale)) == as_lines(spans(algorithm))


def test_a_client_more_makes_no_round_shorter():
    three, four = (timeline.latencies(spans("psl", clients=clients)) for clients in (3, 4))
    assert three.keys() == four.keys()
    assert min(four.values()) > 0
