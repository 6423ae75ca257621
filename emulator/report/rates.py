"""A rate that changes over time, as a chart of characters."""

import math
from collections.abc import Iterator

from emulator.report.text import BLOCKS, seconds
from emulator.trace import Trace
from emulator.units import RATE, show

WIDTH, HEIGHT = 72, 8
"""Characters of the chart, beside what stands at its axis."""
DIGITS = 3


def chart(trace: Trace) -> list[str]:
    """One period: how much goes through in each of WIDTH equal parts of it, from 0 up to the fastest of them."""
    part = trace.period / WIDTH
    means = [trace.carried(part * place, part * (place + 1)) * 8 / part for place in range(WIDTH)]
    top = max(means)
    labels = {HEIGHT - 1: show(top, RATE, DIGITS), 0: "0"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(row, ''):>{margin}} |{''.join(_row(means, top, row))}".rstrip() for row in _from_the_top()]
    end = seconds(trace.period)
    return [*lines, f"{'':{margin}} 0 s{end:>{WIDTH - 2}}"]


def summary(trace: Trace) -> str:
    """'mean 7.6 Mbit/s, min 0 bit/s, max 27 Mbit/s, period 300 s'."""
    mean, least, most = (show(rate, RATE, DIGITS) for rate in (trace.mean, min(trace.rates), max(trace.rates)))
    return f"mean {mean}, min {least}, max {most}, period {trace.period:g} s, {len(trace.times)} pieces"


def _from_the_top() -> range:
    return range(HEIGHT - 1, -1, -1)


def _row(means: list[float], top: float, row: int) -> Iterator[str]:
    """The part of each column that lies in a row, 0 the lowest; a rate above 0 is never drawn as nothing."""
    for mean in means:
        eighths = max(math.ceil(mean / top), round(mean / top * HEIGHT * len(BLOCKS))) - row * len(BLOCKS)
        yield " " if eighths <= 0 else BLOCKS[min(eighths, len(BLOCKS)) - 1]
