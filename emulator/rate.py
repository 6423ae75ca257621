"""How fast a channel is: at a constant rate, or as its trace says."""

import math

from emulator.profiles import Channel
from emulator.trace import Trace
from emulator.units import RATE, show


def of_channel(channel: Channel) -> Trace | None:
    """The rate that `channel` follows, from its offset on and capped by its rate; None: a constant one.

    What loss leaves of it is not in it (see `transport`). An offset that is still to be spread is 0. Raises ValueError
    where the trace is but a name (see `library`).
    """
    if channel.trace is None:
        return None
    if isinstance(channel.trace, str):
        raise ValueError(f"the trace '{channel.trace}' is but a name: it stands in no profile that was resolved")
    offset = channel.offset if isinstance(channel.offset, float) else 0.0
    return channel.trace.model.shifted(offset).capped(channel.rate)


def mean_rate(channel: Channel) -> float:
    """Bit/s of `channel` before loss: its rate, or the mean of its trace."""
    trace = of_channel(channel)
    return channel.rate if trace is None else trace.mean


def said(channel: Channel, digits: int) -> str:
    """The rate of `channel` for a reader: '10 Mbit/s', or 'trace lte, 12.3 Mbit/s mean'."""
    if channel.trace is None:
        return show(channel.rate, RATE, digits)
    name = channel.trace if isinstance(channel.trace, str) else channel.trace.name
    cap = "" if channel.rate == math.inf else f" up to {show(channel.rate, RATE, digits)}"
    mean = "" if isinstance(channel.trace, str) else f", {show(mean_rate(channel), RATE, digits)} mean"
    return f"trace {name}{cap}{mean}"
