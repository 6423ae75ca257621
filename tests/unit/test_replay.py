from collections.abc import Sequence

from emulator.change import DEVICE_CHANGE, LINK_CHANGE
from emulator.network import Arrival, Network
from emulator.plan import Plan
from emulator.replay import MOST_MESSAGES, network_of, promises, replay
from emulator.timeline import Span
from tests.integration.bus_world import make_plan
from tests.tolerance import assert_close

PLAN = make_plan("server", "a", "b", up={"rate": "8 Mbit/s", "delay": "20 ms", "jitter": "3 ms"})


def message(start: float, nbytes: int = 1000, node: str = "a", **more: object) -> Span:
    made = {"due": start + 1.0, **more}
    return Span("run", 1, node, "uplink", start, start + 1.0, bytes=nbytes, peer="server", **made)  # type: ignore[arg-type]


def dues(spans: Sequence[Span], plan: Plan = PLAN) -> list[float]:
    return [promise.due for promise in promises(spans, plan)]


def test_a_message_alone_takes_its_bytes_at_the_rate_and_the_delay() -> None:
    assert_close(dues([message(1.0, 10**6)])[0], 1.0 + 1.0 + 0.020)
    assert_close(promises([message(1.0)], PLAN)[0].jitter, 0.003)


def test_messages_are_sent_in_the_order_of_their_times() -> None:
    later, earlier = message(5.0), message(0.5, 10**6)
    assert_close(dues([later, earlier])[0], 0.5 + 1.0 + 0.020)
    assert [promise.span for promise in promises([later, earlier], PLAN)] == [earlier, later]


def test_what_is_sent_at_one_moment_is_sent_in_the_testbeds_order_whoever_tells_of_it_first() -> None:
    def answer(peer: str, due: float) -> Span:
        return Span("run", 1, "server", "downlink", 1.0, due, bytes=10**6, peer=peer, due=due)

    to_a, to_b = answer("a", 2.020), answer("b", 3.020)  # one after the other over the server's own link
    assert [promise.span for promise in promises([to_b, to_a], PLAN)] == [to_a, to_b]
    for promise in promises([to_b, to_a], PLAN):
        assert promise.span.due is not None
        assert_close(promise.due, promise.span.due)


def test_the_same_seed_replays_the_same_jitter() -> None:
    sent = [message(float(start), node=node) for start in range(1, 20) for node in ("a", "b")]
    original = Network(PLAN.seed)
    for node in PLAN.nodes:
        original.add(node.name, node.link)
    for number, span in enumerate(sent):
        original.send(span.start, span.node, span.peer, span.bytes, number)
    news = {one.token: one.due for one in original.advance(1e9) if isinstance(one, Arrival)}
    assert replay(sent, network_of(PLAN)) == [news[number] for number in range(len(sent))]
    still = replay(sent, network_of(PLAN, still=True))
    assert_close(still[0], 1.0 + 1000 / 1e6 + 0.020)
    assert still[0] != news[0]


def test_what_a_live_change_may_have_touched_is_promised_nothing() -> None:
    def change(stage: str) -> Span:
        return Span("run", 1, "b", stage, 3.5, 3.5, off_clock=True, detail="what it was")

    sent = [message(float(start)) for start in range(1, 6)]
    assert len(promises([*sent, change(DEVICE_CHANGE)], PLAN)) == 5
    left = promises([*sent, change(LINK_CHANGE)], PLAN)
    assert [promise.span for promise in left] == sent[:2]  # the third was still under way


def test_what_was_modelled_or_promised_nothing_is_left_out() -> None:
    assert not promises([message(1.0, source="modelled"), message(2.0, off_clock=True), message(3.0, due=None)], PLAN)


def test_a_long_run_is_judged_by_its_beginning() -> None:
    assert len(promises([message(float(start)) for start in range(2 * MOST_MESSAGES)], PLAN)) == MOST_MESSAGES
    assert len(promises([message(float(start), 400 * 2**20) for start in range(5)], PLAN)) == 1
