"""Images and labels: scikit-learn's digits (embedded), CIFAR-10 and CIFAR-100. NumPy only.

A `Source` knows all labels of a split and reads pixels when asked, so that a client takes its own share of a large
data set without ever holding the rest.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nodes import cifar
from nodes.images import augmented, resized
from nodes.seeds import generator

if TYPE_CHECKING:
    from nodes.config import Data


@dataclass(frozen=True)
class Kind:
    """What is known of a data set before it is read.

    `shape`: channels, height, width. `mean` and `deviation`: per channel, in the stored pixels' own unit; an image
    becomes `(pixels - mean) / deviation`.
    """

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


KINDS = {
    # 1,797 images of the optical recognition set (UCI), 8x8, 0 to 16: a fifth of them tests.
    "digits": Kind((1, 8, 8), 10, train=1437, test=360, mean=(0.0,), deviation=(16.0,)),
    # Mean and deviation of the 50,000 training images, as is customary.
    "cifar10": Kind(
        (3, 32, 32),
        10,
        train=50_000,
        test=10_000,
        mean=(0.4914 * 255, 0.4822 * 255, 0.4465 * 255),
        deviation=(0.2470 * 255, 0.2435 * 255, 0.2616 * 255),
    ),
    "cifar100": Kind(
        (3, 32, 32),
        100,
        train=50_000,
        test=10_000,
        mean=(0.5071 * 255, 0.4865 * 255, 0.4409 * 255),
        deviation=(0.2673 * 255, 0.2564 * 255, 0.2762 * 255),
    ),
}


@dataclass(frozen=True)
class Samples:
    """Images in memory: `pixels` uint8 (n, channels, height, width), `labels` int64 (n,). `side`: what images are
    enlarged to, in pixels; none: as they are."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    kind: Kind
    side: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def images(
        self, positions: NDArray[np.int64] | slice, augment: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """The images at `positions`, scaled: float32 (n, channels, height, width).

        With `augment`, each is cropped and perhaps mirrored as that generator decides.
        """
        mean = np.array(self.kind.mean, dtype=np.float32)[:, None, None]
        deviation = np.array(self.kind.deviation, dtype=np.float32)[:, None, None]
        scaled: NDArray[np.float32] = (self.pixels[positions].astype(np.float32) - mean) / deviation
        if augment is not None:
            scaled = augmented(scaled, augment)
        return scaled if self.side is None else resized(scaled, self.side)


@dataclass(frozen=True)
class Source:
    """One split of a data set: all its labels at hand, its pixels still where they are.

    `parts` lie one after the other; sample `k` of the source is row `rows[k]` of them.
    """

    parts: Sequence[NDArray[np.uint8]]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    kind: Kind
    side: int | None = None

    def take(self, positions: NDArray[np.int64] | slice = slice(None)) -> Samples:
        """Read the samples at `positions` into memory, in that order."""
        rows = self.rows[positions]
        pixels = np.empty((len(rows), *self.kind.shape), dtype=np.uint8)
        start = 0
        for part in self.parts:
            inside = (rows >= start) & (rows < start + len(part))
            pixels[inside] = part[rows[inside] - start]
            start += len(part)
        return Samples(pixels, self.labels[positions], self.kind, self.side)


def load(data: "Data", split: Literal["train", "test"], seed: int) -> Source:
    """The training or the test samples that `data` and `seed` select, in an order that `seed` alone decides.

    Raises ValueError, with what to do, when the files are missing or not what they should be.
    """
    kind = KINDS[data.name]
    if data.name == "digits":
        parts, labels = _digits()
        # The set comes in one piece: every seed has its own test images.
        order = generator(seed, "split").permutation(len(labels))
        rows = order[: kind.test] if split == "test" else order[kind.test :]
    else:
        parts, labels = cifar.read(cifar.ARCHIVES[data.name], Path(data.folder), split, download=data.download)
        rows = generator(seed, f"{split} order").permutation(len(labels))
    wanted = data.train_samples if split == "train" else data.test_samples
    rows = rows[:wanted]
    return Source(parts, labels[rows], rows, kind, data.resize)


@cache
def _digits() -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """scikit-learn's copy of the digits, 64 pixels and the label a row.

    Its file is read where it lies, for importing scikit-learn would take each node longer than all its other data.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return [rows[:, :-1].reshape(-1, 1, 8, 8)], rows[:, -1].astype(np.int64)
