"""What GAPSL's server step costs beside PSL's: VGG-16's server part, ten clients, one thread, as on an emulated device.

Times are ratios within one process, the variants taking turns, so that a host that changes its speed does so for all.
Memory is the peak that each variant reaches above the model itself, in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from nodes.algorithms import Upload, named
from nodes.architectures import ARCHITECTURES
from nodes.config import read
from nodes.models import build, outline

CLIENTS = 10
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "psl_separate": ("psl", {"passes": "separate"}),
    "psl_together": ("psl", {}),
    "gapsl": ("gapsl", {}),
    "gapsl_low_memory": ("gapsl", {"memory": "low"}),
}
SLOW: dict[str, tuple[str, dict[str, Any]]] = {"gapsl_exact": ("gapsl", {"gda": "exact"})}


def stepper(variant: str, batch: int) -> Callable[[], None]:
    """One server step of the variant on random activations."""
    name, options = (VARIANTS | SLOW)[variant]
    workload = {
        "data": {"name": "cifar10"},
        "model": {"name": "vgg16", "cut": "pool2"},
        "batch_size": batch,
        "algorithms": {name: options},
    }
    settings = read({"algorithm": name, "rounds": 1000, "seed": 1, "workload": workload})
    cut = settings.workload.model.client_layers
    model = build(settings.workload.model.architecture, 1, start=cut)
    shape = settings.workload.model.architecture.shapes()[cut]
    algorithm = named(name)(model, settings, [5000] * CLIENTS)
    generator = torch.Generator().manual_seed(1)
    uploads = [
        Upload(
            f"client-{k}",
            torch.rand(batch, *shape, generator=generator),
            torch.randint(10, (batch,), generator=generator),
            k,
        )
        for k in range(CLIENTS)
    ]
    rounds = iter(range(1, 1000))
    return lambda: algorithm.step(next(rounds), uploads) and None


def times(variants: Sequence[str], batch: int, repeats: int) -> dict[str, Any]:
    """Each variant's median CPU time over PSL's with separate passes, of steps taken in turn."""
    steps = {variant: stepper(variant, batch) for variant in variants}
    taken: dict[str, list[float]] = {variant: [] for variant in variants}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for variant, step in steps.items():
            start = time.thread_time()
            step()
            # A processor shared with others: the time that this thread had.
            taken[variant].append(time.thread_time() - start)
    reference = taken["psl_separate"]
    return {
        "batch": batch,
        "psl_separate_s": statistics.median(reference),
        "over_psl_separate": {
            variant: statistics.median(a / b for a, b in zip(own, reference, strict=True))
            for variant, own in taken.items()
        },
    }


def peak(variant: str, batch: int) -> float:
    """MiB that the variant's steps take at most, above the process with model and batch in it."""
    command = [sys.executable, "-m", "tests.benchmarks.server_step", "--peak", variant, "--batch", str(batch)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(variant: str, batch: int) -> None:
    step = stepper("psl_separate", 1)
    step()  # PyTorch's own buffers
    before = _resident_peak()
    step = stepper(variant, batch)
    step()
    step()
    print((_resident_peak() - before) / 1024)


def _resident_peak() -> int:
    """KiB. Not `ru_maxrss`: a process inherits that from the one that started it (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--peak")
    arguments.add_argument("--batch", type=int, default=16)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--slow", action="store_true", help="the exact reading of Eq 7, too")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        print_peak(given.peak, given.batch)
        return
    variants = [*VARIANTS, *(SLOW if given.slow else ())]
    architecture = ARCHITECTURES["vgg16"]
    server = outline(architecture, architecture.cut_after("pool2"))
    matrix = CLIENTS * sum(parameter.numel() for parameter in server.parameters()) * 4 / 2**20
    figures = {
        **times(variants, given.batch, given.repeats),
        "matrix_MiB": matrix,
        "peak_MiB": {variant: peak(variant, given.batch) for variant in variants},
    }
    print(json.dumps({"server_step": figures}, indent=2))


if __name__ == "__main__":
    main()
