"""A run in containers, as a user starts it, and what the engine has of it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker

from emulator.runtime import owner
from tests.integration.running import SECONDS, Command, Finished

WAITING = """
import asyncio

async def server(node):
    print("has started", flush=True)
    await node.receive()

async def client(node):
    print("has started", flush=True)
    await node.receive()
"""
"""Both nodes say that they have started, and never end."""


class Run(Command):
    """A running `edgebed run --runtime docker`, and the containers of that command alone."""

    LOOK_SECONDS = 0.1  # the engine has other things to do

    def __init__(self, engine: docker.DockerClient, experiment: Path, *arguments: object) -> None:
        self._engine = engine
        super().__init__("run", experiment, "--runtime", "docker", *arguments, cwd=experiment.parent)

    def containers(self) -> dict[str, Any]:
        """Those that are there, running or not, by the name of the node."""
        mine = f"/{self.process.pid}/"
        return {
            container.labels[owner.NODE]: container
            for container in self._engine.containers.list(all=True, ignore_removed=True, filters={"label": owner.OWNER})
            if mine in container.labels.get(owner.OWNER, "")
        }

    def networks(self) -> list[Any]:
        mine = f"/{self.process.pid}/"
        return [net for net in self._engine.networks.list() if mine in (net.attrs["Labels"] or {}).get(owner.OWNER, "")]

    def wait_until_started(self, *names: str) -> dict[str, Any]:
        """The containers, once the programs of these nodes have said that they have started."""
        self.wait_for(lambda: all(self._has_started(name) for name in names or ("server", "client")), "the start")
        return self.containers()

    def _has_started(self, name: str) -> bool:
        container = self.containers().get(name)
        with contextlib.suppress(docker.errors.APIError):
            return container is not None and b"has started" in container.logs()
        return False

    def finish(self, *, killed: bool = False, orphaned: bool = False) -> Finished:
        """As for any command, and that the engine has nothing of it either, unless it was `killed` or `orphaned`."""
        finished = super().finish(killed=killed)
        if not (killed or orphaned):
            left = [*self.containers(), *self.networks()]
            assert not left, f"left behind: {left}"
        return finished


class EngineProxy:
    """The engine's socket at another path, which can be cut off, or swallow all requests for `swallowed`."""

    def __init__(self, path: Path, *, swallowed: str = "none", engine: str = "/var/run/docker.sock") -> None:
        self.path = path
        self._engine = engine
        self._swallowed = swallowed.encode()
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and accept no more."""
        self.path.unlink(missing_ok=True)
        for connection in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine)
                self._open += [near, far]
                threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
                threading.Thread(target=self._copy, args=(far, near), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._swallowed in data.partition(b"\r\n")[0]:
                    head, _, body = data.partition(b"\r\n\r\n")
                    left = int(head.lower().partition(b"content-length:")[2].split()[0]) - len(body)
                    while left > 0:
                        left -= len(source.recv(left))
                    source.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                else:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def engine_that_says(path: Path, body: str) -> Iterator[None]:
    """An engine at the socket `path` that answers every request with `body`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        head = (
                            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                        )
                        connection.sendall((head + body).encode())

        threading.Thread(target=serve, daemon=True).start()
        yield
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def kill_command(run: Run) -> None:
    """Kill the command as nothing can catch it."""
    run.process.kill()
    run.process.wait(SECONDS)
