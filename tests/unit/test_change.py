import math
from typing import Any

import pytest

from emulator.change import DEVICE_CHANGE, LINK_CHANGE, changed, differences, told
from emulator.errors import InputError
from emulator.figures import altered, checked
from emulator.plan import NodePlan
from emulator.profiles import Channel, DeviceProfile, LinkProfile

LTE = LinkProfile(
    name="lte",
    source="a test",
    up=Channel(rate="7.6 Mbit/s", delay="10 ms", jitter="4 ms", loss="1 %", queue="4 MiB"),
    down=Channel(rate="30 Mbit/s", queue="4 MiB"),
)
WIFI = LinkProfile(name="wifi", source="a test", up=Channel(rate="unlimited"), down=Channel(rate="1 Gbit/s"))
BOARD = DeviceProfile(name="board", training="10 GFLOP/s", memory="4 GiB", source="a test")
PHONE = DeviceProfile(name="phone", training="unlimited", memory="unlimited", source="a test")


def node(link: LinkProfile = LTE, device: DeviceProfile = BOARD) -> NodePlan:
    return NodePlan(name="client-1", role="client", program="a:b", device=device, link=link, slowdown=4.0)


# -- some figures of a profile


def test_some_figures_are_replaced_and_the_others_stay() -> None:
    new = altered(LTE, {"up": {"rate": "2 Mbit/s", "delay": "0 s"}})
    assert new.up == LTE.up.model_copy(update={"rate": 2e6, "delay": 0.0})
    assert (new.down, new.source) == (LTE.down, LTE.source)


def test_a_profile_with_other_figures_than_its_own_says_so_in_its_name_once() -> None:
    once = altered(LTE, {"up": {"rate": "2 Mbit/s"}})
    assert once.name == altered(once, {"down": {"loss": "2 %"}}).name == "lte-changed"
    assert altered(LTE, {"name": "mine", "up": {"loss": "0 %"}}).name == "mine"
    longest = altered(LTE.model_copy(update={"name": "a" * 64}), {}).name
    assert len(longest) == 64
    assert longest.endswith("-changed")


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        ({"up": {"rate": "5"}}, "up.rate: '5' has no unit: write a rate such as '10 Mbit/s'"),
        ({"up": {"rate": 5}}, "up.rate: 5 has no unit: write a rate such as '10 Mbit/s'"),
        ({"up": {"rate": "0 bit/s"}}, "up.rate: Input should be greater than 0"),
        ({"up": {"rate": "5 Mbps"}}, "up.rate: 'Mbps' is no unit of rate: write 'Mbit/s'"),
        ({"down": {"loss": "100 %"}}, "down.loss: Input should be less than 1"),
        ({"down": {"dealy": "5 ms"}}, "down.dealy: unknown key: did you mean 'delay'?"),
        ({"upp": {"rate": "5 Mbit/s"}}, "upp: unknown key: did you mean 'up'?"),
        ({"up": "5 Mbit/s"}, "up: Input should be a valid dictionary or instance of Channel"),
        ({"up": {"rate": "1 bit/s", "loss": "-1 %", "delay": "-1 s"}}, "(and 1 more)"),
    ],
)
def test_an_impossible_figure_is_refused_as_a_file_with_it_would_be(figures: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as refused:
        altered(LTE, figures)
    assert line in str(refused.value)


@pytest.mark.parametrize("fields", [{}, {"up": {"rate": "1 bit/s"}}, [], "lte", None])
def test_what_is_no_whole_profile_is_refused(fields: object) -> None:
    with pytest.raises(InputError):
        checked(LinkProfile, fields)


def test_a_profile_without_a_name_is_called_inline() -> None:
    assert checked(LinkProfile, LTE.model_dump(mode="json") | {"name": ""}).name == "inline"


# -- what a change makes of a node, and what is said of it


def test_another_device_comes_with_its_own_slowdown() -> None:
    assert changed(node(), None, BOARD, 40e9) == node()
    assert changed(node(), None, PHONE, 40e9) == node(device=PHONE).model_copy(update={"slowdown": 1.0})
    assert changed(node(), WIFI, None, 40e9) == node(link=WIFI)


def test_what_is_different_is_told_with_its_figures() -> None:
    assert differences(node(), node()) == {}
    assert differences(node(WIFI), node(LTE)) == {
        LINK_CHANGE: "wifi -> lte (up 7.6 Mbit/s, delay 10 ms, jitter 4 ms, loss 1 %, queue 4 MiB; "
        "down 30 Mbit/s, queue 4 MiB)"
    }
    both = differences(node(LTE, BOARD), node(WIFI, PHONE))
    assert both[DEVICE_CHANGE] == "board -> phone (unlimited, unlimited)"
    assert list(both) == [LINK_CHANGE, DEVICE_CHANGE]


@pytest.mark.parametrize(
    "figure",
    [{"rate": 1.0}, {"delay": 1.0}, {"jitter": 1.0}, {"loss": 0.5}, {"queue": math.inf}],
)
def test_whatever_figure_changes_is_in_what_is_told(figure: dict[str, float]) -> None:
    other = LTE.model_copy(update={"up": LTE.up.model_copy(update=figure)})
    before, after = (differences(node(WIFI), node(link))[LINK_CHANGE] for link in (LTE, other))
    assert before != after


def test_a_change_is_told_with_its_time() -> None:
    fields = {"run": "gapsl", "round": 17, "at": 12.34567, "details": {LINK_CHANGE: "a -> b (up 1 bit/s)"}}
    assert told("client-3", fields) == ["client-3: link a -> b (up 1 bit/s) at 12.346 s of gapsl, round 17"]
    assert told("client-3", fields | {"details": {}}) == []
