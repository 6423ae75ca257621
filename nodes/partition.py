"""Which client holds which training samples.

Both ways return one sorted array of positions per client: disjoint, together all samples, each at least `minimum`
long, a batch; the same generator gives the same partition.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nodes.seeds import generator as seeded

if TYPE_CHECKING:
    from nodes.config import Data

Positions = NDArray[np.int64]


def draw(data: "Data", labels: NDArray[np.int64], clients: int, minimum: int, seed: int) -> list[Positions]:
    """The partition that `data` and `seed` mean: every client draws the whole of it, and takes its own part.

    Raises ValueError where it gives a client less than `minimum`.
    """
    own = seeded(seed, "partition")
    if data.partition == "iid":
        return iid(len(labels), clients, minimum, own)
    return dirichlet(labels, clients, data.alpha, minimum, own, fill=data.fill)


def iid(samples: int, clients: int, minimum: int, generator: np.random.Generator) -> list[Positions]:
    """Samples dealt out at random, as evenly as they divide. Raises ValueError if `minimum` cannot be met."""
    _check_enough(samples, clients, minimum)
    return [np.sort(part) for part in np.array_split(generator.permutation(samples), clients)]


def dirichlet(
    labels: NDArray[np.int64],
    clients: int,
    alpha: float,
    minimum: int,
    generator: np.random.Generator,
    *,
    fill: bool = False,
) -> list[Positions]:
    """Every class divided among the clients in proportions drawn from Dirichlet(alpha).

    Hsu, Qi, Brown, arXiv 1909.06335, in its per-class form: small `alpha` leaves most clients without most classes,
    large `alpha` approaches `iid`. A draw may leave a client with less than `minimum`, with a small `alpha` nothing
    at all; with `fill` it is then filled up, sample by sample, from whichever client holds most at that moment.
    Raises ValueError if `minimum` cannot be met whatever the draw, and, without `fill`, if this draw does not.
    """
    _check_enough(len(labels), clients, minimum)
    held: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        proportions = generator.dirichlet(np.full(clients, alpha))
        borders = np.rint(np.cumsum(proportions)[:-1] * len(members)).astype(np.int64)
        for own, part in zip(held, np.split(members, borders), strict=True):
            own.extend(part.tolist())
    short = min(range(clients), key=lambda k: len(held[k]))
    if len(held[short]) < minimum and not fill:
        raise ValueError(
            f"alpha {alpha:g} leaves client {short + 1} of {clients} {_few(len(held[short]), minimum)}: raise alpha, "
            "take another seed or a smaller batch_size, or set workload.data.fill to true to give it others' samples"
        )
    for own in held:
        while len(own) < minimum:
            richest = max(held, key=len)
            own.append(richest.pop(int(generator.integers(len(richest)))))
    return [np.sort(np.array(own, dtype=np.int64)) for own in held]


def _few(held: int, minimum: int) -> str:
    return f"{held} samples, less than a batch of {minimum}" if held else "without a sample"


def _check_enough(samples: int, clients: int, minimum: int) -> None:
    if clients < 1 or minimum < 1:
        raise ValueError(f"{clients} clients with {minimum} samples each is no partition: both must be 1 or more")
    if samples < clients * minimum:
        raise ValueError(
            f"{samples} training samples are not enough for {clients} clients with a batch of {minimum} each: "
            f"they need {clients * minimum}; take a smaller batch_size, fewer clients or more train_samples"
        )
