"""What it costs a computation to be interrupted by a CPU quota: measured by one, in a container that computes.

A quota lets a computation run for a millisecond or a few and then has it wait. Meanwhile its core sleeps or does other
work, and when the computation goes on its core is slow and has to fill its caches anew. Nothing but a quota does quite
that: signals cost several times as much, and a process that makes way for another finds its core awake. Nor does any
computation tell of another: what there is to fill anew, and how soon it is wanted, is its own.
"""

import asyncio
import json
import secrets
import tempfile
from pathlib import Path

from emulator.errors import InputError
from emulator.interruption import BRIEFLY, FOR_LONG, UNDISTURBED, Step
from emulator.plan import Plan
from emulator.runtime.containers import Containers
from emulator.runtime.docker import ENVIRONMENT, NO_NEW_PRIVILEGES, confinement, find_image, node_user
from emulator.runtime.engine import Engine
from emulator.runtime.program import computation
from emulator.throttled import STEP, parse

NAME = "interruption"
COMPARISONS = 8
"""Side by side, for a host's speed changes by the second."""
UNDISTURBED_SECONDS, BRIEFLY_SECONDS, FOR_LONG_SECONDS = 0.5, 1.0, 6.0
"""Each is long enough for a whole step of the longest."""
START_SECONDS = 60.0


async def measure(plan: Plan) -> tuple[float, list[Step]]:
    """What `interruption.interruption` is told of: the kernel's tick, and what `plan`'s programs compute, with and
    without quotas by turns, in about a minute.

    Where none of them says what that is (see `program.computation`), of the reference workload.
    Raises `InputError` where there is no engine that can be used.
    """
    try:
        user = node_user()
        engine = await Engine.connect()
        image = await find_image(engine)
    except InputError as error:
        raise InputError(f"what a CPU quota's interruptions cost is measured in a container: {error}") from None
    with tempfile.TemporaryDirectory() as logs:
        async with Containers(engine, image, secrets.token_hex(3), Path(logs)) as containers:
            await containers.open()
            command = ["python", "-m", "emulator.throttled", *_computation(plan)]
            await containers.start(
                NAME, command, ENVIRONMENT, user=user, security_opt=NO_NEW_PRIVILEGES, **confinement()
            )
            await containers.until_it_says(NAME, STEP, START_SECONDS)
            free = (UNDISTURBED, UNDISTURBED_SECONDS)
            turns = [free, (BRIEFLY, BRIEFLY_SECONDS), free, (FOR_LONG, FOR_LONG_SECONDS)] * COMPARISONS
            for bandwidth, seconds in [*turns, free]:
                await containers.throttle(NAME, bandwidth)
                await asyncio.sleep(seconds)
            said = await containers.log(NAME)
    return parse(said)


def _computation(plan: Plan) -> list[str]:
    """Arguments for `emulator.throttled`: the first of the programs that says what it computes, in the first run; or
    none."""
    for node in plan.nodes:
        if computation(node.program) is not None:
            return [node.program, json.dumps(plan.runs[0].config)]
    return []
