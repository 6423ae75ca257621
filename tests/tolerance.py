"""The one way in which tests compare times and rates: a failure shows both values and what was allowed."""

ROUNDING = 1e-9
"""What floating point alone may make of equal figures, relative or absolute."""


def assert_close(
    measured: float, expected: float, *, relative: float = ROUNDING, absolute: float = ROUNDING, what: str = "value"
) -> None:
    """Assert that `measured` lies within `relative` times `expected`, or within `absolute`, of `expected`."""
    if measured == expected:  # two infinities, for one
        return
    error, allowed = abs(measured - expected), max(relative * abs(expected), absolute)
    assert error <= allowed, (
        f"{what}: measured {measured:.9g}, expected {expected:.9g}: off by {error:.3g}, allowed are {allowed:.3g}"
    )
