import math
from collections.abc import Callable

import pytest

from emulator import throttled
from emulator.interruption import Step
from emulator.throttled import LONGEST_STEP, line, parse


def test_what_is_printed_is_read_as_it_was_written() -> None:
    steps = [Step(math.inf, 0.0123, 5e-5), Step(0.1, 1e-7, 4.9e-5)]
    said = ["tick 0.004", "a library: step by step, tick by tick", *map(line, steps), ""]
    assert parse("\n".join(said)) == (0.004, steps)


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
