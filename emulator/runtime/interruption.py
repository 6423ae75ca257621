"""What it costs a computation to be interrupted by a CPU quota: measured by one, in a container that trains.

A quota lets a computation run for a millisecond or a few and then has it wait. Meanwhile its core sleeps or does other
work, and when the computation goes on its core is slow and has to fill its caches anew. Nothing but a quota does quite
that: signals cost several times as much, and a process that makes way for another finds its core awake.
"""

import asyncio
import secrets
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator import quota
from emulator.cost import interruption
from emulator.errors import EdgebedError, InputError
from emulator.runtime.containers import Containers
from emulator.runtime.docker import find_image
from emulator.runtime.engine import Engine
from emulator.system import single_threaded
from emulator.throttled import STEP, Step

NAME = "interruption"
UNDISTURBED = quota.bandwidth(1.0)
INTERRUPTED = quota.bandwidth(quota.LEAST_QUOTA / quota.PERIOD)
COMPARISONS = 10
"""Side by side, for a host's speed changes by the second."""
UNDISTURBED_SECONDS, INTERRUPTED_SECONDS = 0.4, 1.6
START_SECONDS = 60.0
LEAST_STEPS = 10
"""Of each kind."""


async def measure() -> float:
    """CPU seconds for each interruption, in about half a minute.

    Raises `InputError` where there is no engine that can be used, `EdgebedError` where the quotas were not in force.
    """
    try:
        engine = await Engine.connect()
        image = await find_image(engine)
    except InputError as error:
        raise InputError(f"what a CPU quota's interruptions cost is measured in a container: {error}") from None
    with tempfile.TemporaryDirectory() as logs:
        async with Containers(engine, image, secrets.token_hex(3), Path(logs)) as containers:
            await containers.open()
            command = ["python", "-m", "emulator.throttled"]
            rights: dict[str, Any] = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True}
            await containers.start(NAME, command, single_threaded(), **rights)
            await containers.until_it_says(NAME, STEP, START_SECONDS)
            for _ in range(COMPARISONS):
                for bandwidth, seconds in ((UNDISTURBED, UNDISTURBED_SECONDS), (INTERRUPTED, INTERRUPTED_SECONDS)):
                    await containers.throttle(NAME, bandwidth)
                    await asyncio.sleep(seconds)
            said = await containers.log(NAME)
    return cost([Step.parse(line) for line in said.splitlines() if line.startswith(STEP)])


def cost(steps: Sequence[Step]) -> float:
    """Of those steps that were under one of the two quotas. Raises `EdgebedError` where they are too few to say."""
    undisturbed, interrupted = (
        [step.cpu for step in steps if abs(step.cores / bandwidth.cores - 1) <= quota.TOLERANCE]
        for bandwidth in (UNDISTURBED, INTERRUPTED)
    )
    if min(len(undisturbed), len(interrupted)) < LEAST_STEPS:
        raise EdgebedError(
            f"what a CPU quota's interruptions cost could not be measured: {len(undisturbed)} steps of training were "
            f"under a quota of {UNDISTURBED}, {len(interrupted)} under one of {INTERRUPTED}: {LEAST_STEPS} are needed"
        )
    return interruption(statistics.fmean(undisturbed), statistics.fmean(interrupted), INTERRUPTED.quota)
