import numpy as np
import zmq
from hypothesis import given
from hypothesis import strategies as st

from emulator.bus import wire
from emulator.bus.parts import LEAST_BYTES, MOST_BYTES, PARTS, Assembly, split
from emulator.bus.wire import Header, Kind, WireError
from tests.tolerance import assert_close


def sent(tensors: dict[str, np.ndarray]) -> list[tuple[Header, list[zmq.Frame]]]:  # type: ignore[type-arg]
    """What crosses the wire of a message, each piece checked as the hub and the receiver do."""
    header = Header(Kind.DATA, "a", "server", "uplink", number=7, round=2, sent=1.5, fields={"loss": 0.5})
    pieces = []
    for frames in split(header, wire.encode(header, tensors)):
        received = [zmq.Frame(bytes(frame)) for frame in frames]
        unpacked = wire.unpack(received[0].buffer)
        wire.check_frames(unpacked, [len(frame) for frame in received[1:]], 2**30)
        pieces.append((unpacked, received[1:]))
    return pieces


@given(st.lists(st.integers(0, 40_000), max_size=5))
def test_a_message_in_parts_arrives_as_it_was(sizes: list[int]) -> None:
    rng = np.random.default_rng(1)
    tensors = {f"t{index}": rng.standard_normal(size).astype(np.float32) for index, size in enumerate(sizes)}
    (head, rest), *parts = sent(tensors)
    if not parts:
        assert head.kind is Kind.DATA
        arrived = wire.decode_tensors(head, rest)
    else:
        assert head.kind is Kind.HEAD
        assembly = Assembly(head)
        done = [assembly.add(frame) for _, (frame,) in parts]
        assert done == [False] * (len(parts) - 1) + [True]
        arrived = assembly.tensors
    assert (head.stage, head.round, head.sent, head.fields) == ("uplink", 2, 1.5, {"loss": 0.5})
    assert list(arrived) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(arrived[name], array)


def test_what_is_small_goes_whole() -> None:
    assert [header.kind for header, _ in sent({"x": np.zeros(LEAST_BYTES, np.uint8)})] == [Kind.DATA]


def test_a_message_has_some_64_parts_and_none_is_large() -> None:
    for nbytes in (2**18, 2**21):
        parts = sent({"x": np.zeros(nbytes, np.uint8)})[1:]
        assert len(parts) == PARTS
        assert_close(sum(len(frame) for _, frames in parts for frame in frames), nbytes)
    assert max(len(frames[0]) for _, frames in sent({"x": np.zeros(2**24, np.uint8)})[1:]) == MOST_BYTES


def test_headers_of_parts_add_three_per_cent_at_most() -> None:
    for nbytes in (2**13, 2**17, 2**20):
        header = Header(Kind.DATA, "client-10", "server", "client_forward", number=10**6, round=10**4, sent=123.456)
        frames = list(split(header, wire.encode(header, {"x": np.zeros(nbytes, np.uint8)})))
        added = sum(len(frame) for message in frames for frame in message) - nbytes
        assert added / nbytes < 0.05, nbytes


def test_the_head_of_nothing_is_refused() -> None:
    for header, sizes in (
        (Header(Kind.HEAD, tensors=[("x", "|u1", (0,))]), []),
        (Header(Kind.HEAD, tensors=[("x", "|u1", (5,))]), [5]),
        (Header(Kind.HEAD, tensors=[("x", "|u1", (2**31,))]), []),
    ):
        try:
            wire.check_frames(header, sizes, 2**30)
        except WireError:
            continue
        raise AssertionError(f"{header} was taken")
