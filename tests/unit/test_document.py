import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulator.document import Document, as_yaml
from emulator.errors import InputError, nearest
from emulator.profiles import Experiment, LinkProfile, Profile, Testbed

LINK = """\
source: a test
up:
  rate: 1 Mbit/s
down:
  rate: 2 Mbit/s
  delay: 5 ms
"""
EXPERIMENT = """\
testbed: demo
programs:
  server: a:main
"""
TESTBED = """\
nodes:
  - role: server
    device: host
    link: lte
  - role: client
    device: host
    link: lte
"""


def fault(text: str, model: type[Profile], overrides: dict[str, Any] | None = None) -> str:
    """What is said of a file of `text` that is no `model`."""
    document = Document(text, "my.yaml")
    for key, value in (overrides or {}).items():
        document.override(key, value)
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document.data)
    return str(document.explain(refused.value, model))


# -- reading


def refusal(text: str) -> str:
    with pytest.raises(InputError) as refused:
        Document(text, "my.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: [2", "my.yaml:2: not valid YAML"),
        ("a: 1\nb: c: d", "my.yaml:2: not valid YAML: mapping values are not allowed here"),
        ("a:\n\t- 1", "my.yaml:2: not valid YAML: found character '\\t'"),
        ("a: 1\nb: 'x", "my.yaml:2: not valid YAML"),
        ("a: 1\n---\nb: 2", "my.yaml:2: not valid YAML: but found another document"),
        ("a: 1\nb: *c", "my.yaml:2: not valid YAML: found undefined alias"),
        ("a: !!python/object:os.system x", "my.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: 1\nb: \x07", "my.yaml:2: not valid YAML: special characters are not allowed: #x0007"),
        ("a: 1\nb: 2025-02-30", "my.yaml:2: not valid YAML: day is out of range"),
        ("a: 1\nb:\n  - 0x_", "my.yaml:3: not valid YAML: invalid literal"),
        ("a: 1\n? [b]\n: 2", "my.yaml:2: not valid YAML: found unhashable key"),
        ("a: 1\n? {b: c}\n: 2", "my.yaml:2: not valid YAML: found unhashable key"),
        ("a: " + "[" * 1000, "my.yaml: not valid YAML: nested too deeply"),
        ("a: &x [*x]", "my.yaml: not valid YAML: nested too deeply, or in itself"),
    ],
    ids=lambda value: f"{value:.30}",
)
def test_malformed_yaml_is_refused_with_its_line(text: str, says: str) -> None:
    assert refusal(text).startswith(says)


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "---\n", "- a\n- b\n", "just text", "42", "null"])
def test_a_file_without_keys_is_refused(text: str) -> None:
    assert refusal(text) == "my.yaml: holds no keys: write 'key: value' lines"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "my.yaml:3: a: stands here twice"),
        ("up:\n  rate: 1\n  rate: 2", "my.yaml:3: rate: stands here twice"),
        ("nodes:\n  - {role: a, role: b}", "my.yaml:2: role: stands here twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, says: str) -> None:
    assert refusal(text) == says


def test_the_same_key_in_two_places_is_accepted() -> None:
    assert Document("a: {x: 1}\nb: {x: 2}", "my.yaml").data == {"a": {"x": 1}, "b": {"x": 2}}


def test_anchors_and_merges_are_accepted() -> None:
    document = Document("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "my.yaml")
    assert document.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


@given(st.text(st.sampled_from("ab:-?[]{},&*!|>'\"#%@ \n\t0123.x_") | st.characters(), max_size=60))
def test_any_text_is_a_document_or_refused(text: str) -> None:
    try:
        document = Document(text, "my.yaml")
    except InputError:
        assert refusal(text).startswith("my.yaml")
    else:
        assert document.data == yaml.safe_load(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, folder = tmp_path / "missing.yaml", tmp_path
    for path, why in [(missing, "No such file or directory"), (folder, "Is a directory")]:
        with pytest.raises(InputError) as refused:
            Document.read(path)
        assert str(refused.value) == f"{path}: cannot be read: {why}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        Document.read(path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("description: Ger\xe4t".encode("latin-1"))
    with pytest.raises(InputError) as refused:
        Document.read(path)
    assert str(refused.value) == f"{path}: is not UTF-8 text"


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "mark.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert Document.read(path).data == {"a": 1}


# -- where a key stands


def test_every_key_has_its_line() -> None:
    document = Document(TESTBED, "my.yaml")
    assert document.where(["nodes"]) == "my.yaml:1"
    assert document.where(["nodes", 1]) == "my.yaml:5"
    assert document.where(["nodes", 1, "link"]) == "my.yaml:7"
    assert document.where(["nodes", 1, "device", "name"]) == "my.yaml:6"  # the tag of a union


def test_what_is_not_in_the_file_is_where_it_should_be() -> None:
    document = Document(LINK, "my.yaml")
    assert document.where([]) == "my.yaml:1"
    assert document.where(["down", "loss"]) == "my.yaml:4"
    assert document.where(["nonsense"]) == "my.yaml:1"


# -- what is said of a fault


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rate: 1 Mbit/s", "rate: 10", "my.yaml:3: up.rate: 10 has no unit: write a rate such as '10 Mbit/s'"),
        ("rate: 1 Mbit/s", "rate: 10 mbit/s", "my.yaml:3: up.rate: 'mbit/s' is no unit of rate: write 'Mbit/s'"),
        ("rate: 1 Mbit/s", "rate: 0 Mbit/s", "my.yaml:3: up.rate: Input should be greater than 0"),
        ("rate: 1 Mbit/s", "rate: yes", "my.yaml:3: up.rate: True is not a rate: write one such as '10 Mbit/s'"),
        ("delay: 5 ms", "delay: -5 ms", "my.yaml:6: down.delay: Input should be greater than or equal to 0"),
        ("delay: 5 ms", "delay: unlimited", "my.yaml:6: down.delay: Input should be less than inf"),
        ("delay: 5 ms", "loss: 100 %", "my.yaml:6: down.loss: Input should be less than 1"),
        ("delay: 5 ms", "queue: 0 B", "my.yaml:6: down.queue: Input should be greater than 0"),
        ("delay: 5 ms", "dealy: 5 ms", "my.yaml:6: down.dealy: unknown key: did you mean 'delay'?"),
        (
            "delay: 5 ms",
            "zzz: 5 ms",
            "my.yaml:6: down.zzz: unknown key: choose one of burst, delay, jitter, loss, offset, queue, rate",
        ),
        ("source: a test\n", "", "my.yaml:1: source: is missing"),
        ("rate: 1 Mbit/s", "delay: 1 ms", "my.yaml:2: up.rate: is missing"),
        ("source: a test", "source: ''", "my.yaml:1: source: String should have at least 1 character"),
        ("up:\n  rate: 1 Mbit/s", "up: 1 Mbit/s", "my.yaml:2: up: Input should be a valid dictionary"),
    ],
)
def test_a_fault_names_file_line_and_key(old: str, new: str, says: str) -> None:
    assert old in LINK
    assert fault(LINK.replace(old, new), LinkProfile).startswith(says)


def test_a_misspelt_key_is_named_before_the_one_that_is_missing() -> None:
    said = fault(LINK.replace("rate: 1", "rat: 1"), LinkProfile)
    assert said == "my.yaml:3: up.rat: unknown key: did you mean 'rate'? (and 1 more)"


def test_all_faults_are_counted() -> None:
    assert fault("source: a test\n", LinkProfile) == "my.yaml:1: up: is missing (and 1 more)"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("round: 3", "my.yaml:4: round: unknown key: did you mean 'rounds'?"),
        ("rounds: 0", "my.yaml:4: rounds: Input should be greater than or equal to 1"),
        ("seed: -1", "my.yaml:4: seed: Input should be greater than or equal to 0"),
        ("bus: {port: 99999}", "my.yaml:4: bus.port: Input should be less than or equal to 65535"),
        ("bus: {prt: 1}", "my.yaml:4: bus.prt: unknown key: did you mean 'port'?"),
        ("deadlines: {run: 0 s}", "my.yaml:4: deadlines.run: Input should be greater than 0"),
        ("target_accuracy: 0.8", "my.yaml:4: target_accuracy: 0.8 has no unit: write a share such as '80 %'"),
        ("target_accuracy: 0 %", "my.yaml:4: target_accuracy: Input should be greater than 0"),
        ("time_scale: 0", "my.yaml:4: time_scale: 0 is no time scale: write a number above 0"),
        ("time_scale: fast", "my.yaml:4: time_scale: 'fast' is no time scale: write"),
        ("algorithms: [psl, sl, psl]", "my.yaml:4: algorithms: listed twice: psl"),
        ("1: 2", "my.yaml:4: 1: Keys should be strings"),
    ],
)
def test_a_fault_of_an_experiment_names_the_key(line: str, says: str) -> None:
    assert fault(EXPERIMENT + line, Experiment).startswith(says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("role: client", "rol: client", "my.yaml:5: nodes.1.rol: unknown key: did you mean 'role'?"),
        ("role: client", "role: Client", "my.yaml:5: nodes.1.role: String should match pattern"),
        ("role: client", "role: client\n    count: 0", "my.yaml:6: nodes.1.count: Input should be greater"),
        ("role: client", "role: a\n    name: controller", "my.yaml:5: nodes.1: the name 'controller' is taken"),
        ("role: client", "role: a\n    name: hub", "my.yaml:5: nodes.1: the name 'hub' is taken"),
        ("role: client", "role: a\n    name: a\n    count: 2", "my.yaml:5: nodes.1: name 'a' cannot be shared"),
        ("role: client\n    device: host", "role: a\n    device: 5", "my.yaml:6: nodes.1.device: Input should be"),
        (
            "role: client\n    device: host",
            "role: a\n    device: {training: 1 GFLOP/s, memory: 1 GiB}",
            "my.yaml:6: nodes.1.device.source: is missing",
        ),
        (
            "role: client\n    device: host",
            "role: a\n    device:\n      source: x\n      training: 1 GFLOP/s\n      memmory: 1 GiB",
            "my.yaml:9: nodes.1.device.memmory: unknown key: did you mean 'memory'?",
        ),
    ],
)
def test_a_fault_of_a_node_names_its_place_in_the_list(old: str, new: str, says: str) -> None:
    assert old in TESTBED
    assert fault(TESTBED.replace(old, new), Testbed).startswith(says)


