"""What a message would take on the wire, without sending it."""

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from emulator.bus import wire
from emulator.bus.wire import Header

Tensors = Mapping[str, np.ndarray[Any, Any]]


class Frames:
    """Sizes of messages, of which a run sends thousands in few forms: each form is encoded only once."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}

    def nbytes(self, header: Header, tensors: Tensors) -> int:
        """Bytes of all frames of the message; its fields become what the receiver would get.

        Raises `WireError` for what the bus cannot carry.
        """
        counts = _packed(header.number) + _packed(header.round)
        form: list[object] = [len(header.sender), len(header.receiver), header.stage, header.off_clock]
        for name, value in header.fields.items():
            if type(value) is int and value >= 0:
                counts += _packed(value)
                form += name, int
            else:
                form += name, type(value), value
        for name, array in tensors.items():
            form += name, array.dtype, array.shape
        try:
            rest = self._known.get(known := tuple(form))
        except TypeError:  # a list or a map among the fields
            total = _encoded(header, tensors)
            header.fields = msgpack.unpackb(msgpack.packb(header.fields))
            return total
        if rest is None:
            rest = self._known[known] = _encoded(header, tensors) - counts
        return rest + counts


def _encoded(header: Header, tensors: Tensors) -> int:
    return sum(len(frame) for frame in wire.encode(header, tensors))


def _packed(count: int) -> int:
    """Bytes of a count in msgpack: the only parts of a message whose size is not in its form."""
    return 1 if count < 128 else 2 if count < 256 else 3 if count < 65536 else 5 if count < 2**32 else 9
