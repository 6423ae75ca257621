"""A ZeroMQ socket on the running event loop.

`zmq.asyncio` makes a future and a task switch of every message; at some ten thousand small messages a second they are
what the hub would spend its time on. Here received frames go straight to a callback and sends never wait: what may
wait in the bus is bounded by the links' queues, so the socket's own high-water marks are off.
"""

import asyncio
from collections.abc import Callable, Sequence

import zmq

from emulator.bus.wire import MAX_HEADER, Buffer
from emulator.errors import InputError
from emulator.profiles import Bus

BURST = 64
"""Messages taken at a time, before timers get their turn."""

# Plain numbers, for whatever ZeroMQ's own are combined to becomes an enum anew, each time. For the same reason frames
# are sent and received one by one here.
_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


class Socket:
    """Calls `on_message(frames)` for each message; runs until `close`."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: Callable[[list[zmq.Frame]], None]) -> None:
        self._socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._pending = False  # to look for messages
        self._draining = False
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._drain_soon()

    def send(self, frames: Sequence[Buffer | zmq.Frame]) -> bool:
        """Hand `frames` to ZeroMQ without copying; False: the peer they are addressed to is not connected."""
        try:
            for frame in frames[:-1]:
                self._socket.send(frame, _MORE, copy=False)
            self._socket.send(frames[-1], _NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        finally:
            # The descriptor signals edges, and sending may have consumed one. Who is about to look need not be told.
            if not (self._draining or self._pending) and self._readable():
                self._drain_soon()
        return True

    def close(self, linger: float) -> None:
        """Stop receiving; what is already sent may take `linger` seconds to leave."""
        self._loop.remove_reader(self._descriptor)
        self._socket.close(linger=round(linger * 1000))

    def _drain_soon(self) -> None:
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._pending, self._draining = False, True
        try:
            for _ in range(BURST):
                if self._socket.closed or (frames := self._next()) is None:
                    return
                self._on_message(frames)
            self._drain_soon()
        except BaseException:
            self._drain_soon()  # the next message is not to wait for another edge
            raise
        finally:
            self._draining = False

    def _next(self) -> list[zmq.Frame] | None:
        """The frames of the next message; None when there is none, and its coming will be an edge."""
        try:
            frames = [self._socket.recv(_NOBLOCK, copy=False)]
        except zmq.Again:
            return None
        while frames[-1].more:
            frames.append(self._socket.recv(_NOBLOCK, copy=False))
        return frames

    def _readable(self) -> bool:
        return bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)


def bind(router: zmq.Socket[bytes], host: str, bus: Bus) -> str:
    """Set the hub's socket up and bind it; returns its address. Raises `InputError` when that cannot be."""
    # A frame over the limit ends its connection before memory is allocated for it.
    router.setsockopt(zmq.MAXMSGSIZE, int(bus.max_message) + MAX_HEADER)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a node that reconnects keeps its identity
    router.setsockopt(zmq.SNDHWM, 0)
    router.setsockopt(zmq.RCVHWM, 0)
    try:
        router.bind(f"tcp://{host}:{bus.port or '*'}")
    except zmq.ZMQError as error:
        raise InputError(
            f"port {bus.port} of {host} cannot be used: {zmq.strerror(error.errno or 0)}: "
            f"set bus.port to another, or to 0 for a free one"
        ) from None
    return router.getsockopt_string(zmq.LAST_ENDPOINT)
