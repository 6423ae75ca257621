import math

import pytest

from emulator.errors import EdgebedError
from emulator.runtime.interruption import INTERRUPTED, LEAST_STEPS, cost
from emulator.throttled import Step
from tests.tolerance import assert_close

SHARE = INTERRUPTED.cores


def test_an_interruption_costs_what_steps_take_longer_by_it() -> None:
    steps = [Step(1.0, 0.008), Step(SHARE, 0.010), Step(math.inf, 9.0), Step(0.5, 9.0)] * LEAST_STEPS
    # Ten milliseconds in turns of one: two of them are what ten interruptions cost.
    assert_close(cost(steps), 0.2 * INTERRUPTED.quota, relative=1e-9, what="an interruption")
    quicker = [Step(1.0, 0.010), Step(SHARE, 0.008)] * LEAST_STEPS
    assert cost(quicker) == 0.0


@pytest.mark.parametrize("cores", [1.0, SHARE, math.inf])
def test_a_quota_that_was_not_in_force_is_an_error(cores: float) -> None:
    with pytest.raises(EdgebedError, match=r"not be measured: \d+ steps of training were under a quota of 1 cores"):
        cost([Step(cores, 0.01)] * 50)


@pytest.mark.parametrize("step", [Step(math.inf, 0.0123), Step(0.1, 1e-7)])
def test_a_step_is_read_as_it_was_written(step: Step) -> None:
    assert Step.parse(str(step)) == step
