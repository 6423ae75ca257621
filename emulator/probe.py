"""How fast a core is at the moment: what fixed work takes it, next to a computation.

Who else uses a processor, such as another virtual machine on the other thread of its core, slows work down by a half
for seconds at a time, and takes no CPU time away that anybody counts. What a computation took does not say whether it
was the computation or the core. The probe does, for it is always the same, and computations are said to take as many
times as long as it does: where it takes p, c p / p0 of the CPU seconds c where it takes p0.

How much of that is so depends on what the other does. Beside one that keeps the vector units busy matrix products take
up to 1.7 times as long, training 1.4; beside one that wants the caches it is copies that tell. Hence two kinds of work,
and the geometric mean of both. As measured (a small CNN's training step on two cores of such a host, 80 seconds,
means of five seconds each): training differed by 8 and 11 % (standard deviation), from what products made of it by 4.9
and 5.0, from what this mean did by 2.6 and 2.2, and the power of it that would have fitted best was 0.94 and 1.11.
"""

import math
import time

import numpy as np

PIECES = 5
"""Some 0.05 ms each: less than a CPU quota gives at a time."""
PRODUCTS, SIZE = 3, 96
"""Of square matrices, which fit the smaller caches. In one call: between two, another thread may go on."""
COPIED = 2**19
"""Bytes: more than the smallest caches hold."""
_MATRICES = np.ones((PRODUCTS, SIZE, SIZE), np.float32)
_PRODUCTS = np.empty_like(_MATRICES)
_SOURCE = np.ones(COPIED, np.uint8)
_TARGET = np.empty_like(_SOURCE)


def probe() -> float:
    """CPU seconds, the geometric mean of products' and copies', of each the quickest: what interrupts only adds."""
    products = copies = float("inf")
    moment = time.thread_time()
    for _ in range(PIECES):
        np.matmul(_MATRICES, _MATRICES, out=_PRODUCTS)
        multiplied = time.thread_time()
        np.copyto(_TARGET, _SOURCE)
        copied = time.thread_time()
        products, copies = min(products, multiplied - moment), min(copies, copied - multiplied)
        moment = copied
    return math.sqrt(products * copies)
