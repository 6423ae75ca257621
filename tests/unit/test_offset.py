import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.offset import DRIFT, NOTHING_KNOWN, Estimate, better, measured
from tests.tolerance import assert_close

seconds = st.floats(0, 1e5)


@given(asked=seconds, there=seconds, back=seconds, ahead=st.floats(-1e6, 1e6))
def test_the_true_offset_lies_within_the_error(asked: float, there: float, back: float, ahead: float) -> None:
    estimate = measured(asked, asked + there + ahead, asked + there + back)
    assert abs(estimate.offset - ahead) <= estimate.error + 1e-6


def test_equal_ways_there_and_back_give_the_offset_itself() -> None:
    estimate = measured(asked=10.0, there=110.5, answered=11.0)
    assert_close(estimate.offset, 100.0)
    assert_close(estimate.error, 0.5)
    assert estimate.at == 11.0


def test_an_answer_before_its_question_is_refused() -> None:
    with pytest.raises(ValueError, match="before it was asked"):
        measured(asked=2.0, there=5.0, answered=1.0)


def test_nothing_known_is_off_by_anything_and_any_measurement_is_better() -> None:
    assert math.isinf(NOTHING_KNOWN.error_at(0.0))
    new = Estimate(1.0, 0.5, at=100.0)
    assert better(NOTHING_KNOWN, new) is new


def test_the_sooner_answer_is_kept_until_drift_may_have_overtaken_it() -> None:
    sharp = Estimate(1.0, 0.001, at=0.0)
    overtaken = (0.005 - 0.001) / DRIFT
    assert better(sharp, Estimate(1.1, 0.005, at=overtaken - 1)) is sharp
    later = Estimate(1.1, 0.005, at=overtaken + 1)
    assert better(sharp, later) is later
