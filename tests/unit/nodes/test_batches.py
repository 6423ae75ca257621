from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.batches import Batches
from nodes.seeds import generator


@settings(deadline=None)
@given(samples=st.integers(1, 50), size=st.integers(1, 50), seed=st.integers(0, 1000))
def test_batches_are_full_and_repeat_nothing_within_an_epoch(samples, size, seed):
    if size > samples:
        with pytest.raises(ValueError, match=f"a batch of {size} cannot be taken from {samples} samples"):
            Batches(samples, size, np.random.default_rng(seed))
        return
    stream = Batches(samples, size, np.random.default_rng(seed))
    per_epoch = samples // size
    for _ in range(3):
        epoch = np.concatenate(list(islice(stream, per_epoch)))
        assert len(epoch) == per_epoch * size
        assert len(set(epoch.tolist())) == len(epoch)
        assert epoch.min() >= 0
        assert epoch.max() < samples


def test_epochs_differ_in_order():
    stream = Batches(100, 100, np.random.default_rng(0))
    assert not np.array_equal(next(stream), next(stream))


def test_generators_depend_on_seed_purpose_and_client_alone():
    def draw(*key):
        return generator(*key).integers(2**60)

    assert draw(1, "batches", 2) == draw(1, "batches", 2)
    assert len({draw(1, "batches", 2), draw(2, "batches", 2), draw(1, "split", 2), draw(1, "batches", 1)}) == 4
