"""Frames of the bus: one msgpack header, then one raw frame per tensor.

Nothing is unpickled, and a frame beyond the limit ends its connection before memory is taken for it; what the frames
of one message make together is checked when they have come. Tensors are numpy arrays in the host's
memory layout, little-endian; encoding and decoding make views, not copies.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import msgpack
import numpy as np
import zmq

VERSION = 1
MAX_TENSORS = 4096
MAX_NAME = 64
MAX_HEADER = 4 * 2**20
"""Bytes of a header frame: a telemetry message carries a few thousand spans."""
MAX_ELEMENTS = 2**48
"""Of a tensor, empty dimensions left out: numpy refuses a shape beyond all memory even where it holds nothing."""
_DTYPES = {np.dtype(code).str for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")}

Buffer: TypeAlias = bytes | memoryview
Tensors: TypeAlias = Mapping[str, np.ndarray[Any, Any]]


class WireError(ValueError):
    """Frames that are no message of this bus; the text says what is wrong with them."""


class Kind(StrEnum):
    """What a header is for: `DATA` between programs, the rest between a node and the hub.

    A large message reaches its receiver as `EARLY`, while the links have it in transit, and counts from its `RELEASE`.
    Where a link takes real time, a large message goes as its `HEAD` and then in `PART`s (see `parts`).
    A `CHANGE` asks the hub for another link or device of a node, and tells that node. `OFF_CLOCK` says since when its
    sender does what takes no emulated time, and until when it did. `GONE` tells the hub, and all others, that a node
    has ended for good and the run goes on without it.
    """

    DATA = "data"
    EARLY = "early"
    RELEASE = "release"
    HEAD = "head"
    PART = "part"
    REGISTER = "register"
    WELCOME = "welcome"
    REFUSED = "refused"
    READY = "ready"
    START = "start"
    END = "end"
    BEAT = "beat"
    CREDIT = "credit"
    TELEMETRY = "telemetry"
    DONE = "done"
    FAILED = "failed"
    EVENT = "event"
    CHANGE = "change"
    OFF_CLOCK = "off_clock"
    GONE = "gone"


_KINDS = {kind.value: kind for kind in Kind}


@dataclass(slots=True)
class Header:
    """The first frame. Times are emulated seconds."""

    kind: Kind
    sender: str = ""
    receiver: str = ""
    stage: str = ""
    """What the message is, in the program's words: the stage it appears as in the timeline."""
    number: int = 0
    """Counts a sender's data messages that cross links, from 1; 0 for the others."""
    round: int = 0
    sent: float = 0.0
    off_clock: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    tensors: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)
    """Name, dtype and shape of each frame that follows."""
    due: float | None = None
    """When the links deliver the message: the hub's word to the receiver, None where no link promises anything."""
    nbytes: int = 0
    """Bytes of all frames as the sender sent them: the hub's word to the receiver."""


def encode(header: Header, tensors: Tensors | None = None) -> list[Buffer]:
    """The frames of a message; the tensors' frames are views of the arrays, which must not change until sent.

    Raises `WireError` for what the bus cannot carry.
    """
    frames: list[Buffer] = []
    header.tensors = []
    for name, array in (tensors or {}).items():
        data = np.asarray(array, order="C")
        if data.dtype.str not in _DTYPES:
            raise WireError(f"tensor '{name}' is of type {data.dtype}: send numbers in this host's byte order")
        header.tensors.append((name, data.dtype.str, data.shape))
        frames.append(data.reshape(-1).view(np.uint8).data)
    packed = pack(header)
    if len(packed) > MAX_HEADER:
        raise WireError(
            f"the fields of '{header.stage or header.kind}' take {len(packed)} bytes, over the limit of {MAX_HEADER}: "
            f"send arrays as tensors"
        )
    if header.kind is Kind.DATA:  # also what then goes in parts
        unpack(packed)  # what the hub would drop is refused here, where the program sees it
    return [packed, *frames]


def pack(header: Header) -> bytes:
    """The header's frame alone."""
    body = [
        VERSION,
        header.kind.value,
        header.sender,
        header.receiver,
        header.stage,
        header.number,
        header.round,
        header.sent,
        header.off_clock,
        header.fields,
        header.tensors,
        header.due,
        header.nbytes,
    ]
    try:
        return bytes(msgpack.packb(body))
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"the fields of '{header.stage or header.kind}' cannot be packed: {error}") from None


