"""The distribution of a way's jitter: the sum of its links' delays, each normal and clipped at 0. Times in seconds."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

POINTS = 400
"""By which each further link's distribution is represented: its quantiles, equally likely."""
SIGNIFICANCE = 1e-3
"""How likely so large a distance is by chance alone."""

Normal = tuple[float, float]
Floats = npt.NDArray[np.float64]


def mean_and_sd(normals: Sequence[Normal]) -> tuple[float, float]:
    """Of the sum of delays, given as mean and standard deviation of what they would be, were they not clipped at 0."""
    moments = [_clipped(mean, sd) for mean, sd in normals]
    return math.fsum(mean for mean, _ in moments), math.sqrt(math.fsum(variance for _, variance in moments))


def distance(delays: Sequence[float], normals: Sequence[Normal]) -> float:
    """The Kolmogorov-Smirnov distance of measured `delays` from that sum's distribution: 0 to 1.

    Raises ValueError where nothing jitters, or nothing was measured.
    """
    if not delays or not any(sd for _, sd in normals):
        raise ValueError("no jitter, or no delay: nothing to compare")
    widest = max(normals, key=lambda normal: normal[1])
    others = list(normals)
    others.remove(widest)
    shifts = np.zeros(1)
    for normal in others:
        shifts = np.add.outer(shifts, _quantiles(normal)).ravel()
        shifts = np.quantile(shifts, _places(min(len(shifts), POINTS)))
    # Clipped at 0, the distribution may jump there: each side of a step is compared with its own.
    found, counts = np.unique(np.asarray(delays, dtype=np.float64), return_counts=True)
    upto = np.cumsum(counts) / len(delays)
    before = np.concatenate(([0.0], upto[:-1]))
    at = np.array([float(np.mean(_below(delay - shifts, widest))) for delay in found])
    left = np.array([float(np.mean(_below(np.nextafter(delay, -np.inf) - shifts, widest))) for delay in found])
    return float(max(np.max(np.abs(at - upto)), np.max(np.abs(left - before))))


def by_chance(count: int) -> float:
    """The distance that `count` draws from the very distribution exceed once in 1/SIGNIFICANCE times (Kolmogorov's
    limit, `sqrt(-ln(a / 2) / 2n)`)."""
    return math.sqrt(-math.log(SIGNIFICANCE / 2) / (2 * count))


def _clipped(mean: float, sd: float) -> tuple[float, float]:
    """Mean and variance of `max(0, X)`, X normal."""
    if sd == 0:
        return max(0.0, mean), 0.0
    z = mean / sd
    density, inside = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), _phi(z)
    first = mean * inside + sd * density
    second = (mean * mean + sd * sd) * inside + mean * sd * density
    return first, max(0.0, second - first * first)


def _below(values: Floats, normal: Normal) -> Floats:
    """The probability that `max(0, X)` is at most each value."""
    mean, sd = normal
    return np.array([0.0 if value < 0 else _phi((value - mean) / sd) for value in values])


def _quantiles(normal: Normal) -> Floats:
    mean, sd = normal
    if sd == 0:
        return np.array([max(0.0, mean)])
    return np.array([max(0.0, mean + sd * NormalDist().inv_cdf(place)) for place in _places(POINTS)])


def _places(count: int) -> Floats:
    return (np.arange(count) + 0.5) / count


def _phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
