"""Networks for tests, and two ways to drive them: by their wake-ups, and by looking at fixed times."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.network import Arrival, Departure, Network
from emulator.profiles import Channel, LinkProfile

MB = 10**6
MBIT = 1e6
UNLIMITED = Channel.model_construct(rate=math.inf)


def channel(rate: float, **others: Any) -> Channel:
    return Channel.model_construct(rate=rate, **others)


def link(up: Channel = UNLIMITED, down: Channel = UNLIMITED) -> LinkProfile:
    return LinkProfile.model_construct(source="a test", up=up, down=down)


@dataclass(frozen=True)
class Segment:
    """Nodes and segments behind one link."""

    link: LinkProfile
    inside: str
    """The letters of those in it: nodes are lower case, segments upper case."""


def network(
    links: Mapping[str, LinkProfile] | None = None,
    *,
    seed: int = 0,
    segments: Mapping[str, Segment] | None = None,
    **more: LinkProfile,
) -> Network:
    """Of nodes with these links; a segment comes after the one that it is in."""
    built, around = Network(seed), {name: outer for outer, one in (segments or {}).items() for name in one.inside}
    for name, segment in (segments or {}).items():
        built.add_segment(name, segment.link, around.get(name))
    for node, profile in {**(links or {}), **more}.items():
        built.add(node, profile, around.get(node))
    return built


@dataclass(frozen=True)
class Send:
    at: float
    sender: str
    receiver: str
    nbytes: int


@dataclass(frozen=True)
class Update:
    at: float
    node: str
    profile: LinkProfile


@dataclass(frozen=True)
class UpdateSegment:
    at: float
    name: str
    profile: LinkProfile


@dataclass(frozen=True)
class Connect:
    at: float
    node: str
    connected: bool


@dataclass(frozen=True)
class Part:
    at: float
    groups: Sequence[Collection[str]]


Action = Send | Update | UpdateSegment | Connect | Part
Look = tuple[float, Arrival | Departure]
"""When somebody looked, and one thing that had happened by then."""


def act(built: Network, action: Action, token: int) -> Sequence[Arrival | Departure]:
    match action:
        case Update(at, node, profile):
            return built.update(at, node, profile)
        case UpdateSegment(at, name, profile):
            return built.update_segment(at, name, profile)
        case Connect(at, node, connected):
            return built.connect(at, node, connected)
        case Part(at, groups):
            return built.partition(at, groups)
        case Send(at, sender, receiver, nbytes):
            built.send(at, sender, receiver, nbytes, token)
            return []


def by_wakeups(built: Network, actions: Sequence[Action]) -> Iterator[Look]:
    """What happens, seen by looking when the network says so. The place of an action is its message's token."""
    left = list(enumerate(actions))
    for _ in range(200_000):
        wakeup = built.wakeup()
        if left and (wakeup is None or left[0][1].at <= wakeup):
            token, action = left.pop(0)
            yield from ((action.at, news) for news in act(built, action, token))
        elif wakeup is not None:
            yield from ((wakeup, news) for news in built.advance(wakeup))
        else:
            return
    raise AssertionError("the network never comes to rest")


def by_polling(built: Network, actions: Sequence[Action], step: float) -> Iterator[Look]:
    """What happens, seen by looking every `step` seconds: an action waits for nobody's look."""
    left, looks = list(enumerate(actions)), 0
    while left or built.wakeup() is not None:
        looks += 1
        now = looks * step
        while left and left[0][1].at <= now:
            token, action = left.pop(0)
            yield from ((now, news) for news in act(built, action, token))
        yield from ((now, news) for news in built.advance(now))


def by_foresight(built: Network, actions: Sequence[Action], *, departures: bool) -> Iterator[Look]:
    """What happens, seen by going from one arrival, or departure, to the next, up to the next action."""
    left = list(enumerate(actions))
    while True:
        until = left[0][1].at if left else math.inf
        moment = built.foresee(until, departures=departures)
        if moment < math.inf:
            yield from ((moment, news) for news in built.advance(moment))
        elif left:
            token, action = left.pop(0)
            yield from ((until, news) for news in act(built, action, token))
        else:
            return


Driver = Callable[[Network, Sequence[Action]], Iterator[Look]]


def arrivals(built: Network, *actions: Action, drive: Driver = by_wakeups) -> list[float]:
    """When the messages arrive, in the order of `actions`."""
    due = {news.token: news.due for _, news in drive(built, actions) if isinstance(news, Arrival)}
    return [due[token] for token in sorted(due)]


def departures(built: Network, *actions: Action) -> list[float]:
    """When the messages have left their senders, in the order of `actions`."""
    left = {news.token: now for now, news in by_wakeups(built, actions) if isinstance(news, Departure)}
    return [left[token] for token in sorted(left)]
