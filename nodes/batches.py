"""A client's endless stream of mini-batches."""

import numpy as np
from numpy.typing import NDArray


class Batches:
    """Iterates over arrays of `size` positions out of `samples`, each epoch in a new order of its own generator.

    Every batch is full; what is left at the end of an epoch is too short for one and waits for the next shuffle.
    Raises ValueError when one batch needs more samples than there are.
    """

    def __init__(self, samples: int, size: int, generator: np.random.Generator) -> None:
        if not 1 <= size <= samples:
            raise ValueError(f"a batch of {size} cannot be taken from {samples} samples")
        self._samples = samples
        self._size = size
        self._generator = generator
        self._order = np.empty(0, dtype=np.int64)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> NDArray[np.int64]:
        if len(self._order) < self._size:
            self._order = self._generator.permutation(self._samples)
        batch, self._order = self._order[: self._size], self._order[self._size :]
        return batch
