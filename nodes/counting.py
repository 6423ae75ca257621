"""The work of one pass through some layers, counted without computing anything.

PyTorch runs the layers on tensors without memory (the meta device), and its own table of FLOP formulas
(`torch.utils.flop_counter`) is asked about every operation that passes: 2 FLOPs for each multiplication with its
addition. What the table leaves out moves memory and little else, and is listed here; an operation in neither place is
refused by name.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from emulator import Work
from nodes.architectures import Architecture
from nodes.models import outline
from nodes.work import FLOAT, Pass

MEMORY_ONLY = {
    "relu", "threshold_backward", "max_pool2d_with_indices", "max_pool2d_with_indices_backward",
    "add", "add_", "mul", "div", "sum", "mean", "clone", "copy_", "cat", "stack", "zeros_like", "ones_like",
    "new_zeros", "gelu", "gelu_backward", "_softmax", "_softmax_backward_data", "select_backward",
    "native_group_norm", "native_group_norm_backward", "native_batch_norm", "native_batch_norm_backward",
    "native_layer_norm", "native_layer_norm_backward",
}  # fmt: skip
"""Operations on single numbers, which cost the memory they touch; without their overloads."""
VIEWS = {
    "view", "_unsafe_view", "t", "transpose", "permute", "detach", "alias", "expand", "as_strided", "_reshape_alias",
    "select", "slice", "unsqueeze", "unbind",
}  # fmt: skip
"""Operations that touch no memory."""


def count(architecture: Architecture, start: int, stop: int, samples: int) -> Pass:
    """Layers `start` to `stop` (excluded) for a batch of `samples`; the images themselves need no gradient.

    Raises ValueError as `passes` does.
    """
    layers = outline(architecture, start, stop)
    batch = torch.empty(samples, *architecture.shapes()[start], device="meta", requires_grad=start > 0)
    return passes(layers, batch)


def passes(layers: nn.Module, batch: Tensor) -> Pass:
    """Forward and backward through `layers`, both on the meta device.

    Bytes moved are those of every operation's inputs and outputs; peak memory is the parameters with their gradients
    and momenta, and every output of the forward pass, kept for the backward pass. Raises ValueError naming an
    operation that is neither in PyTorch's table nor listed here.
    """
    parameters = [parameter for parameter in layers.parameters() if parameter.requires_grad]
    wanted = [*parameters, *([batch] if batch.requires_grad else [])]
    with _Counter() as forward:
        result = layers(batch)
    with _Counter() as backward:
        torch.autograd.grad(result, wanted, torch.empty_like(result))
    size = sum(parameter.numel() for parameter in parameters)
    kept = 3 * FLOAT * size + batch.nbytes + forward.written
    return Pass(
        Work(forward.flops, forward.moved, float(kept)),
        Work(backward.flops, backward.moved, float(kept + 2 * result.nbytes)),
        size,
    )


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums up the operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0.0
        self.moved = 0.0
        self.written = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func._overloadpacket
        name = operation.__name__
        if operation in flop_registry:
            self.flops += flop_registry[operation](*args, **(kwargs or {}), out_val=result)
        elif name in VIEWS or name.startswith("empty"):
            return result
        elif name not in MEMORY_ONLY:
            raise ValueError(
                f"the FLOPs of '{operation}' are not known: give its formula to "
                f"torch.utils.flop_counter.register_flop_formula, or list it in nodes/work.py if it only moves memory"
            )
        written = sum(tensor.nbytes for tensor in _tensors([result]))
        self.written += written
        self.moved += written + sum(tensor.nbytes for tensor in _tensors([*args, *(kwargs or {}).values()]))
        return result


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
