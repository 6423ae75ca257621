import subprocess
import sys
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nodes import optimizers
from nodes.config import Optimizer

HERE = Path(__file__).parent
RATES = st.floats(1e-4, 1.0)


@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.01]),
    steps=st.lists(st.tuples(RATES, st.lists(st.booleans(), min_size=2, max_size=2)), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_sgd_moves_as_pytorchs_own_to_the_last_bit(
    momentum: float, weight_decay: float, steps: list[tuple[float, list[bool]]], seed: int
) -> None:
    """Whatever the rate becomes, and whichever parameters have a gradient."""
    random = torch.Generator().manual_seed(seed)
    start = [torch.randn(3, 2, generator=random), torch.randn(2, generator=random)]
    ours, theirs = ([nn.Parameter(value.clone()) for value in start] for _ in range(2))
    settings = Optimizer(momentum=momentum, weight_decay=weight_decay)
    mine = optimizers.build(ours, settings, 0.1)
    pytorchs = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for rate, has_gradient in steps:
        for optimizer in (mine, pytorchs):
            optimizers.set_rate(optimizer, rate)
            optimizer.zero_grad()
        for own, other, with_gradient in zip(ours, theirs, has_gradient, strict=True):
            if with_gradient:
                gradient = torch.randn(own.shape, generator=random)
                own.grad, other.grad = gradient.clone(), gradient.clone()
        mine.step()
        pytorchs.step()
        for own, other in zip(ours, theirs, strict=True):
            assert torch.equal(own, other)


TRAINS = """
import sys
import fake_node
from workloads import config
from nodes import client, server

for algorithm in ("gapsl", "epsl", "psl", "sfl", "sl"):
    fake_node.run({"server": server.main, "client": client.main}, config(algorithm, rounds=1), 2)
print("torch._dynamo" in sys.modules)
"""


def test_no_algorithm_imports_pytorchs_compiler() -> None:
    """Every node would, and it takes about as long as PyTorch itself."""
    done = subprocess.run([sys.executable, "-c", TRAINS], cwd=HERE, capture_output=True, text=True, timeout=100)
    assert done.stdout == "False\n", done.stderr
