import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.partition import dirichlet, iid

cases = {
    "samples": st.integers(20, 300),
    "clients": st.integers(1, 10),
    "minimum": st.integers(1, 2),
    "seed": st.integers(0, 2**32 - 1),
}


def assert_is_partition(parts, samples, clients, minimum):
    assert len(parts) == clients
    assert all(len(part) >= minimum for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    assert all((np.diff(part) > 0).all() for part in parts)


@settings(deadline=None)
@given(**cases)
def test_iid_covers_all_samples_once_and_evenly(samples, clients, minimum, seed):
    parts = iid(samples, clients, minimum, np.random.default_rng(seed))
    assert_is_partition(parts, samples, clients, minimum)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=200)
@given(**cases, alpha=st.sampled_from([1e-3, 0.01, 0.1, 0.5, 1.0, 100.0, 1e6]))
def test_dirichlet_covers_all_samples_once_and_gives_every_client_a_batch(samples, clients, minimum, seed, alpha):
    labels = np.random.default_rng(seed + 1).integers(10, size=samples)
    parts = dirichlet(labels, clients, alpha, minimum, np.random.default_rng(seed), fill=True)
    assert_is_partition(parts, samples, clients, minimum)


@settings(deadline=None)
@given(**cases)
def test_the_same_seed_gives_the_same_partition(samples, clients, minimum, seed):
    labels = np.arange(samples) % 10
    for draw in (
        lambda rng: iid(samples, clients, minimum, rng),
        lambda rng: dirichlet(labels, clients, 0.1, minimum, rng, fill=True),
    ):
        one, other = (draw(np.random.default_rng(seed)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def largest_class_share(alpha):
    labels = np.repeat(np.arange(10), 200)
    parts = dirichlet(labels, 10, alpha, 1, np.random.default_rng(3))
    return np.mean([np.bincount(labels[part]).max() / len(part) for part in parts])


def test_a_smaller_alpha_makes_clients_more_one_sided():
    assert largest_class_share(0.05) > largest_class_share(0.5) > largest_class_share(100.0)
    assert largest_class_share(100.0) == pytest.approx(0.1, abs=0.05)


def test_every_client_can_be_given_exactly_its_batch():
    parts = dirichlet(np.zeros(40, dtype=np.int64), 4, 1e-3, 10, np.random.default_rng(0), fill=True)
    assert [len(part) for part in parts] == [10] * 4


@pytest.mark.parametrize("draw", ["iid", "dirichlet"])
def test_too_few_samples_are_refused_with_what_is_needed(draw):
    spread = {"iid": (iid, 39), "dirichlet": (dirichlet, np.zeros(39, dtype=np.int64))}
    function, samples = spread[draw]
    alpha = {"alpha": 0.5} if draw == "dirichlet" else {}
    with pytest.raises(ValueError, match="39 training samples are not enough for 4 clients with a batch of 10 each"):
        function(samples, clients=4, minimum=10, generator=np.random.default_rng(0), **alpha)


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (1e-3, r"alpha 0.001 leaves client \d of 4 without a sample: raise alpha.* or set workload.data.fill"),
        (0.3, r"alpha 0.3 leaves client \d of 4 \d+ samples, less than a batch of 200"),
    ],
)
def test_a_draw_that_leaves_a_client_short_of_a_batch_is_refused_unless_it_may_be_filled(alpha, message):
    labels = np.arange(1000) % 3
    minimum = 1 if alpha < 0.1 else 200
    with pytest.raises(ValueError, match=message):
        dirichlet(labels, 4, alpha, minimum, np.random.default_rng(1))
    filled = dirichlet(labels, 4, alpha, minimum, np.random.default_rng(1), fill=True)
    assert_is_partition(filled, 1000, 4, minimum)


def test_no_clients_are_no_partition():
    with pytest.raises(ValueError, match="0 clients"):
        iid(10, 0, 1, np.random.default_rng(0))
