from pathlib import Path
from typing import Any

import pytest

from emulator import library
from emulator.document import as_yaml
from emulator.errors import InputError
from emulator.profiles import DeviceProfile, LinkProfile, Testbed

DEVICE = "training: 5 GFLOP/s\nmemory: 1 GiB\nsource: a test\n"
LINK = "source: a test\nup: {rate: 1 Mbit/s}\ndown: {rate: 2 Mbit/s}\n"
SERVER = "nodes:\n  - {role: server, device: host, link: lte}\n"
PROGRAMS = "programs:\n  server: a:main\n  client: b:main\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's own profiles: a device, a link, and a testbed and an experiment that use them."""
    (tmp_path / "board.yaml").write_text(DEVICE)
    (tmp_path / "radio.yaml").write_text(LINK)
    (tmp_path / "field.yaml").write_text(
        SERVER + "  - {role: client, count: 2, device: ./board.yaml, link: radio.yaml}\n"
    )
    (tmp_path / "study.yaml").write_text("testbed: ./field.yaml\n" + PROGRAMS)
    return tmp_path


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def refusal_of_testbed(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as refused:
        library.load_testbed(written(folder, text))
    return str(refused.value)


def refusal_of_experiment(reference: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as refused:
        library.load_experiment(reference, overrides)
    return str(refused.value)


def node_names(testbed: Testbed | str) -> list[str | None]:
    assert isinstance(testbed, Testbed)
    return [node.name for node in testbed.nodes]


# -- by name and by path


def test_a_name_is_that_of_a_shipped_profile() -> None:
    assert library.load(DeviceProfile, "jetson-nano").name == "jetson-nano"
    assert library.find("links", "lte") == library.shipped() / "links" / "lte.yaml"


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("devices", "jetson-nan", "unknown device 'jetson-nan': did you mean 'jetson-nano'?"),
        ("links", "wifi5", "unknown link 'wifi5': did you mean 'wifi-5'?"),
        ("testbeds", "demoo", "unknown testbed 'demoo': did you mean 'demo'?"),
        ("experiments", "cifar10", "unknown experiment 'cifar10': did you mean 'cifar10-vgg16'?"),
        ("links", "zzz", "unknown link 'zzz': choose one of 5g-mid, adsl, "),
        ("devices", "", "unknown device '': choose one of "),
        ("devices", "..", "unknown device '..': choose one of "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(kind: str, name: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        library.find(kind, name)
    assert str(refused.value).startswith(says)


def test_what_looks_like_a_path_is_one(folder: Path) -> None:
    assert library.find("links", "some.yaml") == Path("some.yaml")
    assert library.find("links", "./some") == Path("some")
    assert library.find("links", "some.yml", beside=folder) == folder / "some.yml"
    assert library.find("links", "/some.yaml", beside=folder) == Path("/some.yaml")
    assert library.find("links", "~/some.yaml", beside=folder) == Path.home() / "some.yaml"


def test_a_profile_is_called_after_its_file_unless_it_says_otherwise(folder: Path) -> None:
    assert library.load(DeviceProfile, str(folder / "board.yaml")).name == "board"
    assert library.load(DeviceProfile, written(folder, DEVICE + "name: other\n")).name == "other"


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file or directory"):
        library.load(LinkProfile, str(folder / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DEVICE.replace("5 GFLOP/s", "5"), ":1: training: 5 has no unit"),
        (DEVICE.replace("5 GFLOP/s", "0 GFLOP/s"), ":1: training: Input should be greater than 0"),
        (DEVICE + "cores: 4\n", ":4: cores: unknown key"),
        ("", ": holds no keys"),
    ],
)
def test_a_faulty_profile_names_file_line_and_key(folder: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        library.load(DeviceProfile, written(folder, text))
    assert str(refused.value).startswith(f"{folder}/mine.yaml{says}")


# -- testbeds


def test_the_files_of_a_testbed_are_relative_to_it(folder: Path) -> None:
    testbed = library.load_testbed(str(folder / "field.yaml"))
    client = testbed.nodes[1]
    assert isinstance(client.device, DeviceProfile)
    assert isinstance(client.link, LinkProfile)
    assert (client.device.name, client.device.training) == ("board", 5e9)
    assert (client.link.name, client.link.up.rate) == ("radio", 1e6)


def test_nodes_are_called_after_their_role_and_numbered_where_there_are_several(folder: Path) -> None:
    assert node_names(library.load_testbed(str(folder / "field.yaml"))) == ["server", "client-1", "client-2"]
    more = SERVER + (
        "  - {role: client, count: 2, device: host, link: lte}\n"
        "  - {role: client, name: far, device: host, link: lte}\n"
        "  - {role: client, device: host, link: lte}\n"
    )
    named = node_names(library.load_testbed(written(folder, more)))
    assert named == ["server", "client-1", "client-2", "far", "client-4"]


def test_a_testbed_may_hold_its_devices_and_links_itself(folder: Path) -> None:
    text = (
        "nodes:\n  - role: server\n    device: {training: unlimited, memory: 1 GiB, source: x}\n"
        "    link: {source: x, up: {rate: 1 Mbit/s}, down: {rate: unlimited}}\n"
    )
    testbed = library.load_testbed(written(folder, text))
    assert isinstance(testbed.nodes[0].link, LinkProfile)
    assert testbed.nodes[0].link.up.rate == 1e6


def test_a_resolved_testbed_resolves_to_itself(folder: Path) -> None:
    testbed = library.load_testbed(str(folder / "field.yaml"))
    assert library.resolve_testbed(testbed) == testbed


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ("{role: client, device: jetson-nan, link: lte}", "device: unknown device 'jetson-nan': did you mean"),
        ("{role: client, device: host, link: wifi}", "link: unknown link 'wifi': did you mean 'wifi-5'?"),
        ("{role: client, name: server, device: host, link: lte}", "name: two nodes are named 'server'"),
        ("{role: controller, device: host, link: lte}", "role: the name 'controller' is taken"),
        (f"{{role: {'r' * 64}, count: 2, device: host, link: lte}}", "role: String should have at most 64 characters"),
    ],
)
def test_a_node_that_cannot_be_is_refused_with_its_place(folder: Path, node: str, says: str) -> None:
    said = refusal_of_testbed(folder, f"{SERVER}  - {node}\n")
    assert said.startswith(f"{folder}/mine.yaml:3: nodes.1.{says}")


def test_a_number_s_name_that_is_taken_is_refused(folder: Path) -> None:
    text = SERVER + (
        "  - {role: client, count: 2, device: host, link: lte}\n"
        "  - {role: other, name: client-2, device: host, link: lte}\n"
    )
    assert "two nodes are named 'client-2'" in refusal_of_testbed(folder, text)


def test_a_faulty_device_of_a_testbed_names_both(folder: Path) -> None:
    (folder / "board.yaml").write_text(DEVICE.replace("memory", "memroy"))
    with pytest.raises(InputError) as refused:
        library.load_testbed(str(folder / "field.yaml"))
    said = f"{folder}/field.yaml:3: nodes.1.device: {folder}/board.yaml:2: memroy: unknown key: did you mean 'memory'?"
    assert str(refused.value).startswith(said)


def test_a_faulty_testbed_names_file_line_and_key(folder: Path) -> None:
    said = refusal_of_testbed(folder, SERVER + "  - {role: client, devise: host, link: lte}\n")
    assert said == f"{folder}/mine.yaml:3: nodes.1.devise: unknown key: did you mean 'device'? (and 1 more)"


def test_a_testbed_without_nodes_is_refused(folder: Path) -> None:
    assert ":1: nodes: List should have at least 1 item" in refusal_of_testbed(folder, "nodes: []\n")


# -- segments

CELL = "segments:\n  cell: {link: {source: x, up: {rate: 1 Mbit/s, sharing: fair}, down: {rate: 2 Mbit/s}}}\n"
BEHIND = "  - {role: client, device: host, link: lte, segment: cell, count: 2}\n"


def test_a_segment_is_a_link_that_nodes_share(folder: Path) -> None:
    testbed = library.load_testbed(written(folder, CELL + SERVER + BEHIND))
    assert [node.segment for node in testbed.nodes] == [None, "cell", "cell"]
    link = testbed.segments["cell"].link
    assert isinstance(link, LinkProfile)
    assert (link.name, link.up.rate, link.up.sharing, link.down.sharing) == ("inline", 1e6, "fair", "fifo")
    assert library.resolve_testbed(testbed) == testbed


def test_each_segment_comes_after_the_one_that_it_is_in(folder: Path) -> None:
    segments = "segments:\n  room: {link: radio.yaml, segment: house}\n  house: {link: adsl}\n"
    testbed = library.load_testbed(written(folder, segments + SERVER + BEHIND.replace("cell", "room")))
    assert [(name, segment.segment) for name, segment in testbed.segments.items()] == [
        ("house", None),
        ("room", "house"),
    ]


@pytest.mark.parametrize(
    ("segments", "nodes", "says"),
    [
        (CELL, BEHIND.replace("cell", "cel"), ":5: nodes.1.segment: the testbed has no segment 'cel': did you mean"),
        ("", BEHIND, ":3: nodes.1.segment: the testbed has no segment 'cell': it has none, list them under segments"),
        (CELL, "", ":2: segments.cell: no node is in it: give one 'segment: cell', or leave it out"),
        (CELL.replace("cell", "server"), "", ":2: segments.server: a node is named 'server', too: names must differ"),
        (
            "segments:\n  cell: {link: lte, segment: cell}\n",
            BEHIND,
            ":2: segments.cell.segment: a segment cannot be in itself: cell in cell",
        ),
        (
            "segments:\n  cell: {link: lte, segment: b}\n  b: {link: lte, segment: c}\n  c: {link: lte, segment: b}\n",
            BEHIND,
            ":4: segments.c.segment: a segment cannot be in itself: b in c in b",
        ),
        (
            "segments:\n  cell: {link: lte, segment: x}\n",
            BEHIND,
            ":2: segments.cell.segment: the testbed has no segment",
        ),
        (
            "segments:\n  cell: {link: ltee}\n",
            BEHIND,
            ":2: segments.cell.link: unknown link 'ltee': did you mean 'lte'?",
        ),
        ("segments:\n  cell: {lnk: lte}\n", BEHIND, ":2: segments.cell.lnk: unknown key: did you mean 'link'?"),
        (CELL.replace("fair", "fare"), BEHIND, ":2: segments.cell.link.up.sharing: Input should be 'fifo' or 'fair'"),
    ],
)
def test_a_segment_that_cannot_be_is_refused_with_its_place(folder: Path, segments: str, nodes: str, says: str) -> None:
    said = refusal_of_testbed(folder, segments + SERVER + nodes)
    assert said.startswith(f"{folder}/mine.yaml{says}")


def test_a_segment_of_an_experiment_s_own_testbed_is_refused_with_its_place(folder: Path) -> None:
    nodes = "    - {role: server, device: host, link: lte, segment: cel}\n"
    text = f"testbed:\n  segments: {{cell: {{link: lte}}}}\n  nodes:\n{nodes}programs: {{server: 'a:main'}}\n"
    said = refusal_of_experiment(written(folder, text))
    assert said.startswith(f"{folder}/mine.yaml:4: testbed.nodes.0.segment: the testbed has no segment 'cel'")


# -- experiments


def test_an_experiment_holds_all_it_refers_to(folder: Path) -> None:
    experiment, document = library.load_experiment(str(folder / "study.yaml"))
    assert (experiment.name, document.source) == ("study", str(folder / "study.yaml"))
    assert node_names(experiment.testbed) == ["server", "client-1", "client-2"]
    assert isinstance(experiment.testbed, Testbed)
    assert all(isinstance(node.device, DeviceProfile) for node in experiment.testbed.nodes)


def test_an_experiment_may_hold_its_testbed_itself(folder: Path) -> None:
    nodes = "    - {role: server, device: ./board.yaml, link: radio.yaml}\n"
    text = f"testbed:\n  nodes:\n{nodes}programs: {{server: 'a:main'}}\n"
    assert node_names(library.load_experiment(written(folder, text))[0].testbed) == ["server"]


def test_overrides_come_before_the_file(folder: Path) -> None:
    overrides = {"rounds": 9, "bus.port": 4000, "workload.batch_size": 4, "target_accuracy": "50 %"}
    experiment, _ = library.load_experiment(str(folder / "study.yaml"), overrides)
    assert (experiment.rounds, experiment.bus.port, experiment.target_accuracy) == (9, 4000, 0.5)
    assert experiment.workload == {"batch_size": 4}


def test_a_testbed_of_the_command_line_is_relative_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(folder)
    (elsewhere / "study.yaml").write_text("testbed: demo\n" + PROGRAMS)
    experiment, _ = library.load_experiment("elsewhere/study.yaml", {"testbed": "./field.yaml"})
    assert node_names(experiment.testbed) == ["server", "client-1", "client-2"]
    assert "cannot be read" in refusal_of_experiment(written(elsewhere, "testbed: ./field.yaml\n" + PROGRAMS))


def test_an_unknown_testbed_is_refused_wherever_it_is_named(folder: Path) -> None:
    says = "unknown testbed 'papr': did you mean 'paper'?"
    assert refusal_of_experiment(written(folder, "testbed: papr\n" + PROGRAMS)) == says
    assert refusal_of_experiment(str(folder / "study.yaml"), {"testbed": "papr"}) == says


def test_a_role_without_a_program_is_refused(folder: Path) -> None:
    said = refusal_of_experiment(written(folder, "testbed: demo\nprograms:\n  server: a:main\n"))
    assert said == f"{folder}/mine.yaml:2: programs: no program for the role 'client' of testbed 'demo'"


def test_a_program_without_a_role_is_refused(folder: Path) -> None:
    said = refusal_of_experiment(written(folder, "testbed: demo\n" + PROGRAMS + "  clint: c:main\n"))
    assert said == f"{folder}/mine.yaml:5: programs.clint: testbed 'demo' has no node of that role"


@pytest.mark.parametrize("program", ["nodes.client", "nodes/client.py:main", "a:b:c", ":main", "a:", "5"])
def test_what_is_no_name_of_a_program_is_refused(folder: Path, program: str) -> None:
    said = refusal_of_experiment(written(folder, f"testbed: demo\nprograms:\n  server: '{program}'\n"))
    assert said.startswith(f"{folder}/mine.yaml:3: programs.server: String should match pattern")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"rounds": 0}, " with rounds set on the command line: rounds: Input should be greater than or equal to 1"),
        ({"bus.prt": 1}, " with bus.prt set on the command line: bus.prt: unknown key: did you mean 'port'?"),
        ({"programs": {"server": "a:b"}}, " with programs set on the command line: programs: no program for the role"),
        ({"programs.x": "a:b"}, " with programs.x set on the command line: programs.x: testbed 'field' has no node"),
    ],
)
def test_a_faulty_override_names_the_command_line(folder: Path, overrides: dict[str, Any], says: str) -> None:
    said = refusal_of_experiment(str(folder / "study.yaml"), overrides)
    assert said.startswith(f"{folder}/study.yaml{says}")


def test_what_a_run_leaves_can_be_run_again(folder: Path) -> None:
    experiment, _ = library.load_experiment(str(folder / "study.yaml"), {"bus.max_message": "3 MiB"})
    elsewhere = folder / "run"
    elsewhere.mkdir()
    resolved = as_yaml(experiment.model_dump(mode="json", exclude_none=True))
    assert library.load_experiment(written(elsewhere, resolved))[0] == experiment
