"""The containers of a run: started, watched, and always removed, with their network."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import docker
import docker.errors
import docker.types

from emulator.cgroup import Bandwidth
from emulator.errors import DeadlineExceeded, NodeFailure, refusals
from emulator.runtime import owner
from emulator.runtime.engine import CALL_SECONDS, Engine, gone, in_background, said_by
from emulator.runtime.processes import last_words

ALIVE_SECONDS = 5.0
"""How often the engine is asked whether it is there."""
END_SECONDS = 2.0
"""For nodes to end by themselves when all is done."""
LISTEN_SECONDS = 0.1
"""Between two looks at what a container says."""
LOG_LIMIT = {"max-size": "10m", "max-file": "1"}
WATCHED = ["die", "pause", "unpause"]
SIGKILL, SIGTERM = 137, 143
"""Exit statuses of a container whose process was ended by these."""


@dataclass(frozen=True)
class _End:
    how: str
    log: str


class Containers:
    """An async context: whatever ends it, no container and no network that was made in it is left behind.

    What each container said is then in `<logs>/<name>.log`.
    """

    def __init__(self, engine: Engine, image: str, run: str, logs: Path) -> None:
        self._engine = engine
        self._image = image
        self._run = run
        self._logs = logs
        self._labels = owner.labels(run)
        self._ids: dict[str, str] = {}
        self._ends: dict[str, _End] = {}
        self._exits: asyncio.Queue[str] = asyncio.Queue()
        self._paused: dict[str, float] = {}  # since when, by the engine's clock
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: Any = None
        self.disturbances: list[str] = []
        """What was done to the containers from outside, one line each."""

    async def __aenter__(self) -> Self:
        with refusals("create", self._logs):
            self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    while len(self._ends) < len(self._ids) - 1:  # the hub does not end
                        await self._exits.get()
        for task in self._tasks:
            task.cancel()
        removal = in_background(self._remove)
        try:
            await asyncio.shield(asyncio.wrap_future(removal))
        except asyncio.CancelledError:
            removal.result(CALL_SECONDS)  # even if the user does not want to wait
            raise
        finally:
            if not self._lost.cancel():
                self._lost.exception()  # seen, whether or not anybody waited for it

    # -- what is made

    async def open(self) -> None:
        """Make the network, and watch what becomes of its containers from now on."""
        client, name = self._engine.client, self._network
        await self._engine.make(
            "make a network", client.create_network, name, "bridge", labels=self._labels, check_duplicate=True
        )
        filters = {"label": f"{owner.RUN}={self._run}", "event": WATCHED}
        self._events = await self._engine.call("watch the containers", client.events, filters=filters, decode=True)
        loop = asyncio.get_running_loop()
        in_background(lambda: self._hear(loop))
        self._do(self._look_after_the_engine())

    async def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        user: str | None = None,
        port: tuple[int, int] | None = None,
        files: bytes | None = None,
        workdir: str | None = None,
        **limits: Any,
    ) -> None:
        """Start the container `name`, known by that name in the network.

        `port`: one of its ports, and that of the host's loopback interface where it is to be reached (0: any free
        one). `files`: a tar archive for its root folder. `limits` are those of the SDK's host config.
        """
        client = self._engine.client
        host = client.create_host_config(
            network_mode=self._network,
            port_bindings={port[0]: ("127.0.0.1", port[1] or None)} if port else None,
            log_config=docker.types.LogConfig(type="json-file", config=LOG_LIMIT),
            **limits,
        )
        network = client.create_networking_config({self._network: client.create_endpoint_config(aliases=[name])})
        made = await self._engine.make(
            f"make the container of {name}",
            client.create_container,
            self._image,
            list(command),
            name=f"{self._network}-{name}",
            environment=dict(env),
            user=user,
            working_dir=workdir,
            ports=[port[0]] if port else None,
            labels={**self._labels, owner.NODE: name},
            host_config=host,
            networking_config=network,
            # A check takes CPU time from what is being measured, and nobody looks: these containers are watched.
            healthcheck={"test": ["NONE"]},
        )
        self._ids[name] = made["Id"]
        if files is not None:
            await self._engine.call(f"fill the container of {name}", client.put_archive, made["Id"], "/", files)
        await self._engine.make(f"start the container of {name}", client.start, made["Id"])

    async def addresses(self, name: str, port: int) -> tuple[str, str]:
        """Where the container's `port` is reached in the network, and where on this host."""
        found = await self._engine.call("look at a container", self._engine.client.inspect_container, self._ids[name])
        settings = found["NetworkSettings"]
        inside, published = settings["Networks"][self._network]["IPAddress"], settings["Ports"][f"{port}/tcp"][0]
        return f"tcp://{inside}:{port}", f"tcp://127.0.0.1:{published['HostPort']}"

    async def throttle(self, name: str, bandwidth: Bandwidth) -> None:
        """Put the running container under another CPU quota."""
        await self._engine.call(
            f"limit the CPU of {name}",
            self._engine.client.update_container,
            self._ids[name],
            cpu_period=round(bandwidth.period * 1e6),
            cpu_quota=round(bandwidth.quota * 1e6),
        )

    async def resize(self, name: str, bandwidth: Bandwidth, memory: int | None) -> None:
        """Give the running container another CPU quota and so many bytes of memory; None: all that the host has, for
        the engine cannot lift a limit.

        Raises `EdgebedError` where it has more in use.
        """
        await self.throttle(name, bandwidth)
        client = self._engine.client

        def limit() -> None:
            most = int(client.info()["MemTotal"]) if memory is None else memory
            client.update_container(self._ids[name], mem_limit=most, memswap_limit=most)

        await self._engine.call(f"limit the memory of {name}", limit)

    async def run_in(self, name: str, command: Sequence[str]) -> tuple[int, str]:
        """Run `command` as root in the container, with the rights that the container was given; returns its exit
        status and what it said."""
        client = self._engine.client

        def run() -> tuple[int, str]:
            made = client.exec_create(self._ids[name], list(command), user="root")
            said = client.exec_start(made["Id"]).decode(errors="replace")
            return int(client.exec_inspect(made["Id"])["ExitCode"]), said

        return await self._engine.call(f"run {command[0]} in the container of {name}", run)

    async def log(self, name: str) -> str:
        """What the container has said so far."""
        return await self._engine.call(f"read what {name} says", self._read_log, self._ids[name])

    async def until_it_says(self, name: str, text: str, seconds: float) -> None:
        """Wait until the container has said `text`. Raises `NodeFailure` when it has ended, `DeadlineExceeded` when it
        takes longer than that."""
        deadline = time.monotonic() + seconds
        while text not in await self.log(name):
            if self.has_ended(name):
                raise NodeFailure(self.obituary(name))
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"the {name} did not begin within {seconds:g} s: see {self.where(name)}")
            await asyncio.sleep(LISTEN_SECONDS)

    # -- what becomes of them

    async def any_exit(self) -> str:
        """The name of a container that has ended and was not reported before. Raises when the engine is gone."""
        exit_ = asyncio.create_task(self._exits.get())
        try:
            waits: list[asyncio.Future[Any]] = [exit_, self._lost]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                self._lost.result()
            return exit_.result()
        finally:
            exit_.cancel()

    def has_ended(self, name: str) -> bool:
        """Whether the container is known to have ended."""
        return name in self._ends

    def obituary(self, name: str) -> str:
        """How the container ended and its last lines, in one line."""
        if self._lost.done():
            return str(self._lost.exception())  # a stopping engine ends its containers first
        end = self._ends[name]
        return f"{name} died: {end.how}; {last_words(end.log)}"

    def why_silent(self, name: str) -> str:
        """Why a container that has not ended may not be heard of."""
        return "its container is paused" if name in self._paused else "stopped, or starved of CPU"

    def where(self, name: str) -> str:
        """Where to read what the container said."""
        return str(self._logs / f"{name}.log")

    # -- the engine's news

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: pass on what the engine says until it says no more."""
        why: object = "it closed the connection"
        try:
            for event in self._events:
                loop.call_soon_threadsafe(self._on_event, event)
        except Exception as error:
            why = error
        with contextlib.suppress(RuntimeError):  # all is over, and the loop is closed
            loop.call_soon_threadsafe(self._lose, gone(self._engine.where, why))

    def _on_event(self, event: Mapping[str, Any]) -> None:
        facts = event["Actor"]["Attributes"]
        name, at = facts.get(owner.NODE, ""), event["timeNano"] / 1e9
        match event["Action"]:
            case "pause":
                self._paused[name] = at
            case "unpause" if name in self._paused:
                self.disturbances.append(f"{name} was paused for {at - self._paused.pop(name):.1f} s")
            case "die":
                self._do(self._note_end(name, int(facts.get("exitCode", -1))))
            case _:
                pass

    async def _note_end(self, name: str, code: int) -> None:
        """Find out how the container ended while it is still there to be asked."""
        how, log = f"exit status {code}", ""
        how = {SIGKILL: "killed (SIGKILL)", SIGTERM: "stopped (SIGTERM)"}.get(code, how)
        client, id_ = self._engine.client, self._ids[name]
        with contextlib.suppress(Exception):  # removed, or the engine is going: what is known is said
            if (await self._engine.call("", client.inspect_container, id_))["State"]["OOMKilled"]:
                how = "killed by the memory limit of its device"
            log = await self._engine.call("", self._read_log, id_)
        self._ends[name] = _End(how, log)
        self._exits.put_nowait(name)

    async def _look_after_the_engine(self) -> None:
        """An engine that hangs closes no connection."""
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            try:
                await self._engine.check_alive()
            except NodeFailure as error:
                self._lose(error)
                return

    def _lose(self, error: NodeFailure) -> None:
        if not self._lost.done():
            self._lost.set_exception(error)

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the end

    def _remove(self) -> None:
        """In a thread: remove everything that has this run's label."""
        self._engine.settle(CALL_SECONDS)
        with contextlib.suppress(Exception):  # closed already, or by the other side
            self._events.close()
        try:
            remove(self._engine, f"{owner.RUN}={self._run}", self._save_log)
        except Exception as error:
            if not self._lost.done():
                sys.stderr.write(f"note: {self._network} could not be removed, the next run will: {said_by(error)}\n")

    def _save_log(self, container: Mapping[str, Any]) -> None:
        name = container["Labels"][owner.NODE]
        with contextlib.suppress(OSError, docker.errors.APIError):  # the run's own error says what is wrong
            Path(self.where(name)).write_text(self._read_log(container["Id"]), encoding="utf-8")

    def _read_log(self, id_: str) -> str:
        said: bytes = self._engine.client.logs(id_)
        return said.decode(errors="replace")

    @property
    def _network(self) -> str:
        """The name of the network, and what those of the containers begin with."""
        return f"edgebed-{self._run}"


