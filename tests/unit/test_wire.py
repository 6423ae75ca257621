import math
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from emulator.bus import wire
from emulator.bus.wire import Header, Kind, WireError

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]
Array = np.ndarray[Any, Any]


def body(**others: Any) -> list[Any]:
    """What a header's frame holds: a valid one, with `others` in place of some fields."""
    fields = {
        "version": wire.VERSION,
        "kind": "data",
        "sender": "client-1",
        "receiver": "server",
        "stage": "uplink",
        "number": 3,
        "round": 2,
        "sent": 1.5,
        "off_clock": False,
        "fields": {"loss": 0.5, "ids": [1, 2]},
        "tensors": [["x", "<f4", [2, 3]], ["y", "<i8", []]],
        "due": 1.75,
        "nbytes": 99,
    }
    assert others.keys() <= fields.keys()
    return [*(fields | others).values()]


def unpacked(**others: Any) -> Header:
    return wire.unpack(msgpack.packb(body(**others)))


def through_the_wire(header: Header, tensors: dict[str, Array]) -> tuple[Header, list[zmq.Frame]]:
    """What the other side has of a message: the header, and the tensors' frames, checked."""
    first, *others = [zmq.Frame(bytes(frame)) for frame in wire.encode(header, tensors)]
    received = wire.unpack(first.buffer)
    wire.check_frames(received, [len(frame) for frame in others], limit=math.inf)
    return received, others


# -- there and back


def test_a_header_comes_back_as_it_was() -> None:
    header = Header(
        Kind.DATA, "a", "b", "uplink", 7, 3, 12.5, off_clock=True, fields={"k": [1, None, "ü"]}, due=1.5, nbytes=9
    )
    received, frames = through_the_wire(header, {"x": np.zeros((2, 3), "f4")})
    assert received == header
    assert received.tensors == [("x", "<f4", (2, 3))]
    assert [len(frame) for frame in frames] == [24]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_header_comes_back(kind: Kind) -> None:
    assert wire.unpack(wire.pack(Header(kind))) == Header(kind)


names = st.text(st.characters(codec="utf-8"), max_size=wire.MAX_NAME)
counts = st.integers(0, 2**63)
times = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | times | names | st.binary(max_size=9)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
headers = st.builds(
    Header,
    st.sampled_from(Kind),
    sender=names,
    receiver=names,
    stage=names,
    number=counts,
    round=counts,
    sent=times,
    off_clock=st.booleans(),
    fields=st.dictionaries(names, values, max_size=4),
    due=st.none() | times,
    nbytes=counts,
)


@given(headers)
def test_any_header_comes_back_as_it_was(header: Header) -> None:
    assert wire.unpack(wire.pack(header)) == header


any_array = st.sampled_from(DTYPES).flatmap(
    lambda code: arrays(np.dtype(code), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
views = st.sampled_from([lambda a: a, np.asfortranarray, np.transpose, lambda a: a[..., ::2] if a.ndim else a])


@given(st.lists(st.tuples(any_array, views), max_size=3))
def test_any_tensors_come_back_as_they_were(made: list[tuple[Array, Any]]) -> None:
    tensors = {f"t{place}": view(array) for place, (array, view) in enumerate(made)}
    received = wire.decode_tensors(*through_the_wire(Header(Kind.DATA), tensors))
    assert list(received) == list(tensors)
    for name, array in tensors.items():
        assert (received[name].dtype, received[name].shape) == (array.dtype, array.shape)
        assert received[name].tobytes() == array.tobytes()  # NaN and -0.0 included


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3)])
def test_the_shape_is_kept_where_there_is_little_to_send(shape: tuple[int, ...]) -> None:
    received = wire.decode_tensors(*through_the_wire(Header(Kind.DATA), {"x": np.ones(shape, "f4")}))
    assert received["x"].shape == shape


@pytest.mark.parametrize("shape", [(), (7,), (4, 5, 6), (0, 2)])
def test_a_contiguous_tensor_is_not_copied(shape: tuple[int, ...]) -> None:
    array = np.ones(shape)
    frame = np.frombuffer(wire.encode(Header(Kind.DATA), {"x": array})[1], np.uint8)
    assert array.size == 0 or np.shares_memory(frame, array)


def test_a_received_tensor_is_a_view_of_its_frame() -> None:
    header, frames = through_the_wire(Header(Kind.DATA), {"x": np.arange(12.0).reshape(3, 4)})
    received = wire.decode_tensors(header, frames)["x"]
    assert np.shares_memory(received, np.frombuffer(frames[0].buffer, np.uint8))


