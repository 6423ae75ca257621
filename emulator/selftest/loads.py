"""What the self-test sends and computes on a testbed, so that every link and device takes a moment for it, and none
takes minutes. Phases are plain values, for the config of `program`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from emulator import quota
from emulator.plan import NodePlan, Plan
from emulator.selftest.ways import Way, conductor_of, entitled, ways_of

SIZES = [64 * 4**step for step in range(10)]
"""Bytes of the messages that go alone: 64 B to 16 MiB."""
FEW = 8
"""Smallest messages that go alone over each way."""
LADDER_SECONDS = 14.0
DELAY_SECONDS = 10.0
SPIN_SECONDS = 5.0
TOGETHER_SECONDS = 1.6
"""Of the host: for the largest messages alone over all ways, for small ones to and fro, for work on all devices one
after the other, and for all nodes sending at once. With what comes between, the demo testbed takes half a minute."""
LONGEST = 0.7
"""Emulated seconds that no message alone takes longer than, were the host's time without end."""
DELAYS = (24, 240)
"""At least and at most so many messages to and fro: the distribution of jitter is theirs."""
SPINS, TICKS = 3, 10
LONGEST_SPIN = 0.3
"""Emulated seconds."""
LEAST_CPU = 0.005
HELD = 0.003
"""Seconds of the host that a tick is held back for."""
LEAST_SLOW = 1.15
"""Seconds of the host for each CPU second, from which on results are held back at all worth mentioning."""
QUOTA_PERIODS, QUOTA_SECONDS = 100, 4.0
"""Of a CPU quota, that work under it takes, and seconds of the host that it takes at most: two periods may pass before
the quota bites, or be lost to what the node did before."""
PARTS = 4
"""Messages at least of each node while all are sending."""
UNLIMITED_BYTES = 2**20
"""Of each message where no link has a rate."""
MOST_BYTES = 256 * 2**20
"""Of all nodes together while all are sending."""
MEMORY_SHARE = 32
"""No message is larger than this fraction of its nodes' memory."""
MOST_ALONE = 16
"""Of more nodes than these, one of each kind of link and of device is tested alone; all are tested at once."""


def phases(plan: Plan) -> list[dict[str, Any]]:
    """The phases on the testbed of `plan`."""
    nodes, scale = plan.nodes, plan.scale
    conductor, ways = conductor_of(nodes), ways_of(plan)
    found: list[dict[str, Any]] = []
    rests = {node.name: _rest(node, scale) if plan.compute == "quota" else 0.0 for node in nodes}
    up = {way.client: way for way in ways if way.sender == way.client}
    down = {way.client: way for way in ways if way.receiver == way.client}
    lone = [name for name in _of_each_kind(nodes) if name in up]
    if lone:
        memory = {node.name: node.device.memory for node in nodes}
        longest = min(LONGEST, LADDER_SECONDS / (scale * 2 * len(lone)))
        for client in lone:
            most = min(memory[client], memory[conductor]) / MEMORY_SHARE
            sizes = {key: ladder(way, longest, most) for key, way in (("up", up[client]), ("down", down[client]))}
            found.append({"kind": "alone", "client": client, **sizes})
        counts = {
            client: to_and_fro(up[client], down[client], DELAY_SECONDS / scale, rests[client] / scale)
            for client in lone
        }
        found.append({"kind": "delay", "counts": counts, "nbytes": SIZES[0], "rests": rests})
        for key, own in (("up", up), ("down", down)):
            found.append({"kind": key, "sizes": at_once(list(own.values()), TOGETHER_SECONDS / scale)})
    alone = _of_each_kind(nodes)
    seconds = min(LONGEST_SPIN, SPIN_SECONDS / (scale * SPINS * len(alone)))
    work = {node.name: _work(node, scale, seconds, rests[node.name]) for node in nodes}
    found += [{"kind": "compute", "nodes": {name: work[name]}} for name in alone]
    everybody = {name: {**own, "ticks": 0, "memory": 0.0} for name, own in work.items()}
    found.append({"kind": "compute", "nodes": everybody})
    return found


def ladder(way: Way, longest: float, most: float) -> list[int]:
    """Bytes of the messages over `way`: the smallest some times, then ever larger ones, none of which takes longer than
    `longest` seconds or has more than `most` bytes, if the smallest has not."""
    fitting = [size for size in SIZES[1:] if size * 8 / way.goodput <= longest and size <= most]
    return [SIZES[0]] * FEW + fitting


def to_and_fro(up: Way, down: Way, seconds: float, rest: float = 0.0) -> int:
    """How many small messages go up and down in so many emulated seconds, with a `rest` after each."""
    each = up.delay + down.delay + SIZES[0] * 8 / up.goodput + SIZES[0] * 8 / down.goodput + rest
    least, most = DELAYS
    return most if each * most <= seconds else max(least, int(seconds / each))


def at_once(ways: Sequence[Way], seconds: float) -> dict[str, list[int]]:
    """Bytes of each client's messages, so that all are busy for about as many emulated seconds."""
    rates = entitled(ways)
    totals = {way.client: rates[way.name] * seconds / 8 for way in ways}
    limited = math.fsum(total for total in totals.values() if math.isfinite(total))
    fit = min(1.0, MOST_BYTES / limited) if limited else 1.0
    return {client: _parts(total * fit) for client, total in totals.items()}


def _parts(total: float) -> list[int]:
    if math.isinf(total):
        return [UNLIMITED_BYTES] * PARTS
    count = max(PARTS, math.ceil(total / SIZES[-1]))
    return [max(SIZES[0], round(total / count))] * count


def _rest(node: NodePlan, scale: float) -> float:
    """Seconds of the host after which a node under a CPU quota has a fresh one."""
    return 2 * quota.bandwidth(1 / (node.slowdown * scale)).period


def _work(node: NodePlan, scale: float, seconds: float, rest: float) -> dict[str, Any]:
    """What a device computes: work that it takes so many emulated seconds for, and ticks.

    Under a CPU quota the work is in one piece of many periods, and no tick uses a quota up: before each the node has a
    `rest` until it has a fresh one. Without a quota it has none.
    """
    slow = node.slowdown * scale  # seconds of the host for each CPU second
    tick = HELD / (slow - 1) if slow >= LEAST_SLOW else 0.0
    spins, spin = SPINS, max(LEAST_CPU, seconds / node.slowdown)
    if rest:
        kernels = quota.bandwidth(1 / slow)
        tick = min(tick, kernels.quota / 2)
        spins, spin = 1, max(spin, min(QUOTA_PERIODS * kernels.period, QUOTA_SECONDS) / slow)
    return {
        "spins": spins,
        "spin_cpu": spin,
        "ticks": TICKS if tick else 0,
        "tick_cpu": tick,
        "rest": rest,
        "memory": node.device.memory if math.isfinite(node.device.memory) else 0.0,
    }


def _of_each_kind(nodes: Sequence[NodePlan]) -> list[str]:
    """The nodes that are tested alone."""
    if len(nodes) <= MOST_ALONE:
        return [node.name for node in nodes]
    kinds: Mapping[Any, str] = {
        (node.role, node.link, node.segment, node.device): node.name for node in reversed(nodes)
    }
    return [node.name for node in nodes if node.name in kinds.values()]
