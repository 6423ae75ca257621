"""LGI and GDA against the paper's equations, written down directly on the gradients in double precision."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.alignment import (
    Bounds,
    Rules,
    align,
    angles,
    consistent,
    dispersion,
    leader_angles,
    regulariser,
    scores,
    selected,
    selection_share,
    threshold,
)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between two vectors; pi/2 if one of them is (nearly) 0."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return math.acos(min(max(float(a @ b) / norms, -1.0), 1.0)) if norms > 1e-9 else math.pi / 2


def turned(g: np.ndarray, leader: np.ndarray, lam: float) -> np.ndarray:
    """`g` a step nearer to `leader`, as long along itself as before."""
    if min(np.linalg.norm(g), np.linalg.norm(leader)) < 1e-9:
        return g
    own, to = g / np.linalg.norm(g), leader / np.linalg.norm(leader)
    return g + lam * np.linalg.norm(g) * (to - (own @ to) * own)


def transcription(g: np.ndarray, t: int, rounds: int, nus: list[float], rules: Rules, rng: np.random.Generator):
    """Algorithms 1 and 2 word for word: the update, the leaders and S_hat. `nus` collects the dispersions."""
    clients = range(len(g))
    theta = [
        sum(angle(g[i], g[j]) for j in clients if j != i) / (len(g) - 1) if len(g) > 1 else 0.0 for i in clients
    ]  # Eq 1
    nu = math.sqrt(sum((x - sum(theta) / len(theta)) ** 2 for x in theta) / len(theta))
    nus.append(nu)
    k = rules.k_min
    if max(nus) > min(nus):
        k += t / rounds * (max(nus) - nu) / (max(nus) - min(nus)) * (rules.k_max - rules.k_min)  # Eq 2
    count = max(math.ceil(k * len(g) - 1e-9), 1)
    leaders = sorted(sorted(clients, key=lambda i: (round(theta[i], 6), i))[:count])  # Eq 3
    if rules.leader == "all":
        leaders = list(clients)
    elif rules.leader == "random":
        leaders = sorted(rng.choice(len(g), count, replace=False).tolist())
    leader = sum(g[i] for i in leaders) / len(leaders)  # Eq 4
    if np.linalg.norm(leader) < 1e-6 * max(np.linalg.norm(g[i]) for i in leaders):
        leader = 0 * leader
    to_leader = [angle(g[i], leader) for i in clients]  # Eq 5
    mean = sum(to_leader) / len(g)
    std = math.sqrt(sum((x - mean) ** 2 for x in to_leader) / len(g))
    limit = max(min(mean - rules.eta * std, math.pi / 2), 0.0)  # Eq 6
    chosen = [i for i in clients if to_leader[i] <= limit + 1e-6]
    chosen = chosen or [min(clients, key=lambda i: (round(to_leader[i], 6), i))]
    if rules.selection == "leader":
        return leader, leaders, leaders
    if rules.selection == "random":
        chosen = sorted(rng.choice(len(g), len(chosen), replace=False).tolist())
    gradients = [turned(g[i], leader, rules.lam) if rules.steered else g[i] for i in chosen]  # Eq 7 with footnote 6
    return sum(gradients) / (1 if rules.update == "sum" else len(chosen)), leaders, chosen  # Eq 8


def assert_follows_the_equations(g: np.ndarray, rules: Rules, rounds: int = 5) -> None:
    bounds, nus = Bounds(), []
    ours, theirs = (np.random.default_rng(7) for _ in range(2))
    for t in range(1, rounds + 1):
        # Another dispersion each round, so that Eq 2 has something to compare.
        now = g + 0.1 * t * np.roll(g, 1, axis=0) if t % 2 else g
        update, leaders, chosen = transcription(now, t, rounds, nus, rules, theirs)
        alignment = align(now @ now.T, t, rounds, bounds, rules, ours)
        assert list(alignment.leaders) == leaders
        assert list(alignment.aligned) == chosen
        np.testing.assert_allclose(now.T @ alignment.weights, update, rtol=1e-9, atol=1e-9 * np.abs(g).max())


RULES = st.builds(
    Rules,
    eta=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]),
    k_min=st.sampled_from([0.1, 0.2, 0.5]),
    k_max=st.sampled_from([0.5, 0.8, 1.0]),
    lam=st.sampled_from([0.0, 5e-4, 0.5]),
    leader=st.sampled_from(["consistent", "all", "random"]),
    selection=st.sampled_from(["threshold", "leader", "random"]),
    update=st.sampled_from(["mean", "sum"]),
    steered=st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(
    clients=st.integers(1, 9),
    dimension=st.integers(2, 30),
    seed=st.integers(0, 2**32 - 1),
    shared=st.sampled_from([0.0, 0.5, 3.0]),
    rules=RULES,
)
def test_random_gradients_follow_the_equations(clients, dimension, seed, shared, rules):
    rng = np.random.default_rng(seed)
    assert_follows_the_equations(rng.normal(size=(clients, dimension)) + shared * rng.normal(size=dimension), rules)


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


@settings(deadline=None)
@given(rules=RULES)
@pytest.mark.parametrize("name", [name for name in ADVERSARIAL if name != "tiny"])
def test_adversarial_gradients_follow_the_equations(name, rules):
    g = np.array(ADVERSARIAL[name])
    update, leaders, chosen = transcription(g, 1, 5, [], rules, np.random.default_rng(7))
    ours = align(g @ g.T, 1, 5, Bounds(), rules, np.random.default_rng(7))
    assert (list(ours.leaders), list(ours.aligned)) == (leaders, chosen)
    np.testing.assert_allclose(g.T @ ours.weights, update, atol=1e-9 * max(np.abs(g).max(), 1))


@settings(deadline=None)
@given(rules=RULES)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_whatever_comes_somebody_takes_part_and_all_figures_are_finite(name, rules):
    g = np.array(ADVERSARIAL[name])
    ours = align(g @ g.T, 1, 1, Bounds(), rules, np.random.default_rng(7))
    assert len(ours.aligned) >= 1
    assert len(ours.leaders) >= 1
    assert np.isfinite([ours.share, ours.dispersion, ours.mean_angle, ours.leader_angle, ours.limit]).all()
    assert np.isfinite(ours.weights).all()
    if not rules.steered and rules.update == "mean":
        assert ours.weights.sum() == pytest.approx(1)


def test_with_nothing_filtered_the_update_is_the_mean_of_all():
    g = np.random.default_rng(1).normal(size=(7, 20))
    ours = align(g @ g.T, 3, 9, Bounds(), Rules(leader="all", selection="leader"))
    assert ours.weights == pytest.approx(np.full(7, 1 / 7))


def test_a_steered_gradient_turns_toward_the_leader_and_keeps_its_part_along_itself():
    g = np.array([E1, E2])
    rules = Rules(eta=-9.0, k_min=0.5, k_max=0.5, lam=0.3, steered=True, update="sum")
    update = g.T @ align(g @ g.T, 1, 1, Bounds(), rules).weights  # the leader is the first client
    assert update == pytest.approx(E1 + (E2 + 0.3 * E1))


@pytest.mark.parametrize("name", ["two clients", "one against the rest", "duplicates", "one zero among equals"])
def test_the_regularisers_derivatives_are_those_of_eq_7(name):
    g = np.array(ADVERSARIAL[name])
    leaders, chosen, lam = np.array([0, 1]), np.arange(len(g)), 0.7

    def regularising(g):
        leader = g[leaders].mean(axis=0)
        return lam * sum(1 - math.cos(angle(g[i], leader)) for i in chosen if np.linalg.norm(g[i]) > 0)

    found = regulariser(g @ g.T, leaders, chosen, lam) @ g
    for k in range(len(g)):
        if np.linalg.norm(g[k]) > 0:
            for d in range(g.shape[1]):
                step = np.zeros_like(g)
                step[k, d] = 1e-6
                difference = (regularising(g + step) - regularising(g - step)) / 2e-6
                assert found[k, d] == pytest.approx(difference, abs=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 1e-3, 1e3, 1e6]))
def test_the_scale_of_the_gradients_decides_nothing(seed, scale):
    g = np.random.default_rng(seed).normal(size=(6, 8))
    one, other = (align(x @ x.T, 1, 9, Bounds(), Rules()) for x in (g, scale * g))
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