# -- what the bus does not carry


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([1 + 2j]),
        np.array(["2025-01-01"], "datetime64[s]"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, ">f4"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_number_of_this_host_is_refused(array: Array) -> None:
    with pytest.raises(WireError, match="tensor 'x' is of type"):
        wire.encode(Header(Kind.DATA), {"x": array})


@pytest.mark.parametrize(
    "fields",
    [{"x": object()}, {"x": {1, 2}}, {"x": 2**64}, {"x": "\ud800"}, {"x": {1: "a"}}, {"x": {(1, 2): "a"}}, {1: "x"}],
    ids=["an object", "a set", "too large a number", "half a letter", "a key in a map", "a pair as a key", "a number"],
)
def test_fields_that_would_not_arrive_are_refused_at_the_sender(fields: Any) -> None:
    with pytest.raises(WireError):
        wire.encode(Header(Kind.DATA, fields=fields))


def test_fields_over_the_limit_are_refused_at_the_sender() -> None:
    fields = {"text": "x" * (wire.MAX_HEADER + 1)}
    with pytest.raises(WireError, match=f"over the limit of {wire.MAX_HEADER}: send arrays as tensors"):
        wire.encode(Header(Kind.DATA, stage="uplink", fields=fields))


def test_fields_nested_in_themselves_are_refused() -> None:
    fields: dict[str, Any] = {}
    fields["x"] = fields
    with pytest.raises(WireError, match="'uplink' cannot be packed"):
        wire.encode(Header(Kind.DATA, stage="uplink", fields=fields))


@pytest.mark.parametrize(
    ("header", "tensors"),
    [
        (Header(Kind.DATA, stage="s" * (wire.MAX_NAME + 1)), {}),
        (Header(Kind.DATA, sent=math.nan), {}),
        (Header(Kind.DATA), {"x": np.zeros((1,) * 17)}),
        (Header(Kind.DATA), {str(n): np.zeros(1) for n in range(wire.MAX_TENSORS + 1)}),
    ],
    ids=["long stage", "no time", "many dimensions", "many tensors"],
)
def test_what_the_hub_would_drop_is_refused_at_the_sender(header: Header, tensors: dict[str, Array]) -> None:
    with pytest.raises(WireError):
        wire.encode(header, tensors)


# -- what is no message of this bus


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"version": wire.VERSION + 1}, "protocol version 2 is not 1: run the same edgebed everywhere"),
        ({"version": "x" * 10_000}, "protocol version"),
        ({"version": []}, "protocol version"),
        ({"kind": "nonsense"}, "unknown kind of message 'nonsense'"),
        ({"kind": []}, "unknown kind"),
        ({"kind": {}}, "unknown kind"),
        ({"kind": "x" * 10_000}, "unknown kind"),
        ({"sender": None}, "sender None is not a name"),
        ({"receiver": "x" * 65}, "receiver"),
        ({"stage": 5}, "stage 5 is not a name"),
        ({"number": -1}, "number -1 is not a count"),
        ({"round": True}, "round True is not a count"),
        ({"nbytes": 1.5}, "nbytes 1.5 is not a count"),
        ({"sent": math.nan}, "time of sending nan"),
        ({"sent": "now"}, "time of sending 'now'"),
        ({"due": math.inf}, "due time inf"),
        ({"off_clock": 1}, "off_clock is not a boolean"),
        ({"fields": []}, "fields is not a map"),
        ({"fields": {1: 2}}, "not msgpack"),
        ({"tensors": {}}, "not a list"),
        ({"tensors": [["x", "<f4", [1]]] * (wire.MAX_TENSORS + 1)}, "at most 4096"),
        ({"tensors": [["x", "<f4"]]}, "name, dtype and shape"),
        ({"tensors": [[5, "<f4", [1]]]}, "name, dtype and shape"),
        ({"tensors": [["x", "<f4", [1]], ["x", "<f4", [1]]]}, "the same name"),
        ({"tensors": [["x", "|O", [1]]]}, "tensor 'x' has the unknown type '|O'"),
        ({"tensors": [["x", ">f4", [1]]]}, "unknown type"),
        ({"tensors": [["x", "f4, f4", [1]]]}, "unknown type"),
        ({"tensors": [["x", [], [1]]]}, "unknown type"),
        ({"tensors": [["x", "<f4", [-1]]]}, "tensor 'x' has no valid shape"),
        ({"tensors": [["x", "<f4", [True]]]}, "no valid shape"),
        ({"tensors": [["x", "<f4", [1.0]]]}, "no valid shape"),
        ({"tensors": [["x", "<f4", 1]]}, "no valid shape"),
        ({"tensors": [["x", "<f4", [1] * 17]]}, "no valid shape"),
        ({"tensors": [["x", "<f4", [0, 2**63]]]}, "no valid shape"),
        ({"tensors": [["x", "<f4", [0, 2**40, 2**40]]]}, "no valid shape"),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_a_header_that_makes_no_sense_is_refused_in_short_words(others: dict[str, Any], says: str) -> None:
    with pytest.raises(WireError) as refused:
        unpacked(**others)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\x80", b"\x90", b"\x91" * 2000])
