import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InputError
from emulator.network import CHUNK_BYTES, Arrival
from emulator.plan import Plan, device_shares, make_plan
from emulator.profiles import Channel, DeviceProfile, Experiment, LinkProfile, NodeSpec, SegmentSpec, Testbed
from tests.tolerance import assert_close

GFLOP = 1e9
LINK = LinkProfile(source="a test", up=Channel(rate="1 Mbit/s"), down=Channel(rate="2 Mbit/s"))


def device(gflops: float) -> DeviceProfile:
    return DeviceProfile.model_construct(name="d", training=gflops * GFLOP, memory=2.0**30, source="a test")


def experiment(*, server: float = 20, clients: tuple[float, ...] = (5, 10), **others: Any) -> Experiment:
    """An experiment with devices of so many GFLOP/s."""
    nodes = [NodeSpec(role="server", name="server", device=device(server), link=LINK)]
    nodes += [
        NodeSpec(role="client", name=f"client-{number}", device=device(one), link=LINK)
        for number, one in enumerate(clients, 1)
    ]
    return Experiment(
        name="mine",
        testbed=Testbed(name="t", nodes=nodes),
        programs={"server": "nodes.server:main", "client": "nodes.client:main"},
        **others,
    )


def test_every_node_gets_its_program_and_its_slowdown() -> None:
    plan = make_plan(experiment(), core_flops=40 * GFLOP, cores=2)
    assert [(node.name, node.role, node.program, node.slowdown) for node in plan.nodes] == [
        ("server", "server", "nodes.server:main", 2.0),
        ("client-1", "client", "nodes.client:main", 8.0),
        ("client-2", "client", "nodes.client:main", 4.0),
    ]
    assert plan.peers == {"server": ["server"], "client": ["client-1", "client-2"]}


def test_every_algorithm_is_a_run_of_its_own_with_one_config() -> None:
    given_experiment = experiment(
        algorithms=["psl", "sl"], rounds=3, seed=7, target_accuracy="80 %", workload={"batch_size": 4}
    )
    plan = make_plan(given_experiment, 40 * GFLOP, 2)
    common = {"rounds": 3, "seed": 7, "target_accuracy": 0.8, "training": True, "workload": {"batch_size": 4}}
    assert [(run.name, run.config) for run in plan.runs] == [
        ("psl", {"algorithm": "psl", **common}),
        ("sl", {"algorithm": "sl", **common}),
    ]
    assert plan.seed == 7


def test_without_algorithms_there_is_one_run_of_the_experiment_s_name() -> None:
    plan = make_plan(experiment(), 40 * GFLOP, 2)
    assert [run.name for run in plan.runs] == ["mine"]
    assert "algorithm" not in plan.runs[0].config


def test_an_unthrottled_node_is_a_core_of_the_host() -> None:
    plan = make_plan(experiment(server=math.inf, time_scale="auto"), 40 * GFLOP, 2)
    assert plan.nodes[0].slowdown == 1.0
    assert plan.scale == 1.3


def test_an_unthrottled_node_cannot_run_faster_than_the_host() -> None:
    with pytest.raises(InputError, match="server: its device is 2 times as fast as a core of this host"):
        make_plan(experiment(server=math.inf, time_scale=0.5), 40 * GFLOP, 2)


def test_every_device_has_its_share() -> None:
    testbed = experiment(server=math.inf, clients=(10, 20)).testbed
    assert isinstance(testbed, Testbed)
    assert device_shares(testbed, 40 * GFLOP) == {"server": 1.0, "client-1": 0.25, "client-2": 0.5}


def test_a_device_too_fast_for_the_scale_is_refused() -> None:
    with pytest.raises(InputError, match=r"server: its device is 10 times as fast .* set time_scale to 13, or to auto"):
        make_plan(experiment(server=400), 40 * GFLOP, 2)


def test_auto_is_the_scale_that_fits() -> None:
    assert make_plan(experiment(server=400, time_scale="auto"), 40 * GFLOP, 2).scale == 13.0
    assert make_plan(experiment(time_scale="auto"), 400 * GFLOP, 2).scale == 1.0


