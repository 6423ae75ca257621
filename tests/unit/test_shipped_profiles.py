import math
from collections import Counter
from pathlib import Path

import pytest

from emulator import library
from emulator.document import as_yaml
from emulator.plan import make_plan
from emulator.profiles import DeviceProfile, LinkProfile, Testbed
from emulator.rate import mean_rate
from emulator.transport import payload

DEVICES = ["raspberry-pi-3", "raspberry-pi-4", "jetson-nano", "jetson-orin-nx", "phone-mid", "laptop", "host"]
LINKS = ["ethernet-1g", "wifi-5", "wifi-4-far", "lte", "5g-mid", "adsl", "lan-unlimited"]
TRACED = ["lte-trace", "wifi-trace", "satellite-trace"]
TRACES = ["lte", "wifi", "satellite"]
TESTBEDS = ["demo", "paper", "mixed-10", "cell"]
PAPER = ["paper-table-1", "paper-table-1-vit", "paper-table-2", "paper-table-3", "paper-ablation"]
EXPERIMENTS = ["demo", "cifar10-vgg16", "drift", *PAPER]
ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]


@pytest.mark.parametrize(
    ("kind", "required"),
    [
        ("devices", DEVICES),
        ("links", LINKS + TRACED),
        ("traces", TRACES),
        ("testbeds", TESTBEDS),
        ("experiments", EXPERIMENTS),
    ],
)
def test_what_is_promised_is_there(kind: str, required: list[str]) -> None:
    assert set(required) <= set(library.names(kind))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in library.KINDS for name in library.names(kind)])
def test_every_file_loads_and_describes_itself(kind: str, name: str) -> None:
    profile = library.load(library.KINDS[kind], name)
    assert profile.name == name
    assert len(profile.description) > 10
    assert profile.description == profile.description.strip()


@pytest.mark.parametrize("name", library.names("devices"))
def test_every_device_has_a_plausible_throughput_and_its_source(name: str) -> None:
    device = library.load(DeviceProfile, name)
    assert len(device.source) > 30
    if name == "host":
        assert device.training == device.memory == math.inf
    else:
        assert 1e9 < device.training < 1e13
        assert 2**29 < device.memory < 2**37


@pytest.mark.parametrize("name", library.names("links"))
def test_every_link_has_plausible_figures_and_their_source(name: str) -> None:
    link = library.load(LinkProfile, name)
    assert len(link.source) > 30
    for channel in (link.up, link.down):
        if name == "lan-unlimited":
            assert (channel.rate, channel.delay, channel.jitter, channel.loss) == (math.inf, 0, 0, 0)
            continue
        rate = mean_rate(channel)
        assert 1e5 < rate < 1e10
        assert (channel.trace is not None) == (name in TRACED)
        assert 0 < channel.delay < 0.2
        assert channel.jitter <= channel.delay
        # The rate is the one that is meant: loss takes no more of it than a few percent.
        assert payload(channel, rate) > 0.75 * rate, "the loss hides the rate"
    assert mean_rate(link.up) <= mean_rate(link.down)


@pytest.mark.parametrize("name", library.names("testbeds"))
def test_every_testbed_resolves(name: str) -> None:
    testbed = library.load_testbed(name)
    assert all(isinstance(node.device, DeviceProfile) for node in testbed.nodes)
    assert all(isinstance(node.link, LinkProfile) for node in testbed.nodes)
    assert Counter(node.role for node in testbed.nodes)["server"] == 1


def devices(testbed: str, role: str) -> list[str]:
    nodes = library.load_testbed(testbed).nodes
    return [node.device.name for node in nodes if node.role == role and isinstance(node.device, DeviceProfile)]


def test_the_demo_has_four_unlike_clients() -> None:
    clients = [node for node in library.load_testbed("demo").nodes if node.role == "client"]
    assert len(clients) == 4
    kinds = {
        (node.device.name, node.link.name)
        for node in clients
        if isinstance(node.device, DeviceProfile) and isinstance(node.link, LinkProfile)
    }
    assert len(kinds) == 4


def test_the_paper_s_testbed_is_ten_nanos_and_an_orin() -> None:
    assert devices("paper", "client") == ["jetson-nano"] * 10
    assert devices("paper", "server") == ["jetson-orin-nx"]


def test_the_mixed_testbed_has_ten_clients_of_many_kinds() -> None:
    assert len(devices("mixed-10", "client")) == 10
    assert len(set(devices("mixed-10", "client"))) >= 4


def test_the_cell_has_eight_clients_behind_one_fair_link() -> None:
    testbed = library.load_testbed("cell")
    clients = [node for node in testbed.nodes if node.role == "client"]
    assert [node.segment for node in clients] == ["base-station"] * 8
    shared = testbed.segments["base-station"].link
    assert isinstance(shared, LinkProfile)
    assert len(shared.source) > 30
    assert shared.up.sharing == shared.down.sharing == "fair"
    for way in ("up", "down"):  # it is the bottleneck when all are at it
        own = [getattr(node.link, way).rate for node in clients]
        assert max(own) < 2 * getattr(shared, way).rate < sum(own)


@pytest.mark.parametrize("name", library.names("experiments"))
def test_every_experiment_resolves_and_can_be_planned(name: str) -> None:
    experiment, _ = library.load_experiment(name)
    plan = make_plan(experiment, core_flops=40e9, cores=2)
    assert set(ALGORITHMS) >= {run.name for run in plan.runs}
    if experiment.study is None:
        assert [run.name for run in plan.runs] == ALGORITHMS
    assert isinstance(experiment.testbed, Testbed)
    assert len(plan.nodes) == len(experiment.testbed.nodes)
    assert plan.scale >= 1


@pytest.mark.parametrize("name", library.names("experiments"))
def test_every_experiment_resolved_and_written_is_read_back(name: str, tmp_path: Path) -> None:
    experiment, _ = library.load_experiment(name)
    path = tmp_path / "experiment.yaml"
    path.write_text(as_yaml(experiment.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    assert library.load_experiment(str(path))[0] == experiment


def test_the_experiments_train_on_what_they_are_named_after() -> None:
    demo, paper = library.load_experiment("demo")[0], library.load_experiment("cifar10-vgg16")[0]
    assert demo.workload["data"]["name"] == "digits"
    assert (paper.workload["data"]["name"], paper.workload["model"]["name"]) == ("cifar10", "vgg16")