def test_what_is_missing_in_an_empty_part_is_named_in_full() -> None:
    assert fault("source: a test\nup: {}\ndown: {rate: 1 Mbit/s}", LinkProfile) == "my.yaml:2: up.rate: is missing"


def test_a_key_may_have_another_name_in_the_file() -> None:
    document = Document("source: a test\nway: {rate: 5}\ndown: {rate: 1 Mbit/s}", "my.yaml")
    with pytest.raises(ValidationError) as refused:
        LinkProfile.model_validate({"source": "a test", "down": document.data["down"], "up": document.data["way"]})
    said = str(document.explain(refused.value, LinkProfile, rename={"up": "way"}))
    assert said.startswith("my.yaml:2: way.rate: 5 has no unit")


# -- overrides


def test_a_misspelt_key_is_put_right_by_the_name_it_has_in_the_file() -> None:
    class Aliased(BaseModel):
        model_config = ConfigDict(extra="forbid")
        lam: float = Field(default=0, alias="lambda")

    document = Document("lambada: 1\n", "file")
    with pytest.raises(ValidationError) as error:
        Aliased.model_validate(document.data)
    assert "unknown key: did you mean 'lambda'?" in str(document.explain(error.value, Aliased))


def test_an_override_takes_the_place_of_what_the_file_says() -> None:
    document = Document(EXPERIMENT + "rounds: 3", "my.yaml")
    document.override("rounds", 5)
    document.override("bus.port", 4000)
    document.override("workload.data.name", "digits")
    assert document.data["rounds"] == 5
    assert document.data["bus"] == {"port": 4000}
    assert document.data["workload"] == {"data": {"name": "digits"}}


