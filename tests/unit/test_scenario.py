"""What a scenario may say, what is refused before anything starts, and which changes it comes to."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator import library
from emulator.document import as_yaml
from emulator.errors import InputError
from emulator.plan import make_plan
from emulator.profiles import Experiment, Scenario
from emulator.scenario import Change

LINK = {"source": "a test", "up": {"rate": "10 Mbit/s"}, "down": {"rate": "20 Mbit/s", "delay": "5 ms"}}
DEVICE = {"training": "2 GFLOP/s", "memory": "1 GiB", "source": "a test"}
NODES = [
    {"role": "server", "device": DEVICE, "link": LINK},
    {"role": "client", "count": 2, "device": DEVICE, "link": LINK},
    {"role": "sensor", "device": "host", "link": "lan-unlimited"},
]
HEAD = {
    "testbed": {"name": "four", "nodes": NODES},
    "programs": dict.fromkeys(("server", "client", "sensor"), "a:main"),
    "rounds": 10,
}


def experiment(folder: Path, *entries: str, **keys: Any) -> Experiment:
    """An experiment with these entries, each in one line of its file; the first is in line `first_line`."""
    path = folder / "mine.yaml"
    path.write_text(head(keys) + "".join(f"  - {entry}\n" for entry in entries))
    return library.load_experiment(str(path))[0]


def head(keys: dict[str, Any]) -> str:
    return yaml.safe_dump({**HEAD, **keys}, sort_keys=False) + "scenario:\n"


def changes(folder: Path, *entries: str, **keys: Any) -> list[Change]:
    return make_plan(experiment(folder, *entries, **keys), 1e10, 2).scenario


def refusal(folder: Path, *entries: str, **keys: Any) -> str:
    """What is said after the file: `LINE: KEY: what`, the first entry being in line 1."""
    with pytest.raises(InputError) as refused:
        experiment(folder, *entries, **keys)
    where, said = str(refused.value).removeprefix(f"{folder / 'mine.yaml'}:").split(":", 1)
    return f"{int(where) - head(keys).count(chr(10))}:{said}"


AWAY = {"workload": {"participation": {"deadline": "1 s"}}}

# -- what is possible


def test_a_scenario_comes_to_single_changes_in_the_order_of_their_times(tmp_path: Path) -> None:
    found = changes(
        tmp_path,
        "{round: 3, role: client, scale: 0.5}",
        "{at: 10 s, node: client-1, disconnect: true, for: 5 s}",
        "{at: 2 s, nodes: [client-2, server], slow: 2}",
        "{at: 9 s, partition: [[client-1], [server, client-2]], for: 500 ms}",
        "{round: 2, node: server, restore: true}",
    )
    assert [(change.round, change.at, change.node, change.key) for change in found] == [
        (None, 2.0, "client-2", "slow"),
        (None, 2.0, "server", "slow"),
        (None, 9.0, "", "partition"),
        (None, 9.5, "", "for"),
        (None, 10.0, "client-1", "disconnect"),
        (None, 15.0, "client-1", "for"),
        (2, 0.0, "server", "restore"),
        (2, 0.0, "server", "restore"),
        (3, 0.0, "client-1", "scale"),
        (3, 0.0, "client-2", "scale"),
    ]


def test_a_flap_is_disconnects_and_reconnects(tmp_path: Path) -> None:
    found = changes(tmp_path, "{at: 1 s, node: client-1, flap: {down: 200 ms, up: 300 ms, times: 3}}")
    assert [change.connected for change in found] == [False, True] * 3
    assert [change.at for change in found] == pytest.approx([1.0, 1.2, 1.5, 1.7, 2.0, 2.2])


def test_in_a_round_what_lasts_counts_from_its_begin(tmp_path: Path) -> None:
    found = changes(tmp_path, "{round: 4, node: client-1, disconnect: true, for: 2 s}")
    assert [(change.round, change.at, change.connected) for change in found] == [(4, 0.0, False), (4, 2.0, True)]


def test_links_and_devices_are_named_or_stand_there(tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text(as_yaml(LINK))
    whole = {**LINK, "name": "own"}
    found = changes(
        tmp_path,
        "{at: 1 s, node: client-1, link: lte}",
        "{at: 2 s, node: client-1, link: far.yaml}",
        f"{{at: 3 s, node: client-1, link: {whole!r}}}",
        "{at: 4 s, node: client-1, link: {up: {rate: 1 Mbit/s}}}",
        "{at: 5 s, node: client-1, device: raspberry-pi-3}",
        "{at: 6 s, node: client-1, device: {memory: 2 GiB}}",
    )
    names = [(change.link or change.device or {}).get("name") for change in found]
    assert names == ["lte", "far", "own", None, "raspberry-pi-3", None]


def test_what_a_run_leaves_of_its_scenario_can_be_run_again(tmp_path: Path) -> None:
    entries = (
        "{at: 1 s, node: client-1, link: lte}",
        "{at: 2 s, node: client-1, disconnect: true, for: 1 s}",
        "{at: 4 s, role: client, scale: {up: 0.5}}",
        "{at: 5 s, partition: [[client-1], [server]]}",
        "{at: 6 s, heal: true}",
    )
    first = experiment(tmp_path, *entries)
    again = tmp_path / "experiment.yaml"
    again.write_text(as_yaml(first.model_dump(mode="json", exclude_none=True)))
    assert make_plan(library.load_experiment(str(again))[0], 1e10, 2).scenario == make_plan(first, 1e10, 2).scenario


def test_a_scenario_is_a_file_of_its_own_or_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "storm.yaml").write_text("scenario:\n  - {at: 1 s, node: client-1, disconnect: true, for: 1 s}\n")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(HEAD) + "scenario: ./storm.yaml\n")
    assert len(library.load_experiment(str(path))[0].scenario or []) == 1
    assert len(library.load_experiment("demo", {"scenario": "outage"})[0].scenario or []) == 2
    assert library.load_experiment(str(path), {"scenario": None})[0].scenario is None


@pytest.mark.parametrize("name", library.names("scenarios"))
def test_every_shipped_scenario_is_of_the_demo(name: str) -> None:
    assert make_plan(library.load_experiment("demo", {"scenario": name})[0], 1e12, 2).scenario
    assert library.load(Scenario, name).source


def test_the_time_scale_suits_the_fastest_device_that_a_node_ever_has(tmp_path: Path) -> None:
    fast = experiment(tmp_path, "{at: 1 s, node: client-1, device: {training: 40 GFLOP/s}}", time_scale="auto")
    assert make_plan(fast, 1e10, 2).scale == 5.0, "four cores of this host at four fifths of one"
    with pytest.raises(InputError, match=r"client-1: its device is 4 times as fast as a core"):
        make_plan(fast.model_copy(update={"time_scale": 1.0}), 1e10, 2)


def test_who_is_away_for_good_is_possible_where_rounds_go_on_without(tmp_path: Path) -> None:
    (stop,) = changes(tmp_path, "{round: 2, node: client-1, stop: true}", **AWAY)
    assert (stop.connected, stop.key) == (False, "stop")
    assert len(changes(tmp_path, "{round: 2, node: client-1, disconnect: true}", **AWAY)) == 1
    both = ("{round: 2, node: client-1, disconnect: true}", "{round: 4, node: client-1, reconnect: true}")
    assert len(changes(tmp_path, *both, **AWAY)) == 2


# -- what is refused


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{at: 1 s, nod: client-1, stop: true}", "1: scenario.0.nod: unknown key: did you mean 'node'?"),
        ("{at: 1 s, node: client-1, slower: 2}", "1: scenario.0.slower: unknown key: did you mean 'slow'?"),
        ("{at: 1 s, node: clint-1, slow: 2}", "1: scenario.0.node: the testbed has no node 'clint-1': did you mean"),
        ("{at: 1 s, nodes: [client-1, x], slow: 2}", "1: scenario.0.nodes.1: the testbed has no node 'x'"),
        ("{at: 1 s, nodes: [client-1, client-1], slow: 2}", "1: scenario.0.nodes.1: 'client-1' stands here twice"),
        ("{at: 1 s, role: clients, slow: 2}", "1: scenario.0.role: the testbed has no role 'clients': did you mean"),
        ("{at: 1 s, segment: cell, link: lte}", "1: scenario.0.segment: the testbed has no segment 'cell'"),
        ("{at: 1 s, node: client-1, link: ltee}", "1: scenario.0.link: unknown link 'ltee': did you mean 'lte'?"),
        ("{at: 1 s, node: client-1, device: lte}", "1: scenario.0.device: unknown device 'lte'"),
        ("{at: -1 s, node: client-1, slow: 2}", "1: scenario.0.at: lies before the run begins"),
        ("{at: 1, node: client-1, slow: 2}", "1: scenario.0.at: 1 has no unit"),
        ("{at: unlimited, node: client-1, slow: 2}", "1: scenario.0.at: Input should be less than inf"),
        ("{round: 0, node: client-1, slow: 2}", "1: scenario.0.round: Input should be greater than or equal to 1"),
        ("{round: 11, node: client-1, slow: 2}", "1: scenario.0.round: there is no round 11: the experiment has 10"),
        ("{node: client-1, slow: 2}", "1: scenario.0: nothing says when: write one of at, round"),
        ("{at: 1 s, round: 1, node: client-1, slow: 2}", "1: scenario.0: at and round cannot both say when"),
        ("{at: 1 s, slow: 2}", "1: scenario.0: nothing says of whom: write one of node, nodes, role, segment"),
        ("{at: 1 s, node: client-1}", "1: scenario.0: nothing says what: write one of link, scale"),
        ("{at: 1 s, node: client-1, slow: 2, scale: 2}", "1: scenario.0: scale and slow cannot both say what"),
        ("{at: 1 s, node: client-1, slow: 2, for: 1 s}", "1: scenario.0: 'for' is how long a disconnect or a part"),
        ("{at: 1 s, node: client-1, slow: 0}", "1: scenario.0.slow: Input should be greater than 0"),
        ("{at: 1 s, node: sensor, slow: 2}", "1: scenario.0.slow: sensor's device 'host' has no throughput of its own"),
        ("{at: 1 s, node: client-1, stop: false}", "1: scenario.0.stop: write true, or leave it out"),
        ("{at: 1 s, node: client-1, link: 5}", "1: scenario.0.link: 5 is neither a name nor keys of a profile"),
        ("{at: 1 s, node: client-1, scale: 0}", "1: scenario.0.scale: 0 times a rate is none: write a number above"),
        ("{at: 1 s, node: client-1, scale: {upp: 1}}", "1: scenario.0.scale.upp: unknown key: did you mean 'up'?"),
        ("{at: 1 s, node: sensor, scale: 0.5}", "1: scenario.0.scale: sensor's up link is unlimited"),
        ("{at: 1 s, node: client-1, trace: {upp: x}}", "1: scenario.0.trace: write a trace for both directions"),
        (
            "{at: 1 s, node: client-1, flap: {down: 1 s, up: 0 s, times: 2}}",
            "1: scenario.0.flap.up: Input should be gre",
        ),
        (
            "{at: 1 s, node: client-1, link: {up: {rate: 0 bit/s}}}",
            "1: scenario.0.link.up.rate: Input should be greater than 0: to cut a link, write disconnect: true",
        ),
        (
            "{at: 1 s, node: client-1, link: {up: {dealy: 1 s}}}",
            "1: scenario.0.link.up.dealy: unknown key: did you mean 'delay'?",
        ),
        (
            "{at: 1 s, node: client-1, device: {training: 0 FLOP/s}}",
            "1: scenario.0.device.training: Input should be gr",
        ),
        ("{at: 1 s, node: client-1, partition: [[client-1], [server]]}", "1: scenario.0: a partition is of the whole"),
        ("{at: 1 s, partition: [[client-1]], for: 1 s}", "1: scenario.0.partition: write two groups of nodes or more"),
        ("{at: 1 s, partition: [[client-1], []], for: 1 s}", "1: scenario.0.partition: write two groups of nodes or"),
        ("{at: 1 s, partition: [[client-1], [x]]}", "1: scenario.0.partition.1.0: the testbed has no node 'x'"),
        ("{at: 1 s, partition: [[client-1], [client-1]]}", "1: scenario.0.partition.1: 'client-1' is in two of its"),
        ("{at: 1 s, heal: true}", "1: scenario.0.heal: no partition is in force by then: there is nothing to heal"),
        (
            "{at: 1 s, node: client-1, reconnect: true}",
            "1: scenario.0.reconnect: client-1 is connected by then already",
        ),
        ("disconnect", "1: scenario.0: Input should be a valid dictionary"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_line_and_key(tmp_path: Path, entry: str, said: str) -> None:
    assert refusal(tmp_path, entry).startswith(said)


PARTED = "{at: 1 s, partition: [[client-1], [server]], for: 5 s}"
LOST = "{at: 1 s, node: client-1, disconnect: true, for: 5 s}"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            (PARTED, "{at: 3 s, partition: [[client-2], [server]], for: 1 s}"),
            "2: scenario.1.partition: the partition of entry 0 is still in force by then: heal it first",
        ),
        ((PARTED, "{at: 7 s, heal: true}"), "2: scenario.1.heal: no partition is in force by then"),
        ((LOST, "{at: 3 s, role: client, disconnect: true, for: 1 s}"), "2: scenario.1.disconnect: client-1 is discon"),
        ((LOST, "{at: 7 s, node: client-1, reconnect: true}"), "2: scenario.1.reconnect: client-1 is connected by the"),
        (
            (LOST, "{at: 6 s, node: client-1, disconnect: true, for: 1 s}"),
            "2: scenario.1.disconnect: client-1's connection changes at 6 s twice: entry 0 does it, too",
        ),
        (
            ("{at: 1 s, node: client-1, scale: 0.5}", "{at: 1 s, role: client, link: lte}"),
            "2: scenario.1.link: client-1's up.rate changes at 1 s twice: entry 0 does it, too",
        ),
        (
            ("{round: 2, node: client-1, slow: 2}", "{round: 2, node: client-1, device: {training: 1 GFLOP/s}}"),
            "2: scenario.1.device: client-1's training changes in round 2 twice: entry 0 does it, too",
        ),
        (
            (LOST, "{round: 3, node: client-1, disconnect: true, for: 1 s}"),
            "2: scenario.1.disconnect: client-1's connection changes in rounds here and in seconds in entry 0",
        ),
        (
            (PARTED, "{round: 3, partition: [[client-1], [server]], for: 1 s}"),
            "2: scenario.1.partition: the partition changes in rounds here and in seconds in entry 0",
        ),
        (
            ("{at: 1 s, node: client-1, disconnect: true}",),
            "1: scenario.0.disconnect: every round waits for client-1, and in vain from then on: say how long",
        ),
        (
            ("{round: 2, node: client-2, stop: true}",),
            "1: scenario.0.stop: every round waits for client-2, and in vain",
        ),
        (
            ("{round: 2, node: client-2, disconnect: true}", "{round: 3, node: client-2, reconnect: true}"),
            "1: scenario.0.disconnect: every round waits for client-2, so that round 3 never begins",
        ),
        (
            ("{at: 1 s, partition: [[client-1], [server]]}",),
            "1: scenario.0.partition: every round waits for whoever is cut off, and in vain from then on",
        ),
    ],
)
def test_what_cannot_follow_each_other_is_refused(tmp_path: Path, entries: tuple[str, ...], said: str) -> None:
    assert refusal(tmp_path, *entries).startswith(said)


def test_who_has_been_stopped_does_not_come_back(tmp_path: Path) -> None:
    entries = ("{at: 1 s, node: client-1, stop: true}", "{at: 2 s, node: client-1, reconnect: true}")
    assert refusal(tmp_path, *entries, **AWAY).startswith(
        "2: scenario.1.reconnect: client-1 has been stopped by then, for good (entry 0)"
    )


def test_different_figures_of_one_link_may_change_at_one_time(tmp_path: Path) -> None:
    found = changes(
        tmp_path,
        "{at: 1 s, node: client-1, scale: 0.5}",
        "{at: 1 s, node: client-1, link: {up: {delay: 1 ms}, down: {loss: 1 %}}}",
        "{at: 1 s, node: client-1, slow: 2}",
        LOST,
    )
    assert len(found) == 5


def test_what_the_kernel_does_not_do_in_time_is_refused(tmp_path: Path) -> None:
    slow, link = "{at: 1 s, node: client-1, slow: 2}", "{at: 1 s, node: client-1, scale: 0.5}"
    assert refusal(tmp_path, slow, compute="quota").startswith("1: scenario.0.slow: a CPU quota does not change within")
    assert refusal(tmp_path, link, links="kernel").startswith("1: scenario.0.scale: the kernel takes tenths of a secon")
    assert changes(tmp_path, link, compute="quota")
    assert changes(tmp_path, slow, links="kernel")


def test_a_scenarios_own_file_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    storm = tmp_path / "storm.yaml"
    storm.write_text("description: wrong\nscenario:\n  - {at: 1 s, node: client-9, slow: 2}\n")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(HEAD) + "scenario: ./storm.yaml\n")
    with pytest.raises(InputError) as refused:
        library.load_experiment(str(path))
    assert str(refused.value).startswith(f"{storm}:3: scenario.0.node: the testbed has no node 'client-9': did you")
    with pytest.raises(InputError, match="unknown scenario 'outages': did you mean 'outage'"):
        library.load_experiment("demo", {"scenario": "outages"})


def test_another_testbed_without_the_nodes_is_refused(tmp_path: Path) -> None:
    made = experiment(tmp_path, "{at: 1 s, node: sensor, link: lte}")
    other = made.model_copy(update={"testbed": library.load_testbed("demo")})
    with pytest.raises(InputError, match=r"scenario.0.node: the testbed has no node 'sensor'"):
        make_plan(other, 1e12, 2)
