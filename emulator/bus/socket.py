"""A ZeroMQ socket on the running event loop.

`zmq.asyncio` makes a future and a task switch of every message; at some ten thousand small messages a second they are
what the hub would spend its time on. Here received frames go straight to a callback and sends never wait: what may
wait in the bus is bounded by the links' queues, so the socket's own high-water marks are off.
"""

import asyncio
from collections.abc import Callable, Sequence

import zmq

from emulator.bus.wire import Buffer

BURST = 64
"""Messages taken at a time, before timers get their turn."""

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)


class Socket:
    """Calls `on_message(frames)` for each message; runs until `close`."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: Callable[[list[zmq.Frame]], None]) -> None:
        self._socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._pending = False
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._drain_soon()

    def send(self, frames: Sequence[Buffer | zmq.Frame]) -> bool:
        """Hand `frames` to ZeroMQ without copying; False: the peer they are addressed to is not connected."""
        try:
            self._socket.send_multipart(frames, flags=_NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        finally:
            # The descriptor signals edges, and sending may have consumed one.
            if self._readable():
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
        self._pending = False
        for _ in range(BURST):
            if self._socket.closed or not self._readable():
                return
            frames = self._socket.recv_multipart(flags=_NOBLOCK, copy=False)
            try:
                self._on_message(frames)
            except BaseException:
                self._drain_soon()  # the next message is not to wait for another edge
                raise
        self._drain_soon()

    def _readable(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _POLLIN)
