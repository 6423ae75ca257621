"""The reference workload: how fast a core of this host trains, and how much faster if it is kept awake."""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from emulator.awake import waking
from emulator.system import keep_memory

WARM_UP = 3
"""The first steps fill caches and choose kernels."""
REPEATS = 15


@dataclass(frozen=True)
class Reference:
    """What a host was measured to do of it."""

    core_flops: float
    """FLOP/s of one core."""
    waking: float | None = None
    """By which factor work takes longer that wakes a core up (see `awake`); None: it cannot be measured here."""


def training_step() -> tuple[Callable[[], None], float]:
    """A step of training two 3x3 convolutions, forward and backward, in one thread; and its FLOPs.

    A convolution of N images, C channels in, K out and HxW positions takes 2 N C K 9 H W FLOPs forward and twice that
    backward.
    """
    import torch

    keep_memory()
    torch.set_num_threads(1)
    images, channels, size = 16, (16, 32, 32), 32
    layers = [torch.nn.Conv2d(into, out, 3, padding=1) for into, out in itertools.pairwise(channels)]
    flops = sum(3 * 2 * images * into * out * 9 * size**2 for into, out in itertools.pairwise(channels))
    batch = torch.rand(images, channels[0], size, size, requires_grad=True)
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
    return lambda: model(batch).square().mean().backward(), float(flops)


def measure() -> Reference:
    """All of it, in some seconds."""
    step, flops = training_step()
    speeds = []
    for repeat in range(REPEATS + WARM_UP):
        before = time.thread_time()
        step()
        if repeat >= WARM_UP:
            speeds.append(flops / (time.thread_time() - before))
    return Reference(statistics.median(speeds), waking())


def main() -> None:
    """Prints a `Reference` as JSON."""
    sys.stdout.write(json.dumps(asdict(measure())) + "\n")


if __name__ == "__main__":
    main()
