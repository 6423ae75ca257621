"""A small timeline with numbers that can be checked by hand."""

from collections.abc import Sequence

from emulator.report.summary import Summary, summarise
from emulator.timeline import Metric, Span
from emulator.verdict import HostFacts, judge

HOST = HostFacts(cores=2, cores_wanted=1.25, time_scale=2.0, notes=("hand-made",))


def spans(run: str = "gapsl", late: float = 0.0) -> list[Span]:
    """Two rounds of 2.0 and 3.0 s: 0.5 s forward, 0.5 s (round 2: 1.5 s) up, then server, down and backward."""
    made = [Span(run, 0, "server", "setup", 0.0, 9.0)]
    for number, begin, up in ((1, 10.0, 0.5), (2, 20.0, 1.5)):
        at = begin + 0.5 + up
        made += [
            Span(run, number, "a", "client_forward", begin, begin + 0.5, due=begin + 0.5 - late, mode="stretched"),
            Span(run, number, "a", "uplink", begin + 0.5, at, bytes=3 * 2**20, peer="server", due=at),
            Span(run, number, "server", "server_step", at, at + 0.25, mode="unthrottled"),
            Span(run, number, "server", "downlink", at + 0.25, at + 0.5, bytes=2**20, peer="a", due=at + 0.5),
            Span(run, number, "a", "client_backward", at + 0.502, at + 1.0, mode="unthrottled"),
            Span(run, number, "a", "evaluation", at + 1.0, at + 4.0, bytes=2**30, peer="server", off_clock=True),
        ]
    return made


def metrics(run: str = "gapsl") -> list[Metric]:
    return [
        Metric(run, number, "server", name, value)
        for number, values in ((0, (0.1, 0.05, 0.15)), (1, (0.5, 0.25, 0.75)), (2, (0.8125, 0.75, 0.875)))
        for name, value in zip(("accuracy", "accuracy_min", "accuracy_max"), values, strict=True)
    ]


def summary(
    run: str = "gapsl", target: float | None = 0.8, late: float = 0.0, recorded: Sequence[Metric] | None = None
) -> Summary:
    timeline = spans(run, late)
    found = metrics(run) if recorded is None else recorded
    return summarise(timeline, found, servers={"server"}, wall=12.5, target=target, verdict=judge(timeline, HOST))
