import json

from emulator.explanation import explain, shares
from emulator.profiles import LinkProfile
from emulator.report.explanation import Curve, to_json, to_text
from emulator.timeline import Span
from tests.integration.bus_world import make_plan
from tests.tolerance import assert_close


def link(rate: str) -> LinkProfile:
    return LinkProfile.model_validate({"source": "a test", "up": {"rate": rate}, "down": {"rate": rate}})


LINKS = {"slow": "1 Mbit/s", "fast": "1 Gbit/s", "server": "1 Gbit/s"}
WORLD = make_plan(*LINKS)
PLAN = WORLD.model_copy(
    update={"nodes": [node.model_copy(update={"link": link(LINKS[node.name])}) for node in WORLD.nodes]}
)


def rounds(slowest: list[str]) -> list[Span]:
    """Rounds in which the named client is last: 1 s of computing, 3 s of uplink, and 1 s at the server."""
    spans = []
    for number, name in enumerate(slowest, start=1):
        for client in ("slow", "fast"):
            late = 1.0 if client == name else 0.5
            spans += [
                Span("psl", number, client, "client_forward", 0.0, late),
                Span("psl", number, client, "uplink", late, late + 3.0, peer="server", bytes=375_000),
            ]
        spans.append(Span("psl", number, "server", "server_step", 4.0, 5.0))
    return spans


def test_time_is_told_by_stage_straggler_and_resource() -> None:
    found = explain(rounds(["slow", "slow", "slow", "fast"]), PLAN)
    assert_close(found.mean, 5.0, what="the mean round")
    assert {stage: round(seconds, 9) for stage, seconds in found.stages.items() if seconds} == {
        "client_forward": 1.0,
        "uplink": 3.0,
        "server_step": 1.0,
    }
    assert found.stragglers == {"slow": 0.75, "fast": 0.25}
    assert found.bottleneck == "slow up link"
    assert_close(found.resources["slow up link"], 0.75 * 3.0, what="seconds waited for it")
    assert list(shares(found)) == ["uplink", "client_forward", "server_step"]
    assert [step.span.stage for step in found.path] == ["client_forward", "uplink", "server_step"]


def test_a_message_waits_for_the_slower_of_its_links() -> None:
    spans = [Span("psl", 1, "server", "downlink", 0.0, 1.0, peer="slow", bytes=125_000)]
    assert explain(spans, PLAN).bottleneck == "slow down link"


def test_a_curve_reaches_its_target_then_and_now() -> None:
    curve = Curve([(1, 10.0, 1.0, 0.3), (2, 20.0, 2.0, 0.6), (3, 30.0, 3.0, 0.7)], target=0.6)
    assert (curve.reached(now=False), curve.reached(now=True)) == (20.0, 2.0)
    assert Curve(curve.points, target=0.9).reached(now=True) is None
    assert Curve(curve.points, target=None).reached(now=True) is None


def test_words_and_json_say_the_same() -> None:
    found = explain(rounds(["slow"]), PLAN)
    curve = Curve([(1, 10.0, 5.0, 0.6)], target=0.5)
    told = to_text([found], {}, {"psl": curve})
    assert "psl: a round takes 5.00 s" in told
    assert "uplink 60 %" in told
    assert "slow 100 % of the rounds" in told
    assert "5.00 s, where it was recorded 10.0 s" in told
    written = json.loads(to_json([found], {}, {"psl": curve}))["runs"]["psl"]
    assert written["bottleneck"] == "slow up link"
    assert written["curve"]["time_to_accuracy_s"] == 5.0
    assert written["agreement"] is None


def test_a_wait_for_late_nodes_is_no_wait_for_a_link() -> None:
    spans = [
        Span("psl", 1, "server", "wait", 0.0, 3.0, detail="for others"),
        Span("psl", 1, "server", "server_step", 3.0, 4.0),
    ]
    assert explain(spans, PLAN).bottleneck == "late nodes"
