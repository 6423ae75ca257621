"""The Docker engine of this host: every call has a deadline, and what it refuses is one line.

The SDK blocks. Each call runs in a thread of its own that nobody waits for at the end: an engine that hangs must not
keep a command from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import docker
import docker.errors
import docker.utils
import requests

from emulator.errors import EdgebedError, InputError, NodeFailure

T = TypeVar("T")

CALL_SECONDS = 60.0
"""For one call: under load, an engine takes several seconds to start a container."""
PING_SECONDS = 15.0
POOL = 100
"""Connections kept: one for each call at a time."""
LEAST_API = "1.41"
"""Docker 20.10."""
LOCAL = ("http+unix://", "unix://", "npipe://")


class Engine:
    """A connection to the engine that `DOCKER_HOST` names, or to the usual one."""

    def __init__(self, client: docker.APIClient, where: str) -> None:
        self.client = client
        self.where = where
        self._making: set[Future[Any]] = set()

    @classmethod
    async def connect(cls) -> "Engine":
        """Raises `InputError` when there is no engine that can be used."""
        options: Mapping[str, Any] = docker.utils.kwargs_from_env()
        where = options.get("base_url") or docker.constants.DEFAULT_UNIX_SOCKET.replace("http+", "", 1)
        if not where.startswith(LOCAL):
            raise InputError(
                f"the Docker engine at {where} is not this host's: its containers would have another clock and other "
                f"folders: unset DOCKER_HOST"
            )
        with _explained("connect", where):
            client = await _in_thread(
                lambda: docker.APIClient(**options, version="auto", timeout=CALL_SECONDS, max_pool_size=POOL),
                PING_SECONDS,
                where,
            )
        if docker.utils.version_lt(client.api_version, LEAST_API):
            raise InputError(
                f"the Docker engine at {where} is too old: it has API {client.api_version}, and edgebed needs "
                f"{LEAST_API} (Docker 20.10)"
            )
        return cls(client, where)

    async def call(self, what: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of `function`, a method of the client; `what` says for the user what could not be done."""
        with _explained(what, self.where):
            return await _in_thread(lambda: function(*args, **kwargs), CALL_SECONDS, self.where)

    async def make(self, what: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """As `call`, for what leaves something to be removed: see `settle`."""
        made = in_background(lambda: function(*args, **kwargs))
        self._making.add(made)
        with _explained(what, self.where):
            return await _deadline(made, CALL_SECONDS, self.where)

    def settle(self, seconds: float) -> None:
        """Block until what was being made is there, or is known not to be."""
        wait(self._making, seconds)

    async def check_alive(self) -> None:
        """Raises `NodeFailure` when the engine does not answer."""
        try:
            await _in_thread(self.client.ping, PING_SECONDS, self.where)
        except Exception as error:
            raise gone(self.where, error) from None


def gone(where: str, why: object = "it closed the connection") -> NodeFailure:
    """The engine has left in the middle of a run."""
    said = _inner(why) if isinstance(why, BaseException) else why
    return NodeFailure(
        f"the Docker engine at {where} is gone ({said}): what it still has of this run is removed by the next one"
    )


def said_by(error: BaseException) -> str:
    """What the engine said, in one line."""
    text = error.explanation if isinstance(error, docker.errors.APIError) else None
    return " ".join(str(text or _inner(error)).split())


@contextlib.contextmanager
def _explained(what: str, where: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        raise _refusal(what, said_by(error)) from None
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise _unreachable(error, where) from None


def _refusal(what: str, said: str) -> EdgebedError:
    """What the engine would not do, and what to do about it."""
    low = said.lower()
    if "no space left on device" in low:
        return InputError(f"cannot {what}: no space left on the Docker engine's disk: docker system prune makes room")
    if "address pool" in low or "address space" in low:
        return InputError(f"cannot {what}: the engine has no network left to give: docker network prune makes room")
    if "minimum memory limit" in low:
        return InputError(f"cannot {what}: its device has less memory than a container can have: {said}")
    if "is already in use by" in low or "network with name" in low:
        return InputError(f"cannot {what}: its name is taken: {said}")
    return EdgebedError(f"cannot {what}: {said}")


def _unreachable(error: Exception, where: str) -> EdgebedError:
    inner = _inner(error)
    if isinstance(inner, PermissionError):
        return InputError(
            f"no permission to use the Docker engine at {where}: run as root, or as a member of the group 'docker'"
        )
    if isinstance(inner, FileNotFoundError | ConnectionRefusedError):
        return InputError(f"there is no Docker engine at {where}: start it, or do without containers")
    if isinstance(inner, requests.exceptions.Timeout | TimeoutError):
        return EdgebedError(f"the Docker engine at {where} did not answer within {CALL_SECONDS:g} s")
    return EdgebedError(f"the Docker engine at {where} cannot be used: {' '.join(str(inner).split())}")


def _inner(error: BaseException) -> BaseException:
    """The first cause: libraries wrap what the operating system said several times."""
    while True:
        told = isinstance(error, requests.exceptions.Timeout) or (isinstance(error, OSError) and error.errno)
        wrapped = [arg for arg in error.args if isinstance(arg, BaseException)]
        next_ = wrapped[-1] if wrapped else error.__cause__ or error.__context__
        if told or next_ is None:
            return error
        error = next_


def in_background(function: Callable[[], T]) -> Future[T]:
    """Run it in a thread that does not keep the process from ending."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="docker").start()
    return future


async def _in_thread(function: Callable[[], T], seconds: float, where: str) -> T:
    return await _deadline(in_background(function), seconds, where)


async def _deadline(future: Future[T], seconds: float, where: str) -> T:
    try:
        # Not `wait_for`: Python 3.11's forgets a cancellation that comes together with the result, and whoever is
        # stopped just then goes on.
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise EdgebedError(f"the Docker engine at {where} did not answer within {seconds:g} s") from None
