"""Serves the API in the event loop of the command that runs the testbed."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from emulator.control import found
from emulator.control.api import make_app
from emulator.control.changes import Changes
from emulator.control.state import State
from emulator.errors import InputError

CLOSE_SECONDS = 1


class _Server(uvicorn.Server):
    """Leaves SIGINT and SIGTERM to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(state: State, changes: Changes, host: str) -> AsyncIterator[None]:
    """Serve the API on the interface `host`, and let the commands of this user find it, while the context lasts.

    SIGTERM cancels the task (see `terminable`). Raises `InputError` when the API's port is taken.
    """
    token = os.environ.get(found.TOKEN) or secrets.token_urlsafe(24)
    app = make_app(state, changes, token)
    with _listening(host, state.plan.control.port) as listening:
        port = listening.getsockname()[1]
        server = _Server(_config(app))
        serving = asyncio.create_task(server.serve([listening]))
        entry = found.Testbed(
            url=f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}",  # noqa: S104
            token=token,
            experiment=state.plan.experiment,
            folder=state.status().folder,
        )
        try:
            with found.announced(entry), terminable():
                yield
        finally:
            state.feed.close()
            server.should_exit = True
            await serving


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM cancel this task, as SIGINT does.

    An exception that a signal raises wherever the program is would be taken for a fault of the request being answered.
    """
    task = asyncio.current_task()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level="critical",  # what a client does wrong is said to the client
        access_log=False,
        ws="none",
        http="h11",
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    # With the protocol named, asyncio turns off Nagle's algorithm, which would hold each answer back for 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        # A port that a testbed has just left may be used again at once.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {host} cannot be used: {error.strerror}: "
                f"set control.port to another, or to 0 for a free one"
            ) from None
        listening.listen()  # who finds the testbed before it serves waits, and is not turned away
        yield listening