def unpack(frame: Buffer) -> Header:
    """The header in `frame`, every part of it checked; raises `WireError`."""
    try:
        body = msgpack.unpackb(frame, use_list=True, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"the header is not msgpack: {error or type(error).__name__}") from None
    if not isinstance(body, list) or not body:
        raise WireError("the header is not a list of fields")
    if body[0] != VERSION:
        raise WireError(f"protocol version {body[0]!r:.80} is not {VERSION}: run the same edgebed everywhere")
    if len(body) != 13:
        raise WireError(f"the header has {len(body)} fields, not 13")
    _, kind, sender, receiver, stage, number, round_, sent, off_clock, fields, tensors, due, nbytes = body
    # All at once: the hub does this for every message, and next to none is refused.
    if not (
        type(kind) is type(sender) is type(receiver) is type(stage) is str
        and kind in _KINDS
        and len(sender) <= MAX_NAME
        and len(receiver) <= MAX_NAME
        and len(stage) <= MAX_NAME
        and type(number) is type(round_) is type(nbytes) is int
        and number >= 0
        and round_ >= 0
        and nbytes >= 0
        and type(sent) is float
        and -math.inf < sent < math.inf
        and (due is None or (type(due) is float and -math.inf < due < math.inf))
        and type(off_clock) is bool
        and type(fields) is dict
    ):
        raise WireError(_fault(body))
    return Header(
        _KINDS[kind], sender, receiver, stage, number, round_, sent, off_clock, fields, _tensor_list(tensors), due,
        nbytes,
    )  # fmt: skip


def _fault(body: list[Any]) -> str:
    """What of a header's fields is not what it should be."""
    _, kind, sender, receiver, stage, number, round_, sent, _, _, _, due, nbytes = body
    if not isinstance(kind, str) or kind not in _KINDS:
        return f"unknown kind of message {kind!r:.80}"
    for name, text in (("sender", sender), ("receiver", receiver), ("stage", stage)):
        if not isinstance(text, str) or len(text) > MAX_NAME:
            return f"{name} {text!r:.80} is not a name of at most {MAX_NAME} characters"
    for name, count in (("number", number), ("round", round_), ("nbytes", nbytes)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return f"{name} {count!r:.80} is not a count"
    if not isinstance(sent, float) or not math.isfinite(sent):
        return f"the time of sending {sent!r:.80} is not a time"
    if due is not None and (not isinstance(due, float) or not math.isfinite(due)):
        return f"the due time {due!r:.80} is not a time"
    return "off_clock is not a boolean, or fields is not a map"


def check_frames(header: Header, sizes: Sequence[int], limit: float) -> None:
    """Whether frames of `sizes` bytes after the header are the tensors it announces, within `limit` in all."""
    if header.kind is Kind.HEAD:
        if sizes or not any(tensor_sizes(header)):
            raise WireError("the head of a message comes without its tensors, and has some that follow in parts")
        sizes = tensor_sizes(header)
    if len(sizes) != len(header.tensors):
        raise WireError(f"{len(header.tensors)} tensors announced, {len(sizes)} frames came")
    if sum(sizes) > limit:
        raise WireError(f"message of {sum(sizes)} bytes is over the limit of {limit:.0f}")
    for (name, dtype, shape), size, announced in zip(header.tensors, sizes, tensor_sizes(header), strict=True):
        if announced != size:
            raise WireError(f"tensor '{name}' {dtype}{list(shape)} does not fit its frame of {size} bytes")


def tensor_sizes(header: Header) -> list[int]:
    """Bytes of each tensor that the header announces."""
    return [math.prod(shape) * np.dtype(dtype).itemsize for _, dtype, shape in header.tensors]


def seconds(value: object) -> float:
    """`value` as the number of seconds by which a clock may be off; raises `WireError`."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        raise WireError(f"a clock's error of {value!r:.40} is not a number of seconds")
    return value


def decode_tensors(header: Header, frames: Sequence[zmq.Frame]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors as views of their frames."""
    return {
        name: np.frombuffer(frame.buffer, dtype=np.dtype(dtype)).reshape(shape)
        for (name, dtype, shape), frame in zip(header.tensors, frames, strict=True)
    }


def _tensor_list(tensors: object) -> list[tuple[str, str, tuple[int, ...]]]:
    if not isinstance(tensors, list) or len(tensors) > MAX_TENSORS:
        raise WireError(f"the tensors are not a list of at most {MAX_TENSORS}")
    checked: list[tuple[str, str, tuple[int, ...]]] = []
    for entry in tensors:
        if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[0], str):
            raise WireError("a tensor is not announced as name, dtype and shape")
        name, dtype, shape = entry
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise WireError(f"tensor '{name:.{MAX_NAME}}' has the unknown type {dtype!r:.20}")
        if (
            not isinstance(shape, list)
            or len(shape) > 16
            or not all(type(n) is int and n >= 0 for n in shape)
            or math.prod(n or 1 for n in shape) > MAX_ELEMENTS
        ):
            raise WireError(f"tensor '{name:.{MAX_NAME}}' has no valid shape")
        checked.append((name, dtype, tuple(shape)))
    if len({name for name, _, _ in checked}) < len(checked):
        raise WireError("two tensors have the same name")
    return checked
