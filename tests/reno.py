"""A TCP-like sender over lossy packets, event by event: what `emulator.transport` sums up in a formula.

Sans-IO and seeded. Reno's window: doubled a round trip up to 64 packets, then one packet more a round trip, halved
once for all losses of a round trip. A packet counts as lost when one sent three later is acknowledged (selective
acknowledgements, no reordering), or when nothing is for four round trips; then the window is one packet, and the next
timeout double, up to 64 times. What is lost is sent again. Nothing but the losses limits the sender, and no packet
waits for another: it is acknowledged a round trip after it was sent.
"""

import heapq
import random
from collections.abc import Iterator

from emulator.loss import Losses

TIMEOUT = 4
DOUBLINGS = 64


def lost(losses: Losses, seed: int) -> Iterator[bool]:
    """Whether each packet is, one after the other."""
    source = random.Random(seed)
    bad = source.random() < losses.enter / (losses.enter + losses.leave)
    while True:
        yield source.random() < (losses.bad if bad else losses.good)
        bad = source.random() >= losses.leave if bad else source.random() < losses.enter


def segments_per_round_trip(losses: Losses, packets: int, seed: int, most: int = 2000) -> float:
    """How many arrive in a round trip, on average, until `packets` have; `most` is the largest window."""
    fate = lost(losses, seed)
    now, window, threshold = 0.0, 2.0, 64.0
    sent, arrived = 0, 0
    newest, reduced = -1, -1  # the last one acknowledged, and the last one sent when the window was last reduced
    under_way: dict[int, None] = {}  # in the order of sending
    acknowledged: list[tuple[float, int]] = []
    backoff, timer = 1, float(TIMEOUT)
    while arrived < packets:
        while len(under_way) < min(window, most):
            if not under_way:
                timer = now + TIMEOUT * backoff
            under_way[sent] = None
            if not next(fate):
                heapq.heappush(acknowledged, (now + 1, sent))
            sent += 1
        if not acknowledged or acknowledged[0][0] > timer:
            now, reduced = timer, sent - 1
            threshold, window = max(len(under_way) / 2, 2), 1.0
            under_way.clear()
            backoff = min(2 * backoff, DOUBLINGS)
            timer = now + TIMEOUT * backoff
            continue
        now, number = heapq.heappop(acknowledged)
        arrived, backoff, timer = arrived + 1, 1, now + TIMEOUT
        newest = max(newest, number)
        under_way.pop(number, None)
        if number > reduced:
            window += 1 if window < threshold else 1 / window
        given_up = []
        for other in under_way:
            if other > newest - 3:
                break
            given_up.append(other)
        for other in given_up:
            del under_way[other]
        if given_up and given_up[-1] > reduced:
            threshold = window = max(window / 2, 2)
            reduced = sent - 1
    return arrived / now
