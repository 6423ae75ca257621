"""What the bus costs: throughput beside a plain TCP socket pair, and an empty round."""

import json
import multiprocessing
import socket
import statistics
import time
from typing import Any

from emulator.timeline import round_latency
from tests.benchmarks.harness import link, measure

MESSAGE = 4 * 2**20
COUNT = 100
CLIENTS = 10


def tcp_throughput() -> float:
    """Bytes a second of messages from one process to another over a loopback TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = multiprocessing.get_context("spawn").Process(target=_send, args=(listener.getsockname()[1],))
        sender.start()
        connection, _ = listener.accept()
        with connection:
            buffer = bytearray(MESSAGE)
            _receive(connection, buffer)
            start = time.perf_counter()
            for _ in range(COUNT - 1):
                _receive(connection, buffer)
            elapsed = time.perf_counter() - start
        sender.join()
    return MESSAGE * (COUNT - 1) / elapsed


def _send(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        payload = bytes(MESSAGE)
        for _ in range(COUNT):
            connection.sendall(payload)


def _receive(connection: socket.socket, buffer: bytearray) -> None:
    view = memoryview(buffer)
    while view:
        view = view[connection.recv_into(view) :]


def hub_throughput() -> float:
    """Bytes a second of the same messages from node to node, through the hub and unlimited links."""
    nodes = {
        "sender": ("stream_sender", "host", link()),
        "receiver": ("stream_receiver", "host", link()),
    }
    spans = sorted(measure(nodes, 1, nbytes=MESSAGE, count=COUNT)[1], key=lambda span: span.end)
    return MESSAGE * (COUNT - 1) / (spans[-1].end - spans[0].end)


def empty_round() -> dict[str, float]:
    """Seconds of a round in which the server exchanges nothing but headers with its clients."""
    nodes: dict[str, Any] = {f"client-{number}": ("round_client", "host", link()) for number in range(1, CLIENTS + 1)}
    nodes["server"] = ("round_server", "host", link())
    times = [round_latency(spans) for number, spans in measure(nodes, 300).items() if number > 20]
    return {"median_ms": 1e3 * statistics.median(times), "p95_ms": 1e3 * statistics.quantiles(times, n=20)[-1]}


def main() -> None:
    # In turn, so that a host that changes its speed does so for both.
    ratios, plain, through = [], [], []
    for _ in range(5):
        plain.append(tcp_throughput())
        through.append(hub_throughput())
        ratios.append(through[-1] / plain[-1])
    figures = {
        "throughput_4MiB": {
            "hub_over_tcp": statistics.median(ratios),
            "hub_MB_s": statistics.median(through) / 1e6,
            "tcp_MB_s": statistics.median(plain) / 1e6,
        },
        f"empty_round_{CLIENTS}_clients": empty_round(),
    }
    print(json.dumps({"speed": figures}, indent=2))


if __name__ == "__main__":
    main()
