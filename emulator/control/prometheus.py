"""What Prometheus scrapes at `/metrics`, in its text format. Times are emulated seconds."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from emulator.control.state import State
from emulator.loss import Losses
from emulator.rate import mean_rate

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def exposition(state: State) -> bytes:
    """The testbed's figures as they are now; one that is not known yet is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Testbed(state))
    return generate_latest(registry)


class _Testbed(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        status = self._state.status()
        about = {"experiment": status.experiment, "testbed": status.testbed, "runtime": status.runtime}
        yield InfoMetricFamily("edgebed", "The running testbed", value=about)
        run = status.run or ""
        for name, what, value in (
            ("runs_done", "Runs that are over", len(status.runs_done)),
            ("runs_left", "Runs after the current one", len(status.runs_left)),
            ("round", "The latest round of the current run that was heard of", status.round),
            ("round_latency_seconds", "Latency of the last whole round", status.round_latency_s),
            ("accuracy_ratio", "Accuracy when last evaluated, mean over the clients", status.accuracy),
        ):
            if value is not None:
                gauge = GaugeMetricFamily(f"edgebed_{name}", what, labels=["run"])
                gauge.add_metric([run], value)
                yield gauge
        yield from self._nodes(status.last_round)

    def _nodes(self, last: int | None) -> Iterator[Metric]:
        busy = GaugeMetricFamily("edgebed_node_busy_seconds", "Busy in the last whole round", labels=["node"])
        up = GaugeMetricFamily("edgebed_node_up", "1 unless the node has failed or is silent", labels=["node"])
        labels = ["node", "direction"]
        rate = GaugeMetricFamily(
            "edgebed_link_rate_bits_per_second", "Of the profile in force; of a trace, its mean", labels=labels
        )
        delay = GaugeMetricFamily("edgebed_link_delay_seconds", "One way, of the profile in force", labels=labels)
        loss = GaugeMetricFamily("edgebed_link_loss_ratio", "Packets lost, of the profile in force", labels=labels)
        through = GaugeMetricFamily("edgebed_node_bits_per_second", "Sent and received in a round", labels=labels)
        info = InfoMetricFamily("edgebed_node", "What a node is", labels=["node"])
        traffic = self._state.history.traffic(last)
        for name in self._state.nodes:
            node = self._state.node(name)
            info.add_metric([name], {"role": node.role, "device": node.device.name, "link": node.link.name})
            up.add_metric([name], float(node.state not in ("failed", "silent")))
            if node.busy_s is not None:
                busy.add_metric([name], node.busy_s)
            for direction, channel in (("up", node.link.up), ("down", node.link.down)):
                rate.add_metric([name, direction], mean_rate(channel))  # +Inf: unlimited
                delay.add_metric([name, direction], channel.delay)
                loss.add_metric([name, direction], Losses.of(channel.loss, channel.burst).mean)
                if name in traffic:
                    through.add_metric([name, direction], traffic[name][direction])
        yield from (info, up, busy, rate, delay, loss, through)
