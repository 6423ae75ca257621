import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import tc
from emulator.errors import InputError
from emulator.profiles import Channel, LinkProfile
from emulator.tc import InForce, Kernel
from emulator.transport import goodput
from tests.tolerance import assert_close

FULL = Kernel(tbf=True, htb=True, ifb=True, netem=True)
NO_NETEM = FULL.model_copy(update={"netem": False, "refused": {"netem": "Error: Specified qdisc kind is unknown."}})
NO_TBF = NO_NETEM.model_copy(update={"tbf": False})
NO_IFB = NO_NETEM.model_copy(update={"ifb": False, "refused": {"ifb": "Error: Unknown device type."}})
NOTHING = Kernel(tbf=False, htb=False, ifb=False, netem=False)


def link(up: dict[str, str], down: dict[str, str] | None = None) -> LinkProfile:
    unlimited = {"rate": "unlimited"}
    return LinkProfile(source="a test", up=Channel(**unlimited | up), down=Channel(**unlimited | (down or up)))


def words(profile: LinkProfile, kernel: Kernel, scale: float = 1.0) -> list[str]:
    return [" ".join(command) for command in tc.shape(profile, scale, kernel)]


def after(word: str, command: str) -> str:
    parts = command.split()
    return parts[parts.index(word) + 1]


# -- rates


def test_up_is_the_interfaces_egress_and_down_that_of_the_mirror() -> None:
    up, down = words(link({"rate": "4 Mbit/s"}, {"rate": "16 Mbit/s"}), NO_NETEM)
    assert up.startswith("tc qdisc replace dev eth0 root handle 1: tbf rate 4000000bit")
    assert down.startswith("tc qdisc replace dev ifb-down root handle 1: tbf rate 16000000bit")


def test_the_time_scale_divides_rates_and_multiplies_delays() -> None:
    profile = link({"rate": "4 Mbit/s", "delay": "10 ms", "jitter": "2 ms"})
    bucket, inner, *_ = words(profile, FULL, scale=2.0)
    assert after("rate", bucket) == "2000000bit"
    assert "delay 20000us 4000us distribution normal" in inner


def test_an_unlimited_rate_is_a_plain_queue_which_takes_the_place_of_a_bucket() -> None:
    for command in words(link({}), NO_NETEM):
        assert "replace" in command
        assert " root " in command
        assert "bfifo" in command
        assert "rate" not in command


def test_a_kernel_without_tbf_limits_by_a_class_of_htb() -> None:
    assert [command for command in tc.prepare(NO_TBF) if "htb" in command]
    klass, queue, *_ = words(link({"rate": "4 Mbit/s"}), NO_TBF)
    assert klass.startswith("tc class replace dev eth0 parent 2: classid 2:1 htb rate 4000000bit")
    assert "parent 2:1" in queue
    assert "bfifo limit 67108864" in queue


def test_a_kernel_that_can_nothing_is_told_nothing() -> None:
    assert tc.prepare(NOTHING) == []
    assert tc.shape(link({"rate": "4 Mbit/s"}), 1.0, NOTHING) == []
    assert tc.show(NOTHING) == []


def test_without_ifb_only_up_is_shaped() -> None:
    assert tc.prepare(NO_IFB) == []
    assert [after("dev", command) for command in words(link({"rate": "4 Mbit/s"}), NO_IFB)] == ["eth0"]


@given(rate=st.floats(1e3, 1e11), queue=st.floats(1, 1e12))
def test_a_bucket_holds_two_frames_and_a_queue_what_tcp_hands_over_at_once(rate: float, queue: float) -> None:
    channel = Channel(rate=f"{rate!r} bit/s", queue=f"{queue!r} B")
    assert tc.burst(rate) >= 2 * tc.FRAME
    assert tc.burst(rate) <= max(2 * tc.FRAME, rate / 8 * tc.BURST_SECONDS + 1)
    assert tc.queue(channel, rate) <= tc.MOST_QUEUE < 2**32
    assert tc.queue(channel, rate) > 2**16


