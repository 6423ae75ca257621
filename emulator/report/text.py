"""Numbers as a reader wants them: about three digits, each with its unit; and what charts of characters are made of."""

from datetime import timedelta

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""From an eighth of a line's height to all of it."""


def seconds(value: float) -> str:
    """A duration of at least 0 s, in six characters: ms below 1 s, hours from 10 000 s on."""
    if value == 0:
        return "0 ms"
    if value < 0.0009995:
        return f"{1e6 * value:.0f} us"
    if value < 0.9995:
        return f"{1e3 * value:.{1 if value < 0.00995 else 0}f} ms"
    return f"{_three_digits(value)} s" if value < 9999.5 else f"{_three_digits(value / 3600)} h"


def size(value: float) -> str:
    """Bytes, in binary units as the profiles are written; in seven characters up to 999 TiB."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{value:.{1 if value < 9.95 and unit != 'B' else 0}f} {unit}"


def share(value: float) -> str:
    """A fraction of 1 in per cent, to a tenth."""
    return f"{100 * value:.1f} %"


def percent(value: float) -> str:
    """A fraction of 1 in whole per cent."""
    return f"{100 * value:.0f} %"


def waited_for(latency: float, slowest: str | None) -> str:
    """A round's latency in seconds, and the client that it waited for."""
    return f"round {seconds(latency)}" + (f", slowest {slowest}" if slowest else "")


def eta(left: float) -> str:
    """Seconds of this host that are left, as hours, minutes and seconds."""
    return f"ETA {timedelta(seconds=round(left))}"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