def test_a_scale_that_is_given_is_kept() -> None:
    assert make_plan(experiment(server=400, time_scale=20), 40 * GFLOP, 2).scale == 20.0
    assert make_plan(experiment(time_scale=0.5), 400 * GFLOP, 2).scale == 0.5


@given(st.floats(1, 1e4), st.lists(st.floats(0.1, 1e4), min_size=1, max_size=5), st.floats(1, 1e3), st.integers(1, 64))
def test_the_scale_that_a_refusal_names_makes_a_plan(
    server: float, clients: list[float], core: float, cores: int
) -> None:
    scales: list[Any] = ["auto", 1.0]
    try:
        make_plan(experiment(server=server, clients=tuple(clients)), core * GFLOP, cores)
    except InputError as error:
        named = re.search(r"set time_scale to (\S+),", str(error))
        assert named is not None
        scales = ["auto", float(named[1])]
    plans = [
        make_plan(experiment(server=server, clients=tuple(clients), time_scale=scale), core * GFLOP, cores)
        for scale in scales
    ]
    assert plans[0].scale >= 1
    assert plans[1].scale in (1.0, plans[0].scale)


def test_a_plan_reaches_the_hub_as_it_is() -> None:
    plan = make_plan(experiment(server=math.inf, algorithms=["psl"], workload={"x": [1, "ü"]}), 40 * GFLOP, 2)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert "\n" not in plan.model_dump_json()  # it is one line of the hub's input


# -- segments


def behind_one_link(**others: Any) -> Experiment:
    """Both clients in a segment that is in another one."""
    whole = experiment(**others)
    assert isinstance(whole.testbed, Testbed)
    server, *clients = whole.testbed.nodes
    nodes = [server, *(client.model_copy(update={"segment": "cell"}) for client in clients)]
    segments = {"town": SegmentSpec(link=LINK), "cell": SegmentSpec(link=LINK, segment="town")}
    return whole.model_copy(update={"testbed": Testbed(name="t", nodes=nodes, segments=segments)})


def test_the_plan_knows_segments_and_reads_itself_back() -> None:
    plan = make_plan(behind_one_link(), core_flops=40 * GFLOP, cores=2)
    assert [node.segment for node in plan.nodes] == [None, "cell", "cell"]
    assert [(name, segment.parent) for name, segment in plan.segments.items()] == [("town", None), ("cell", "town")]
    again = Plan.model_validate_json(plan.model_dump_json())
    assert list(again.segments.items()) == list(plan.segments.items())


def test_its_network_has_the_links_of_nodes_and_segments() -> None:
    network = make_plan(behind_one_link(), core_flops=40 * GFLOP, cores=2).network()
    for token, (sender, receiver) in enumerate([("client-1", "client-2"), ("client-1", "server")]):
        network.send(10.0 * token, sender, receiver, 125_000, token)
    due = [news.due for news in network.advance(100.0) if isinstance(news, Arrival)]
    chunk = CHUNK_BYTES * 8 / 1e6
    # 1 Mbit at 1 Mbit/s to a node of 2 Mbit/s; and through two segments of 1 Mbit/s, in chunks, to the server.
    assert_close(due[0], 1.0, absolute=chunk, what="arrival within the segment")
    assert_close(due[1], 11.0, absolute=chunk, what="arrival outside")


def test_the_kernel_has_no_segments() -> None:
    with pytest.raises(InputError, match=r"links: kernel: the testbed 't' has segments"):
        make_plan(behind_one_link(links="kernel"), core_flops=40 * GFLOP, cores=2)


def test_the_kernel_does_not_share_fairly() -> None:
    fair = LINK.model_copy(update={"down": LINK.down.model_copy(update={"sharing": "fair"})})
    whole = experiment(links="kernel")
    assert isinstance(whole.testbed, Testbed)
    nodes = [whole.testbed.nodes[0], whole.testbed.nodes[1].model_copy(update={"link": fair})]
    with pytest.raises(InputError, match=r"links: kernel: the down link of client-1 is shared fairly"):
        make_plan(whole.model_copy(update={"testbed": Testbed(name="t", nodes=nodes)}), 40 * GFLOP, 2)