def test_a_foreign_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        wire.unpack(frame)


def test_a_header_with_fields_too_few_or_too_many_is_refused() -> None:
    for wrong in (body()[:-1], [*body(), 0]):
        with pytest.raises(WireError, match="not 13"):
            wire.unpack(msgpack.packb(wrong))


def test_every_truncated_header_is_refused() -> None:
    frame = msgpack.packb(body())
    for length in range(len(frame)):
        with pytest.raises(WireError):
            wire.unpack(frame[:length])


def test_a_header_with_something_behind_it_is_refused() -> None:
    with pytest.raises(WireError):
        wire.unpack(msgpack.packb(body()) + b"\x00")


def take(frame: bytes) -> None:
    """Read a frame as the hub and a receiver do: a message, or a `WireError`."""
    try:
        header = wire.unpack(frame)
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for _, dtype, shape in header.tensors]
        wire.check_frames(header, sizes, limit=10_000)
    except WireError:
        return
    tensors = wire.decode_tensors(header, [zmq.Frame(bytes(size)) for size in sizes])
    assert [(name, array.dtype.str, array.shape) for name, array in tensors.items()] == header.tensors
    assert wire.unpack(wire.pack(header)) == header


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(frame: bytes) -> None:
    take(frame)


foreign = st.recursive(
    scalars | st.floats() | st.just(msgpack.ExtType(5, b"x")) | st.just(msgpack.Timestamp(1)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.integers(0, 9), inner, max_size=3),
)


@given(foreign)
def test_any_msgpack_is_a_message_or_refused(value: Any) -> None:
    take(msgpack.packb(value))


@given(st.integers(0, 12), foreign)
def test_any_value_of_a_field_makes_a_message_or_is_refused(place: int, value: Any) -> None:
    changed = body()
    changed[place] = value
    take(msgpack.packb(changed))


dimensions = st.lists(st.integers(-2, 5) | st.sampled_from([2**31, 2**48, 2**63, 2**64 - 1]), max_size=6)
announced = st.lists(st.tuples(names | foreign, st.sampled_from(["<f4", "|b1", "<i8"]) | foreign, dimensions | foreign))


@given(announced)
def test_any_announced_tensors_make_a_message_or_are_refused(tensors: list[Any]) -> None:
    take(msgpack.packb(body(tensors=tensors)))


@given(st.data())
def test_a_header_with_bytes_changed_is_a_message_or_refused(data: st.DataObject) -> None:
    frame = bytearray(msgpack.packb(body()))
    for place in data.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=4)):
        frame[place] = data.draw(st.integers(0, 255))
    take(bytes(frame))


# -- the frames that follow


def test_frames_that_are_not_the_tensors_announced_are_refused() -> None:
    header = unpacked()  # 24 and 8 bytes
    wire.check_frames(header, [24, 8], limit=32)
    for sizes, says in [
        ([24], "2 tensors announced, 1 frames came"),
        ([24, 8, 0], "2 tensors announced, 3 frames came"),
        ([8, 24], "does not fit its frame of 8 bytes"),
        ([24, 0], "tensor 'y' <i8[] does not fit its frame of 0 bytes"),
        ([23, 8], "does not fit"),
    ]:
        with pytest.raises(WireError) as refused:
            wire.check_frames(header, sizes, limit=math.inf)
        assert says in str(refused.value)


def test_a_message_over_the_limit_is_refused() -> None:
    with pytest.raises(WireError, match="message of 32 bytes is over the limit of 31"):
        wire.check_frames(unpacked(), [24, 8], limit=31)


def test_a_size_is_checked_without_allocating_it() -> None:
    header = unpacked(tensors=[["x", "<f8", [2**20, 2**20]]])
    with pytest.raises(WireError, match="does not fit"):
        wire.check_frames(header, [8], limit=math.inf)