def test_an_override_leaves_alone_what_stands_beside_it() -> None:
    document = Document("a: {b: {c: 1, d: 2}}", "my.yaml")
    document.override("a.b.c", 3)
    assert document.data == {"a": {"b": {"c": 3, "d": 2}}}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rounds", "many", "my.yaml with rounds set on the command line: rounds: Input should be a valid integer"),
        ("bus.port", -1, "my.yaml with bus.port set on the command line: bus.port: Input should be greater"),
        ("bus.prt", 1, "my.yaml with bus.prt set on the command line: bus.prt: unknown key: did you mean 'port'?"),
        ("time_scale", "x", "my.yaml with time_scale set on the command line: time_scale: 'x' is no time scale"),
        ("bus", {"port": "x"}, "my.yaml with bus set on the command line: bus.port: Input should be a valid integer"),
    ],
)
def test_a_fault_of_an_override_names_the_command_line(key: str, value: object, says: str) -> None:
    assert fault(EXPERIMENT + "rounds: 3", Experiment, {key: value}).startswith(says)


def test_a_fault_beside_an_override_names_its_line() -> None:
    assert fault(EXPERIMENT + "bus:\n  prt: 1", Experiment, {"bus.port": 1}).startswith("my.yaml:5: bus.prt")


def test_an_override_below_a_value_is_refused() -> None:
    document = Document("bus: {port: 1}", "my.yaml")
    with pytest.raises(InputError, match=r"bus\.port\.x: 'bus\.port' is a value, it has no keys of its own"):
        document.override("bus.port.x", 1)


# -- words


def test_the_nearest_word_is_suggested_or_else_all() -> None:
    known = ["wifi-5", "lte", "adsl"]
    assert nearest("wifi5", known) == ": did you mean 'wifi-5'?"
    assert nearest("zzz", known) == ": choose one of adsl, lte, wifi-5"
    assert nearest("zzz", []) == ""


def test_yaml_keeps_the_order_of_the_keys() -> None:
    text = as_yaml({"z": 1, "a": {"y": "ü", "b": [1, 2]}})
    assert text.index("z") < text.index("a") < text.index("y")
    assert "ü" in text
    assert yaml.safe_load(text) == {"z": 1, "a": {"y": "ü", "b": [1, 2]}}


def test_a_name_is_no_path() -> None:
    assert ":1: name: String should match pattern" in fault("name: ../../up\n" + TESTBED, Testbed)
