import math
from collections.abc import Callable

import pytest

from emulator import throttled
from emulator.errors import EdgebedError
from emulator.runtime.interruption import INTERRUPTED, LEAST_COMPARISONS, cost
from emulator.throttled import LONGEST_STEP, Step
from tests.tolerance import assert_close

SHARE = INTERRUPTED.cores


def test_an_interruption_costs_what_steps_take_longer_by_it() -> None:
    steps = [Step(1.0, 0.008), Step(SHARE, 0.010), Step(SHARE, 0.010), Step(0.5, 9.0), Step(math.inf, 9.0)]
    # Ten milliseconds in turns of one: two of them are what ten interruptions cost.
    assert_close(cost(steps * LEAST_COMPARISONS), 0.2 * INTERRUPTED.quota, relative=1e-9, what="an interruption")
    quicker = [Step(1.0, 0.010), Step(SHARE, 0.008)] * LEAST_COMPARISONS
    assert cost(quicker) == 0.0


def test_steps_are_compared_with_those_beside_them() -> None:
    """For a host's speed changes by the second; and one disturbance more or less does not count."""
    speeds = [1.0 + 0.5 * (number % 3) for number in range(4 * LEAST_COMPARISONS)]
    steps = [
        step for speed in speeds for step in (Step(math.inf, 9.0), Step(1.0, 0.008 / speed), Step(SHARE, 0.010 / speed))
    ]
    steps[5] = Step(SHARE, 0.1)
    assert_close(cost(steps), 0.2 * INTERRUPTED.quota, relative=1e-9, what="an interruption")


@pytest.mark.parametrize("cores", [1.0, SHARE, math.inf])
def test_a_quota_that_was_not_in_force_is_an_error(cores: float) -> None:
    with pytest.raises(EdgebedError, match=r"quotas of 1 cores.* could be compared 0 times, \d are needed"):
        cost([Step(cores, 0.01)] * 50)


@pytest.mark.parametrize("step", [Step(math.inf, 0.0123), Step(0.1, 1e-7)])
def test_a_step_is_read_as_it_was_written(step: Step) -> None:
    assert Step.parse(str(step)) == step


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((5.0, 1.0, 0.9), 0),  # the first call has memory to ask for as well
        ((5.0, 1.1), 1),
        ((0.5, 0.4), 0),
        ((9.0, 9.0), 2),  # the least there is, however long it takes
    ],
)
def test_a_step_is_of_the_largest_size_that_is_soon_over(
    seconds: tuple[float, ...], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seconds`: of the calls at its own size, in shares of the longest; at half the size they take half as long."""
    calls: list[int] = []

    def program(name: str) -> Callable[[dict[str, int]], Callable[[], object]]:
        return lambda config: lambda: calls.append(config["size"])

    def timed(step: Callable[[], object]) -> float:
        step()
        number = sum(1 for size in calls if size == calls[-1]) - 1
        return LONGEST_STEP * seconds[min(number, len(seconds) - 1)] / 2 ** calls[-1]

    monkeypatch.setattr(throttled, "computation", program)
    monkeypatch.setattr(throttled, "sizer", lambda name: lambda own: [{"size": size} for size in range(3)])
    monkeypatch.setattr(throttled, "_timed", timed)
    throttled._of_program("any", "{}")()
    assert calls[-1] == chosen
