"""Between PyTorch's tensors and the arrays that travel in messages."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

State = Mapping[str, NDArray[np.float32]]


def to_tensor(array: NDArray[np.generic]) -> Tensor:
    """A tensor with memory of its own: a received array may be a read-only view of the network's buffer.

    The memory is PyTorch's, because the last bit of a matrix product may depend on how its operands are aligned,
    and NumPy's memory lies now here, now there.
    """
    tensor = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype)
    np.copyto(tensor.numpy(), array)
    return tensor


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """The tensor's values, on the processor without a copy: what is sent must not be written to afterwards."""
    array: NDArray[np.float32] = tensor.detach().contiguous().cpu().numpy()
    return array


def take(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """A copy of the model's weights by name; a copy because training goes on in the originals.

    Batch normalisation's count of batches, which decides nothing, stays behind.
    """
    return {name: to_array(value).copy() for name, value in model.state_dict().items() if value.is_floating_point()}


def give(model: nn.Module, state: State) -> None:
    """Load weights received by name. Raises RuntimeError if a name is missing, unknown or of another shape."""
    model.load_state_dict({name: to_tensor(array) for name, array in state.items()})


def weighted_mean(states: Sequence[State], weights: Sequence[float]) -> dict[str, NDArray[np.float32]]:
    """The mean of several states, each with its weight; summed in float64 in the given order."""
    total = sum(weights)
    return {
        name: sum(
            (state[name].astype(np.float64) * (weight / total) for state, weight in zip(states, weights, strict=True)),
            start=np.zeros(states[0][name].shape),
        ).astype(np.float32)
        for name in states[0]
    }