# -- delay, jitter, loss


def test_netem_is_inside_the_bucket_and_has_room_for_what_is_under_way() -> None:
    profile = link({"rate": "100 Mbit/s", "delay": "200 ms", "loss": "1 %", "queue": "1 MiB"})
    bucket, inner, *_ = words(profile, FULL)
    assert "tbf" in bucket
    assert "parent 1:1 handle 10: netem" in inner
    assert "loss random 1%" in inner
    under_way = 100e6 * 0.2 / 8 + 2**20
    assert int(after("limit", inner)) * tc.FRAME >= under_way


def test_where_only_the_delay_is_limited_netem_stands_alone() -> None:
    up, _ = words(link({"delay": "7 ms"}), FULL)
    assert "root handle 3: netem" in up
    assert "delay 7000us" in up


def test_what_loss_leaves_of_a_rate_is_the_kernels_where_the_hub_has_the_loss() -> None:
    channel = link({"rate": "50 Mbit/s", "delay": "30 ms", "loss": "1 %"}).up
    assert tc.kernel_rate(channel, 2.0, FULL) == 25e6
    assert tc.kernel_rate(channel, 2.0, NO_NETEM) == goodput(50e6, 0.030, 0.01) / 2


# -- what is left


def test_without_netem_the_hub_keeps_the_delay_and_the_jitter() -> None:
    left = tc.remaining(link({"rate": "4 Mbit/s", "delay": "10 ms", "jitter": "2 ms"}), NO_NETEM)
    for channel in (left.up, left.down):
        assert math.isinf(channel.rate)
        assert (channel.delay, channel.jitter, channel.loss) == (0.010, 0.002, 0)


def test_a_loss_that_the_hub_has_is_the_time_of_its_repair() -> None:
    left = tc.remaining(link({"rate": "4 Mbit/s", "delay": "10 ms", "loss": "50 %"}), NO_NETEM).up
    assert left.loss == 0
    assert_close(left.delay, 0.010 + 2 * 0.010 * (0.5 + 4 * 2))  # of round trips, see test_transport


def test_with_netem_nothing_is_left() -> None:
    left = tc.remaining(link({"rate": "4 Mbit/s", "delay": "10 ms", "jitter": "2 ms", "loss": "1 %"}), FULL)
    assert left.up == left.down == Channel(rate="unlimited")


def test_what_cannot_be_shaped_is_left_whole() -> None:
    profile = link({"rate": "4 Mbit/s", "delay": "10 ms"})
    assert tc.remaining(profile, NO_IFB).down == profile.down
    assert math.isinf(tc.remaining(profile, NO_IFB).up.rate)
    assert tc.remaining(profile, NOTHING) == profile


def test_everything_in_a_profile_is_done_once_and_by_somebody() -> None:
    """Of each figure either the kernel is told, or the hub has it left."""
    profile = link({"rate": "4 Mbit/s", "delay": "10 ms", "jitter": "2 ms"})
    for kernel in (FULL, NO_NETEM, NO_TBF, NO_IFB, NOTHING):
        left = tc.remaining(profile, kernel)
        for device, channel in (("eth0", left.up), ("ifb-down", left.down)):
            told = " ".join(command for command in words(profile, kernel) if f"dev {device} " in command)
            assert ("rate 4000000bit" in told) == math.isinf(channel.rate), kernel
            assert ("delay 10000us 2000us" in told) == (channel.delay == channel.jitter == 0), kernel


# -- what is said


def test_nothing_is_said_of_a_kernel_that_does_it_all() -> None:
    profile = link({"rate": "4 Mbit/s", "delay": "10 ms", "jitter": "2 ms", "loss": "1 %"})
    assert tc.notes({"server": profile}, FULL) == []


