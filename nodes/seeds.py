"""Random generators that depend on what they are for, never on who ran first."""

import zlib

import numpy as np


def sequence(seed: int, purpose: str, index: int = 0) -> np.random.SeedSequence:
    """The entropy of one purpose (say "batches") of one client or layer (`index`) under the run's `seed`.

    CRC-32 stands for the purpose because Python's own `hash` of a text differs between processes.
    """
    return np.random.SeedSequence((seed, zlib.crc32(purpose.encode()), index))


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A generator of its own for one purpose of one client or layer."""
    return np.random.default_rng(sequence(seed, purpose, index))