def remove(engine: Engine, label: str, before: Callable[[Mapping[str, Any]], None] = lambda container: None) -> int:
    """Block until every container and network with `label` is removed; returns how many containers there were.

    `before` is called with each container when it has ended. Raises what the SDK does.
    """
    client = engine.client
    containers = client.containers(all=True, filters={"label": label})

    def one(container: Mapping[str, Any]) -> None:
        with _ignored(404, 409, 500):  # it has ended already; or cannot be, and then is removed by force
            client.kill(container["Id"])
        before(container)
        with _ignored(404, 409):  # somebody else removes it
            client.remove_container(container["Id"], v=True, force=True)

    removals = [in_background(partial(one, container)) for container in containers]
    for removal in removals:
        removal.result(CALL_SECONDS)
    for network in client.networks(filters={"label": label}):
        with _ignored(404):
            client.remove_network(network["Id"])
    return len(containers)


def remove_orphans(engine: Engine) -> None:
    """Block until what commands that were killed have left is removed; says so on standard error."""
    client = engine.client
    found: dict[str, bool] = {}
    for container in client.containers(all=True, filters={"label": owner.OWNER}):
        labels = container["Labels"]
        run = labels.get(owner.RUN, "")
        found[run] = found.get(run, True) and owner.is_orphan(labels, container["State"] == "running")
    for network in client.networks(filters={"label": owner.OWNER}):
        run = network["Labels"].get(owner.RUN, "")
        found.setdefault(run, owner.is_orphan(network["Labels"], running=False))
    for run, orphaned in found.items():
        if run and orphaned:
            count = remove(engine, f"{owner.RUN}={run}")
            sys.stderr.write(f"note: removed {count} containers that a killed run had left (edgebed-{run})\n")


@contextlib.contextmanager
def _ignored(*statuses: int) -> Any:
    try:
        yield
    except docker.errors.APIError as error:
        if error.status_code not in statuses:
            raise
