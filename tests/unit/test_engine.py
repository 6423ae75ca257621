"""What the engine's refusals are told as."""

import asyncio
import threading
import time

import docker
import pytest
import requests
import urllib3

from emulator.errors import EdgebedError, InputError
from emulator.runtime.engine import Engine, gone

WHERE = "unix:///run/a.sock"


def engine() -> Engine:
    return Engine(None, WHERE)  # type: ignore[arg-type]


def refusal(status: int, said: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError("refused", response=response, explanation=said)


def told(error: Exception) -> EdgebedError:
    """What a call that raises `error` ends in."""

    def fail() -> None:
        raise error

    with pytest.raises(EdgebedError) as caught:
        asyncio.run(engine().call("start the container of client-1", fail))
    return caught.value


def connection_error(inner: Exception) -> Exception:
    """As the SDK wraps what the operating system says."""
    aborted = urllib3.exceptions.ProtocolError("Connection aborted.", inner)
    error = docker.errors.DockerException(f"Error while fetching server API version: {aborted}")
    error.__cause__ = requests.exceptions.ConnectionError(aborted)
    return error


@pytest.mark.parametrize(
    ("said", "line", "kind"),
    [
        (
            "mkdir /var/lib/docker/overlay2/x: no space left on device",
            "cannot start the container of client-1: no space left on the Docker engine's disk: "
            "docker system prune makes room",
            InputError,
        ),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "cannot start the container of client-1: the engine has no network left to give: "
            "docker network prune makes room",
            InputError,
        ),
        (
            'Conflict. The container name "/edgebed-1-hub" is already in use by container "ab". You have to remove it.',
            "cannot start the container of client-1: its name is taken: Conflict. The container name "
            '"/edgebed-1-hub" is already in use by container "ab". You have to remove it.',
            InputError,
        ),
        (
            "OCI runtime create failed:\n  no such\n  thing",
            "cannot start the container of client-1: OCI runtime create failed: no such thing",
            EdgebedError,
        ),
    ],
)
def test_a_refusal_is_one_line(said: str, line: str, kind: type[EdgebedError]) -> None:
    error = told(refusal(409, said))
    assert str(error) == line
    assert type(error) is kind


def test_an_engine_that_cannot_be_used_is_one_line() -> None:
    assert str(told(connection_error(PermissionError(13, "Permission denied")))) == (
        f"no permission to use the Docker engine at {WHERE}: run as root, or as a member of the group 'docker'"
    )
    for absent in (FileNotFoundError(2, "No such file"), ConnectionRefusedError(111, "Connection refused")):
        assert str(told(connection_error(absent))) == (
            f"there is no Docker engine at {WHERE}: start it, or do without containers"
        )
    assert "did not answer within" in str(told(requests.exceptions.ReadTimeout("read timed out")))


def test_an_engine_that_has_gone_says_why() -> None:
    line = str(gone(WHERE, connection_error(ConnectionResetError(104, "Connection reset by peer"))))
    assert line.startswith(f"the Docker engine at {WHERE} is gone ([Errno 104] Connection reset by peer): ")


def test_an_engine_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.runtime.engine.CALL_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(EdgebedError, match=f"the Docker engine at {WHERE} did not answer within 0.2 s"):
        asyncio.run(engine().call("wait", time.sleep, 5))
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("steps", range(6))
def test_who_is_cancelled_as_the_engine_answers_does_not_go_on(steps: int) -> None:
    """However many steps of the event loop after the answer."""

    async def stopped() -> bool:
        async def goes_on() -> None:
            await engine().call("wait", answered.wait)
            await asyncio.sleep(60)

        answered = threading.Event()
        task = asyncio.create_task(goes_on())
        await asyncio.sleep(0)
        answered.set()
        time.sleep(0.05)  # noqa: ASYNC251 - the answer is there before the loop takes its next step
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    assert asyncio.run(stopped())
