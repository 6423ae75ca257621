"""How fast a core is at the moment: what a fixed piece of work takes it, next to a computation.

Who else uses a processor, such as another virtual machine on the other thread of its core, slows work down by a half
for seconds at a time, and takes no CPU time away that anybody counts. What a computation took does not say whether it
was the computation or the core. The probe does, for it is always the same.
"""

import time

import numpy as np

SIZE = 96
"""Of the matrices: their products keep the vector units busy, as training does, and fit the smaller caches."""
PIECES, PRODUCTS = 5, 4
"""Some 0.05 ms each: less than a CPU quota gives at a time. In one call: between two, another thread may go on."""
_MATRICES = np.ones((PRODUCTS, SIZE, SIZE), np.float32)
_PRODUCTS = np.empty_like(_MATRICES)


def probe() -> float:
    """CPU seconds of the quickest of some equal pieces: what interrupts one only adds to it."""
    quickest = float("inf")
    before = time.thread_time()
    for _ in range(PIECES):
        np.matmul(_MATRICES, _MATRICES, out=_PRODUCTS)
        after = time.thread_time()
        quickest = min(quickest, after - before)
        before = after
    return quickest