def test_a_note_names_what_of_which_nodes_who_does_it_and_why() -> None:
    links = {"server": link({"delay": "1 ms"}), "client-1": link({}), "client-2": link({"delay": "1 ms"})}
    reason = "this kernel has no netem (Error: Specified qdisc kind is unknown.)"
    assert tc.notes(links, NO_NETEM) == [f"delay, of server, client-2: by the hub: {reason}"]
    assert tc.notes({"a": link({"jitter": "1 ms", "loss": "1 %"})}, NO_NETEM) == [
        f"jitter, of a: by the hub: {reason}",
        f"loss, as its mean effect, of a: by the hub: {reason}",
    ]


def test_a_rate_that_the_kernel_cannot_limit_is_said_to_be_the_hubs() -> None:
    assert tc.notes({"a": link({"rate": "1 Mbit/s"})}, NO_IFB) == [
        "down rate, of a: by the hub: this kernel has no ifb (Error: Unknown device type.)"
    ]
    assert tc.notes({"a": link({"rate": "1 Mbit/s"}, {"rate": "unlimited"})}, NOTHING) == [
        "up rate, of a: by the hub: this kernel has no tbf nor htb"
    ]


# -- reading back


def test_a_bucket_is_read_back() -> None:
    said = (
        '[{"kind":"tbf","handle":"1:","root":true,"refcnt":3,"options":{"rate":500000,"burst":3028,"lat":134217},'
        '"bytes":1514,"packets":1,"drops":7,"overlimits":0,"requeues":0,"backlog":0,"qlen":0}]'
    )
    assert tc.read_back(said) == InForce(4e6, 0.0, 7)


def test_netem_inside_a_bucket_is_read_back() -> None:
    qdiscs = [
        {"kind": "tbf", "root": True, "options": {"rate": 500000}, "drops": 3},
        {"kind": "netem", "parent": "1:1", "options": {"delay": {"delay": 0.02, "jitter": 0.001}}, "drops": 3},
        {"kind": "ingress", "handle": "ffff:", "options": {}, "drops": 0},
    ]
    assert tc.read_back(json.dumps(qdiscs)) == InForce(4e6, 0.02, 3)


@pytest.mark.parametrize(
    ("shown", "rate"), [("4Mbit", 4e6), ("312500bit", 312500.0), ("1250Kbit", 1.25e6), ("34Gbit", math.inf)]
)
def test_a_class_is_read_back(shown: str, rate: float) -> None:
    classes = f"class htb 2:1 root leaf 20: prio 0 rate {shown} ceil {shown} burst 3Kb cburst 3Kb \n"
    qdiscs = '[{"kind":"htb","handle":"2:","root":true,"options":{"r2q":10},"drops":0}]'
    assert tc.read_back(qdiscs, classes) == InForce(rate, 0.0, 0)


def test_a_plain_queue_limits_nothing() -> None:
    assert tc.read_back('[{"kind":"bfifo","root":true,"options":{"limit":1},"drops":0}]') == InForce(math.inf, 0, 0)


@pytest.mark.parametrize("said", ["", "qdisc tbf 1: root", "{}", "[1]"])
def test_what_is_no_output_of_tc_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="not"):
        tc.read_back(said)


def test_what_the_kernel_cannot_is_refused_with_the_node_and_the_direction() -> None:
    tc.check("client-1", link({"rate": "4 Mbit/s", "delay": "1 ms", "jitter": "1 ms", "loss": "1 %"}))
    with pytest.raises(InputError, match=r"^links: kernel: the up link of client-1 is shared fairly"):
        tc.check("client-1", link({"rate": "4 Mbit/s", "sharing": "fair"}, {}))


@given(st.integers(1, 10**9))
def test_headers_are_counted_by_the_packet(nbytes: int) -> None:
    packets = -(-nbytes // (tc.FRAME - tc.HEADERS))
    assert tc.on_wire(nbytes) == nbytes + packets * tc.HEADERS
    assert tc.on_wire(nbytes) <= packets * tc.FRAME
