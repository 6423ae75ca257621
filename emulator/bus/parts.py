"""Large messages in parts, for links that take real time: the second link carries the first part of a message while the
first link is still busy with the rest, and no peer seems silent for as long as a message takes.

A message goes as its `HEAD`, the header alone, and then `PART`s, each with some of the bytes of one tensor, in order.
They come as they were sent, but messages on and off the clock may interleave.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import zmq

from emulator.bus import wire
from emulator.bus.wire import Buffer, Header, Kind

PARTS = 64
"""Of a message of 128 KiB to 4 MiB: the second link starts on it after a 64th of its time, and what the parts' headers
add, some 60 bytes each, is 3 % at most."""
LEAST_BYTES = 2 * 1024
MOST_BYTES = 64 * 1024


def split(header: Header, frames: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """What to send one after the other in place of an encoded message: `frames` are its header's and its tensors'."""
    nbytes = sum(len(frame) for frame in frames[1:])
    size = min(max(nbytes // PARTS, LEAST_BYTES), MOST_BYTES)
    if nbytes <= size:
        yield list(frames)
        return
    yield [wire.pack(replace(header, kind=Kind.HEAD))]
    part = replace(header, kind=Kind.PART, fields={})
    for frame in frames[1:]:
        for at in range(0, len(frame), size):
            piece = frame[at : at + size]
            part.tensors = [("", "|u1", (len(piece),))]
            yield [wire.pack(part), piece]


class Assembly:
    """A message whose parts are coming."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.tensors = {name: np.empty(shape, np.dtype(dtype)) for name, dtype, shape in header.tensors}
        self._buffers = [array.reshape(-1).view(np.uint8) for array in self.tensors.values() if array.nbytes]
        self._at = 0  # in the first of the buffers

    def add(self, part: zmq.Frame) -> bool:
        """Put `part` in its place; returns whether it was the last one."""
        data = np.frombuffer(part.buffer, np.uint8)
        while len(data) and self._buffers:
            room = self._buffers[0][self._at :]
            filled = min(len(room), len(data))
            room[:filled] = data[:filled]
            data = data[filled:]
            self._at += filled
            if filled == len(room):
                del self._buffers[0]
                self._at = 0
        return not self._buffers
