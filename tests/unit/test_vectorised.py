import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InputError
from emulator.network import Arrival, Network
from emulator.profiles import Channel, LinkProfile
from emulator.vectorised import Fleet, gather, parallel_round, scatter
from tests.tolerance import assert_close

NANOSECOND = 1e-9


def channel(rate: float, delay: float, loss: float = 0.0) -> Channel:
    return Channel.model_construct(rate=rate, delay=delay, jitter=0.0, loss=loss, queue=math.inf)


def link(rate: float, delay: float, loss: float = 0.0) -> LinkProfile:
    return LinkProfile.model_construct(
        name="", description="", source="a test", up=channel(rate, delay, loss), down=channel(2 * rate, delay / 2, loss)
    )


def events(clients: list[LinkProfile], server: LinkProfile, sends: list[tuple[float, str, str, int]]) -> list[float]:
    """When each message is there, by the event-driven network."""
    network = Network()
    network.add("server", server)
    for number, profile in enumerate(clients):
        network.add(str(number), profile)
    arrivals: dict[int, float] = {}
    for token, (at, sender, receiver, nbytes) in sorted(enumerate(sends), key=lambda item: item[1][0]):
        arrivals |= {new.token: new.due for new in network.advance(at) if isinstance(new, Arrival)}
        network.send(at, sender, receiver, nbytes, token)
    while (wakeup := network.wakeup()) is not None:
        arrivals |= {new.token: new.due for new in network.advance(wakeup) if isinstance(new, Arrival)}
    return [arrivals[token] for token in range(len(sends))]


rates = st.floats(1e5, 1e9)
delays = st.floats(0, 0.2)
links = st.builds(link, rates, delays, st.sampled_from([0.0, 0.0, 0.01]))
sizes = st.integers(1, 300_000)
begins = st.floats(0, 2).map(lambda value: value + 1e-7 * math.pi)


@given(st.lists(st.tuples(links, begins, sizes), min_size=1, max_size=12, unique_by=lambda one: one[1]), links)
def test_uplinks_arrive_as_they_do_event_by_event(
    clients: list[tuple[LinkProfile, float, int]], server: LinkProfile
) -> None:
    profiles, sent, nbytes = zip(*clients, strict=True)
    there = gather(Fleet.of(profiles, server), np.array(sent), np.array(nbytes))
    sends = [(at, str(number), "server", size) for number, (_, at, size) in enumerate(clients)]
    for one, other in zip(there, events(list(profiles), server, sends), strict=True):
        assert_close(float(one), other, absolute=NANOSECOND, relative=0.0, what="arrival of an uplink")


@given(st.lists(st.tuples(links, sizes), min_size=1, max_size=12), links, begins)
def test_downlinks_arrive_as_they_do_event_by_event(
    clients: list[tuple[LinkProfile, int]], server: LinkProfile, at: float
) -> None:
    profiles, nbytes = zip(*clients, strict=True)
    there = scatter(Fleet.of(profiles, server), at, np.array(nbytes))
    sends = [(at, "server", str(number), size) for number, (_, size) in enumerate(clients)]
    for one, other in zip(there, events(list(profiles), server, sends), strict=True):
        assert_close(float(one), other, absolute=NANOSECOND, relative=0.0, what="arrival of a downlink")


def test_a_shared_server_link_serves_equal_clients_one_after_the_other() -> None:
    clients = [link(math.inf, 0.0)] * 1000
    server = LinkProfile.model_construct(
        name="", description="", source="a test", up=channel(8e6, 0.0), down=channel(8e6, 0.0)
    )
    found = parallel_round(
        Fleet.of(clients, server),
        forward=np.zeros(1000),
        uplink=np.full(1000, 1000),
        server=0.5,
        downlink=np.full(1000, 1000),
        backward=np.ones(1000),
    )
    assert_close(found.served, 1.0 + 0.5, what="a megabyte at a megabyte a second, and the server's step")
    assert_close(found.latency, 1.0 + 0.5 + 1.0 + 1.0, what="the same back, and the last client's backward pass")


def test_turns_are_refused() -> None:
    fair = Channel.model_construct(rate=1e6, sharing="fair")
    profile = LinkProfile.model_construct(name="", description="", source="a test", up=fair, down=fair)
    with pytest.raises(InputError, match="first come, first served"):
        Fleet.of([profile], profile)


def test_jitter_is_refused() -> None:
    jittery = Channel.model_construct(rate=1e6, delay=0.1, jitter=0.01, loss=0.0, queue=math.inf)
    profile = LinkProfile.model_construct(name="", description="", source="a test", up=jittery, down=jittery)
    with pytest.raises(InputError, match="no jitter"):
        Fleet.of([profile], profile)
