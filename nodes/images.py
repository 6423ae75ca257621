"""What is done to images before a model sees them: float32 (n, channels, height, width) in and out."""

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
MARGIN = 4  # pixels that a random crop may be off the centre, as is customary for CIFAR


def augmented(images: Images, generator: np.random.Generator) -> Images:
    """Every image moved by up to `MARGIN` pixels each way, with 0, the mean colour, where nothing was, and mirrored
    with probability one half."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    down, right = generator.integers(0, 2 * MARGIN + 1, size=(2, count))
    mirrored = generator.random(count) < 0.5
    rows = down[:, None] + np.arange(height)
    columns = right[:, None] + np.arange(width)
    columns[mirrored] = columns[mirrored, ::-1]
    every = np.arange(count)[:, None, None]
    # Indexed this way the channels come last.
    cropped = padded[every, :, rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(cropped.transpose(0, 3, 1, 2))


def resized(images: Images, side: int) -> Images:
    """Bilinear, to `side` pixels each way; pixels are squares, and their values those of their centres."""
    down, across = (_interpolation(length, side) for length in images.shape[2:])
    result: Images = (down @ images @ across.T).astype(np.float32)
    return result


def _interpolation(length: int, wanted: int) -> NDArray[np.float32]:
    """A matrix (wanted, length) from values at `length` places to those at `wanted`."""
    places = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
    left = np.minimum(places.astype(int), max(length - 2, 0))
    matrix: NDArray[np.float32] = np.zeros((wanted, length), dtype=np.float32)
    matrix[np.arange(wanted), left] = 1 - (places - left)
    if length > 1:
        matrix[np.arange(wanted), left + 1] = places - left
    return matrix
