import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.selftest.jitter import by_chance, distance, mean_and_sd
from tests.tolerance import assert_close

DRAWS = 1000
NORMALS = {
    "one": [(0.010, 0.003)],
    "two": [(0.010, 0.003), (0.004, 0.002)],
    "clipped": [(0.002, 0.004), (0.001, 0.001)],
    "and a delay without": [(0.010, 0.003), (0.020, 0.0)],
}


def draws(normals: list[tuple[float, float]], count: int = DRAWS) -> list[float]:
    generator = np.random.default_rng(7)
    parts = [np.maximum(0.0, generator.normal(mean, sd, count)) for mean, sd in normals]
    return list(np.sum(parts, axis=0))


@pytest.mark.parametrize("normals", NORMALS.values(), ids=NORMALS)
def test_draws_of_the_very_distribution_are_near_it(normals: list[tuple[float, float]]) -> None:
    delays = draws(normals)
    assert distance(delays, normals) <= by_chance(DRAWS)
    mean, sd = mean_and_sd(normals)
    assert_close(float(np.mean(delays)), mean, absolute=5 * sd / np.sqrt(DRAWS), what="mean")
    assert_close(float(np.std(delays)), sd, relative=0.1, what="standard deviation")


@pytest.mark.parametrize(
    "other", [[(0.012, 0.003)], [(0.010, 0.006)], [(0.010, 0.001)]], ids=["later", "wider", "narrower"]
)
def test_another_distribution_is_far_from_it(other: list[tuple[float, float]]) -> None:
    assert distance(draws(other), NORMALS["one"]) > 2 * by_chance(DRAWS)


def test_a_uniform_one_of_the_same_mean_and_width_is_as_far_as_it_should_be() -> None:
    half = 0.003 * np.sqrt(3)
    delays = list(np.linspace(0.010 - half, 0.010 + half, DRAWS))
    # Where their densities cross: at z with exp(-z^2 / 2) / sqrt(2 pi) = 1 / sqrt(12), which is 0.80.
    assert_close(distance(delays, NORMALS["one"]), 0.0573, absolute=0.002)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_distance_is_a_share(delays: list[float]) -> None:
    assert 0 < distance(delays, [(0.1, 0.05)]) <= 1


def test_nothing_to_compare_is_no_distance() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        distance([0.01], [(0.01, 0.0)])
    with pytest.raises(ValueError, match="nothing to compare"):
        distance([], [(0.01, 0.001)])
    assert mean_and_sd([(0.01, 0.0), (0.002, 0.0)]) == (0.012, 0.0)
