"""The local runtime: hub and nodes as processes of this host, no privileges needed."""

import asyncio
import secrets
import sys
from pathlib import Path

from emulator.awake import awake
from emulator.errors import DeadlineExceeded, InputError, NodeFailure
from emulator.plan import SERVER_ROLES, Plan
from emulator.profiles import HUB
from emulator.runtime.follow import HUB_SECONDS, LOOPBACK, follow
from emulator.runtime.process import RAISED, environment
from emulator.runtime.processes import Processes
from emulator.runtime.watch import Observer, Outcome
from emulator.system import single_threaded


def check(plan: Plan) -> None:
    """Raises `InputError` for a plan that only containers can carry out."""
    for key, value in (("compute", plan.compute), ("links", plan.links)):
        if value in ("quota", "kernel"):
            raise InputError(f"{key}: {value} needs nodes in containers: add --runtime docker, or leave {key} out")


async def run(plan: Plan, logs: Path, observer: Observer, *, control_host: str | None = LOOPBACK) -> Outcome:
    """Carry out `plan`, telling `observer`; `control_host` as in `follow`.

    Whatever happens, no process is left. Raises `NodeFailure` naming the node that died, failed or fell silent;
    `DeadlineExceeded` naming those that are waited for; `InputError` when the hub's port is taken.
    """
    check(plan)
    with awake(plan.awake) as kept:
        outcome = await _run(plan, logs, observer, control_host)
        outcome.kept_awake = kept
        return outcome


async def _run(plan: Plan, logs: Path, observer: Observer, control_host: str | None) -> Outcome:
    token = secrets.token_hex(16)
    async with Processes(logs) as processes:
        address = await start_hub(processes, plan, token)

        async def start_nodes() -> None:
            for node in plan.nodes:
                raised = {RAISED: "1"} if node.role in SERVER_ROLES else {}
                await processes.start(
                    node.name,
                    [sys.executable, "-m", "emulator.runtime.process"],
                    {**environment(address, node.name, token), **single_threaded(), **raised},
                )

        return await follow(
            plan,
            processes,
            observer,
            start_nodes,
            address=address,
            token=token,
            runtime="local",
            folder=logs.parent,
            control_host=control_host,
        )


async def start_hub(processes: Processes, plan: Plan, token: str, host: str = "127.0.0.1") -> str:
    """Start the hub, which listens on the interface `host`; returns its address once it does."""
    hub = await processes.start(HUB, [sys.executable, "-m", "emulator.bus.hub", host], {}, talks=True)
    assert hub.stdin is not None
    assert hub.stdout is not None
    hub.stdin.write(f"{token}\n{plan.model_dump_json()}\n".encode())
    await hub.stdin.drain()
    try:
        async with asyncio.timeout(HUB_SECONDS):
            address = (await hub.stdout.readline()).decode().strip()
    except TimeoutError:
        raise DeadlineExceeded(f"the hub did not listen within {HUB_SECONDS:g} s: see {processes.log(HUB)}") from None
    if not address:
        await hub.wait()
        said = processes.log(HUB).read_text(encoding="utf-8", errors="replace").strip()
        if hub.returncode == InputError.exit_status and said:
            raise InputError(said.splitlines()[-1])
        raise NodeFailure(processes.obituary(HUB))
    return address
