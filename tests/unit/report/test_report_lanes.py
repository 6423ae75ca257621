import json
from itertools import pairwise
from pathlib import Path

from emulator.critical_path import critical_path
from emulator.lanes import Lane, lanes_of, view
from emulator.report import trace
from emulator.report.folder import read
from emulator.timeline import Span
from tests.made_runs import make_run

SERVERS = {"server"}
COMPUTE = Span("psl", 1, "a", "client_forward", 10.0, 10.5)
UP = Span("psl", 1, "a", "uplink", 10.5, 11.0, bytes=100, peer="server")
DOWN = Span("psl", 1, "server", "downlink", 11.0, 11.25, bytes=50, peer="b")
ACROSS = Span("psl", 1, "a", "handover", 11.0, 12.0, bytes=70, peer="b")


def test_a_message_is_drawn_at_its_clients_link() -> None:
    assert lanes_of(COMPUTE, SERVERS) == [Lane("a", "compute")]
    assert lanes_of(UP, SERVERS) == [Lane("a", "up")]
    assert lanes_of(DOWN, SERVERS) == [Lane("b", "down")]
    assert lanes_of(ACROSS, SERVERS) == [Lane("a", "up"), Lane("b", "down")]
    assert lanes_of(Span("psl", 1, "server", "x", 0, 1, peer="two"), {"server", "two"}) == [Lane("server", "up")]


def test_rounds_stand_one_after_the_other() -> None:
    second = Span("psl", 2, "b", "client_forward", 100.0, 100.25)
    rounds = {1: [UP, COMPUTE, DOWN, ACROSS], 2: [second]}
    made = view(rounds, {1: 0.0, 2: 2.0}, ["server", "b", "a"], SERVERS, {1: critical_path(rounds[1])})
    assert made["lanes"] == [
        {"node": "b", "way": "compute"},
        {"node": "b", "way": "down"},
        {"node": "a", "way": "compute"},
        {"node": "a", "way": "up"},
    ]
    rows = [
        (made["stages"][made["stage"][i]], made["lane"][i], made["start"][i], made["length"][i], made["critical"][i])
        for i in range(len(made["start"]))
    ]
    assert rows == [
        ("client_forward", 2, 0, 500_000, 1),
        ("uplink", 3, 500_000, 500_000, 0),
        ("downlink", 1, 1_000_000, 250_000, 0),
        ("handover", 3, 1_000_000, 1_000_000, 1),
        ("handover", 1, 1_000_000, 1_000_000, 1),
        ("client_forward", 0, 2_000_000, 250_000, 0),
    ]
    assert made["bytes"] == [0, 100, 50, 70, 70, 0]
    assert [made["nodes"][peer] if peer >= 0 else "" for peer in made["peer"]] == ["", "server", "b", "b", "b", ""]


def test_a_trace_holds_every_span_as_a_slice(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path, rounds=2))
    out = trace.make([folder], tmp_path / "trace.json")
    written = json.loads(out.read_text())
    slices = [event for event in written["traceEvents"] if event["ph"] == "X"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in written["traceEvents"] if e["name"] == "thread_name"}
    processes = {e["pid"]: e["args"]["name"] for e in written["traceEvents"] if e["name"] == "process_name"}
    spans = [span for spans in folder.spans.values() for span in spans]
    assert len(slices) == len(spans)
    found = {(processes[e["pid"]], e["name"], names[e["pid"], e["tid"]], e["ts"], e["dur"]) for e in slices}
    up = next(span for span in spans if span.stage == "uplink")
    assert ("gapsl", "uplink", f"{up.node} up", up.start * 1e6, up.duration * 1e6) in found
    assert all(e["args"]["bytes"] for e in slices if e["cat"] == "message")


def test_slices_of_one_row_never_overlap(tmp_path: Path) -> None:
    folder = make_run(tmp_path, rounds=1)
    late = Span("psl", 1, "client-1", "uplink", 5.0, 9.0, bytes=1, peer="server")
    with (folder / "timeline.jsonl").open("a") as timeline:
        timeline.write(json.dumps(late.to_fields()) + "\n")
    events = json.loads(trace.make([read(folder)], tmp_path / "t").read_text())["traceEvents"]
    rows: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            rows.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    assert len([e for e in events if e["name"] == "thread_name" and e["args"]["name"] == "client-1 up"]) == 3
    for row in rows.values():
        assert all(end <= start + 1e-3 for (_, end), (start, _) in pairwise(row))


def test_a_trace_has_the_fields_that_its_format_wants(tmp_path: Path) -> None:
    folder = make_run(tmp_path, rounds=2)
    event = Span("psl", 1, "client-1", "link_change", 5.5, 5.5, off_clock=True, detail="wifi-5 -> lte")
    with (folder / "timeline.jsonl").open("a") as timeline:
        timeline.write(json.dumps(event.to_fields()) + "\n")
    written = json.loads(trace.make([read(folder)], tmp_path / "t").read_text())
    assert isinstance(written["traceEvents"], list)
    threads = {(e["pid"], e["tid"]) for e in written["traceEvents"] if e["name"] == "thread_name"}
    for one in written["traceEvents"]:
        assert isinstance(one["name"], str)
        assert isinstance(one["pid"], int)
        assert isinstance(one["tid"], int)
        assert one["ph"] in "XMi"
        if one["ph"] == "X":
            assert one["ts"] >= 0
            assert one["dur"] >= 0
            assert (one["pid"], one["tid"]) in threads
    (instant,) = (one for one in written["traceEvents"] if one["ph"] == "i")
    assert (instant["name"], instant["ts"], instant["s"]) == ("client-1: link change", 5.5e6, "p")
    assert instant["args"]["detail"] == "wifi-5 -> lte"
