"""LGI and GDA against the paper's equations, written down directly on the gradients in double precision."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.alignment import (
    Bounds,
    align,
    angles,
    consistent,
    dispersion,
    leader_angles,
    scores,
    selected,
    selection_share,
    threshold,
)

DEFAULTS = {"eta": -1.0, "k_min": 0.2, "k_max": 0.8}


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between two vectors; pi/2 if one of them is (nearly) 0."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return math.acos(min(max(float(a @ b) / norms, -1.0), 1.0)) if norms > 1e-9 else math.pi / 2


def transcription(g: np.ndarray, t: int, rounds: int, nus: list[float], eta: float, k_min: float, k_max: float):
    """Algorithms 1 and 2 word for word: the update, the leaders and S_hat. `nus` collects the dispersions."""
    clients = range(len(g))
    theta = [
        sum(angle(g[i], g[j]) for j in clients if j != i) / (len(g) - 1) if len(g) > 1 else 0.0 for i in clients
    ]  # Eq 1
    nu = math.sqrt(sum((x - sum(theta) / len(theta)) ** 2 for x in theta) / len(theta))
    nus.append(nu)
    k = k_min
    if max(nus) > min(nus):
        k += t / rounds * (max(nus) - nu) / (max(nus) - min(nus)) * (k_max - k_min)  # Eq 2
    count = max(math.ceil(k * len(g) - 1e-9), 1)
    leaders = sorted(sorted(clients, key=lambda i: (round(theta[i], 6), i))[:count])  # Eq 3
    leader = sum(g[i] for i in leaders) / len(leaders)  # Eq 4
    to_leader = [angle(g[i], leader) for i in clients]  # Eq 5
    mean = sum(to_leader) / len(g)
    std = math.sqrt(sum((x - mean) ** 2 for x in to_leader) / len(g))
    limit = max(min(mean - eta * std, math.pi / 2), 0.0)  # Eq 6
    chosen = [i for i in clients if to_leader[i] <= limit + 1e-6]
    chosen = chosen or [min(clients, key=lambda i: (round(to_leader[i], 6), i))]
    return sum(g[i] for i in chosen) / len(chosen), leaders, chosen  # Eq 7, 8 with footnote 6, as a mean


def assert_follows_the_equations(g: np.ndarray, rounds: int = 5, **options: float) -> None:
    options = {**DEFAULTS, **options}
    bounds, nus = Bounds(), []
    for t in range(1, rounds + 1):
        # Another dispersion each round, so that Eq 2 has something to compare.
        now = g + 0.1 * t * np.roll(g, 1, axis=0) if t % 2 else g
        update, leaders, chosen = transcription(now, t, rounds, nus, **options)
        ours = align(now @ now.T, t, rounds, bounds, **options)
        assert list(ours.leaders) == leaders
        assert list(ours.aligned) == chosen
        np.testing.assert_allclose(now.T @ ours.weights, update, rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(
    clients=st.integers(1, 9),
    dimension=st.integers(2, 30),
    seed=st.integers(0, 2**32 - 1),
    eta=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]),
    shared=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_random_gradients_follow_the_equations(clients, dimension, seed, eta, shared):
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(clients, dimension)) + shared * rng.normal(size=dimension)
    assert_follows_the_equations(g, eta=eta)


E1, E2 = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
ADVERSARIAL = {
    "one client": [E1],
    "one client without gradient": [0 * E1],
    "two clients": [E1, E1 + E2],
    "two opposite": [E1, -E1],
    "parallel of different lengths": [E1, 1e-3 * E1, 1e3 * E1, 7 * E1],
    "opposite pairs": [E1, -E1, E2, -E2],
    "all zero": [0 * E1] * 4,
    "one zero among equals": [E1, E1, 0 * E1, E1],
    "duplicates": [E1, E2, E1, E2, E1],
    "one against the rest": [E1, E1 + 0.1 * E2, E1 - 0.1 * E2, -5 * E1],
    "tiny": [1e-12 * E1, 1e-12 * (E1 + E2), 1e-12 * E2],
}


@pytest.mark.parametrize("eta", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", [name for name in ADVERSARIAL if name != "tiny"])
def test_adversarial_gradients_follow_the_equations(name, eta):
    g = np.array(ADVERSARIAL[name])
    options = {**DEFAULTS, "eta": eta}
    update, leaders, chosen = transcription(g, 1, 5, [], **options)
    ours = align(g @ g.T, 1, 5, Bounds(), **options)
    assert (list(ours.leaders), list(ours.aligned)) == (leaders, chosen)
    np.testing.assert_allclose(g.T @ ours.weights, update, atol=1e-12)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_weights_are_a_mean_over_at_least_one_client_whatever_comes(name):
    g = np.array(ADVERSARIAL[name])
    for k in (0.2, 1.0):
        ours = align(g @ g.T, 1, 1, Bounds(), eta=1.0, k_min=k, k_max=1.0)
        assert len(ours.aligned) >= 1
        assert ours.weights.sum() == pytest.approx(1)
        assert np.isfinite([ours.share, ours.dispersion, ours.mean_angle]).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 1e-3, 1e3, 1e6]))
def test_the_scale_of_the_gradients_decides_nothing(seed, scale):
    g = np.random.default_rng(seed).normal(size=(6, 8))
    one, other = (align(x @ x.T, 1, 9, Bounds(), **DEFAULTS) for x in (g, scale * g))
    assert list(one.aligned) == list(other.aligned)


def test_cosines_beyond_one_are_clamped():
    gram = np.array([[1.0, 1.0 + 1e-7], [1.0 + 1e-7, 1.0]])
    assert angles(gram).tolist() == [[0, 0], [0, 0]]


def test_scores_are_mean_angles_to_the_others():
    g = np.array([E1, E2, -E1])
    assert scores(angles(g @ g.T)) == pytest.approx([3 * math.pi / 4, math.pi / 2, 3 * math.pi / 4])


def test_clients_that_agree_equally_are_chosen_in_their_order():
    assert consistent(np.array([1.0, 1.0 + 1e-9, 1.0, 0.5]), 0.5).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("share", "clients", "chosen"),
    [(0.2, 5, 1), (0.2, 10, 2), (0.2, 4, 1), (0.6, 5, 3), (0.7, 10, 7), (0.01, 3, 1), (1.0, 3, 3)],
)
def test_the_share_is_rounded_up_but_not_by_rounding_errors(share, clients, chosen):
    assert len(consistent(np.zeros(clients), share)) == chosen


def test_the_share_is_k_min_while_the_bounds_coincide():
    bounds = Bounds()
    bounds.include(0.3)
    assert selection_share(1, 10, 0.3, bounds, 0.2, 0.8) == 0.2


def test_the_share_grows_with_the_rounds_and_with_agreement():
    bounds = Bounds(low=0.1, high=0.5)
    assert selection_share(10, 10, 0.1, bounds, 0.2, 0.8) == pytest.approx(0.8)
    assert selection_share(5, 10, 0.1, bounds, 0.2, 0.8) == pytest.approx(0.5)
    assert selection_share(10, 10, 0.3, bounds, 0.2, 0.8) == pytest.approx(0.5)
    assert selection_share(10, 10, 0.5, bounds, 0.2, 0.8) == pytest.approx(0.2)


def test_the_dispersion_is_that_of_the_population():
    assert dispersion(np.array([1.0, 3.0])) == 1.0


def test_the_leader_is_the_mean_of_the_chosen_gradients():
    g = np.array([E1, E2, -E1])
    chosen = np.array([0, 1])
    assert leader_angles(g @ g.T, chosen) == pytest.approx([math.pi / 4, math.pi / 4, 3 * math.pi / 4])


def test_leaders_that_cancel_out_stand_at_a_right_angle_to_all():
    thirds = [2 * math.pi * k / 3 for k in range(3)]
    g = np.array([[math.cos(x), math.sin(x)] for x in thirds])
    assert leader_angles(g @ g.T, np.arange(3)) == pytest.approx([math.pi / 2] * 3)


def test_the_threshold_stays_between_zero_and_a_right_angle():
    spread = np.array([0.0, 1.0])
    assert threshold(spread, 0.5) == pytest.approx(0.25)
    assert threshold(spread, 9.0) == 0.0
    assert threshold(spread, -9.0) == math.pi / 2


def test_an_empty_selection_is_the_closest_client():
    assert selected(np.array([2.0, 1.9, 1.9]), math.pi / 2).tolist() == [1]
