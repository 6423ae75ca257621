"""How close the emulation comes to its profiles, on the whole path node - hub - node."""

import json
import statistics
from typing import Any

from emulator.host import this_host
from emulator.profiles import DeviceProfile
from emulator.units import RATE, THROUGHPUT, parse, show
from tests.benchmarks.harness import link, measure

KIB = 1024


def rate_error(rate: str, nbytes: int, seconds: float = 2.0) -> dict[str, Any]:
    """Achieved over configured rate, less 1, of messages sent back to back for about `seconds`.

    And how much later than due a message alone arrives: its part of the added delay, whatever the rate.
    """
    configured = parse(rate, RATE)
    count = max(2, round(seconds * configured / 8 / nbytes))
    nodes = {
        "sender": ("stream_sender", "host", link(rate)),
        "receiver": ("stream_receiver", "host", link()),
    }
    spans = measure(nodes, 1, nbytes=nbytes, count=count)[1]
    total = sum(span.bytes for span in spans) * 8
    stream = total / (max(span.end for span in spans) - min(span.start for span in spans))
    alone = [spans[0] for spans in measure(nodes, 20 if nbytes < 2**20 else 5, nbytes=nbytes, count=1).values()]
    late = statistics.median(span.lateness or 0.0 for span in alone)
    return {
        "rate": rate,
        "message_bytes": nbytes,
        "messages": count,
        "rate_error": stream / configured - 1,
        "single_message_late_ms": 1e3 * late,
    }


def delay_error(delay_ms: float) -> dict[str, Any]:
    """Median of one-way delay beyond the configured one, for small messages."""
    nodes = {
        "sender": ("stream_sender", "host", link(delay=f"{delay_ms} ms")),
        "receiver": ("stream_receiver", "host", link()),
    }
    spans = [spans[0] for spans in measure(nodes, 100, nbytes=64, count=1).values()]
    added = sorted(span.duration - delay_ms / 1000 for span in spans)
    return {
        "delay_ms": delay_ms,
        "added_delay_error_ms": {"median": 1e3 * statistics.median(added), "p95": 1e3 * added[len(added) * 95 // 100]},
    }


def compute_error(cpu: float, ratio: float) -> dict[str, Any]:
    """Achieved over configured stretch, less 1: time on the device over CPU time on the host."""
    training = this_host().core_flops / ratio
    device = DeviceProfile(
        name="benchmark", training=show(training, THROUGHPUT), memory="unlimited", source="a share of this host"
    )
    by_round = measure({"worker": ("worker", device, link())}, 20, cpu=cpu)
    stretches = [spans[0].duration / (spans[0].cpu or 0) / ratio - 1 for spans in by_round.values()]
    return {"cpu_ms": 1e3 * cpu, "ratio": ratio, "stretch_error": statistics.median(stretches)}


def main() -> None:
    figures = {
        "rate": [
            rate_error(rate, nbytes)
            for rate, sizes in (
                ("1 Mbit/s", (256 * KIB,)),
                ("10 Mbit/s", (256 * KIB, 4096 * KIB)),
                ("100 Mbit/s", (256 * KIB, 4096 * KIB)),
            )
            for nbytes in sizes
        ],
        "delay": [delay_error(delay) for delay in (1.0, 20.0)],
        "compute": [compute_error(cpu, ratio) for cpu in (0.010, 0.050) for ratio in (2.0, 10.0)],
    }
    print(json.dumps({"fidelity": figures}, indent=2))


if __name__ == "__main__":
    main()
