"""What packet loss does to a reliable transport: less goodput, more delay.

The bus carries messages over a loss-free host, so a profile's loss appears as its mean effect on a TCP-like sender.

Limits: one long-lived flow in congestion avoidance, losses independent of each other and of the rate, a round trip of
twice this direction's own delay. Reno's response is assumed; CUBIC and BBR do better at high rate times delay.
"""

import math

SEGMENT = 1460
"""Bytes of payload in a packet: an Ethernet frame less the IPv4 and TCP headers."""


def goodput(rate: float, delay: float, loss: float) -> float:
    """The rate in bit/s that is left of `rate` (bit/s) at a one-way `delay` (s) and a share `loss` of packets lost.

    The lower of two bounds: every lost packet is sent again, so `rate * (1 - loss)`; and the TCP throughput equation
    of RFC 5348, section 3.1 (after Padhye et al., SIGCOMM 1998, equation 31), with b = 1 and a retransmission timeout
    of four round trips: `s / (R sqrt(2p/3) + 4R (3 sqrt(3p/8)) p (1 + 32 p^2))` bytes a second.
    """
    if loss == 0:
        return rate
    round_trip = 2 * delay
    per_segment = round_trip * (math.sqrt(2 * loss / 3) + 4 * 3 * math.sqrt(3 * loss / 8) * loss * (1 + 32 * loss**2))
    response = math.inf if per_segment == 0 else 8 * SEGMENT / per_segment
    return min(rate * (1 - loss), response)


def repair_delay(delay: float, loss: float) -> float:
    """Mean seconds by which a message's end comes later because its last packet may be lost.

    Each loss costs one round trip (fast retransmit, or the tail loss probe of RFC 8985), and the repair may be lost
    again: `2 * delay * (p + p^2 + ...) = 2 * delay * p / (1 - p)`.
    """
    return 2 * delay * loss / (1 - loss)
