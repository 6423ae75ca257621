"""What `edgebed compose` writes: every node with its device's limits, in files that Compose and Swarm take."""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from emulator import library
from emulator.cli import cli
from emulator.compose import CACHE, CONTROL_PORT
from emulator.errors import InputError
from emulator.plan import make_plan
from emulator.profiles import DeviceProfile, NodeSpec, Testbed
from emulator.runtime import compose as runtime
from tests.integration.running import write_experiment

REPOSITORY = Path(__file__).parents[2]
GIB = 2**30
LINK = library.load_testbed("demo").nodes[0].link


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*arguments: object) -> dict[str, Any]:
    """The file that the command writes, as its reader understands it."""
    text = written(*arguments)
    assert isinstance(text, str)
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    return content


def written(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["compose", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(cli, ["compose", *map(str, arguments)], catch_exceptions=False)
    return str(refused.value)


def made_of(*throughputs: float) -> Testbed:
    """A testbed of clients of so many FLOP/s."""
    nodes = [
        NodeSpec(
            role="client",
            name=f"client-{number}",
            device=DeviceProfile.model_construct(name="made", training=throughput, memory=GIB, source="a test"),
            link=LINK,
        )
        for number, throughput in enumerate(throughputs)
    ]
    return Testbed(name="made", nodes=nodes)


def write_testbed(path: Path, count: int, **keys: object) -> Path:
    client = {"role": "client", "device": "raspberry-pi-4", "link": "wifi-5", "count": count, **keys}
    nodes = [{"role": "server", "device": "jetson-nano", "link": "ethernet-1g"}, client]
    path.write_text(yaml.safe_dump({"nodes": nodes}))
    return path


# -- the shipped file


def test_the_shipped_file_is_what_the_command_writes_for_the_demo() -> None:
    assert (REPOSITORY / "docker/compose.yaml").read_text() == written("demo")


def test_out_writes_the_same_to_a_file(tmp_path: Path) -> None:
    assert written("demo", "--out", tmp_path / "mine.yaml") == ""
    assert (tmp_path / "mine.yaml").read_text() == written("demo")


def test_the_experiment_runs_in_the_testbed_once_its_nodes_have_been_started() -> None:
    services = write("demo")["services"]
    nodes = [node.name for node in library.load_testbed("demo").nodes]
    assert services["testbed"]["command"] == "edgebed run demo --runtime compose ${EDGEBED_ARGS:-}"
    assert services["testbed"]["depends_on"] == nodes
    assert list(services) == ["testbed", *nodes]
    for name in nodes:
        assert services[name]["environment"]["EDGEBED_NAME"] == name
        assert services[name]["environment"]["EDGEBED_HUB"] == "tcp://testbed:5555"
        assert services[name]["environment"]["EDGEBED_TOKEN"] == services["testbed"]["environment"]["EDGEBED_TOKEN"]


def test_the_control_api_is_published_on_the_loopback_interface_alone() -> None:
    assert write("demo")["services"]["testbed"]["ports"] == [f"127.0.0.1:${{EDGEBED_PORT:-8642}}:{CONTROL_PORT}"]
    own = write("demo", "--set", "control.port=9000")["services"]["testbed"]["ports"]
    assert own == [f"127.0.0.1:${{EDGEBED_PORT:-9000}}:{CONTROL_PORT}"]


def test_a_bus_port_of_the_experiments_is_the_one_that_nodes_are_told() -> None:
    services = write("demo", "--set", "bus.port=6000")["services"]
    assert services["server"]["environment"]["EDGEBED_HUB"] == "tcp://testbed:6000"


def test_a_node_waits_for_the_hub_as_long_as_the_hub_for_a_node() -> None:
    services = write("demo", "--set", "deadlines.start=5 min")["services"]
    assert services["client-1"]["environment"]["EDGEBED_REGISTER_SECONDS"] == "300"


# -- limits


def test_memory_limits_are_the_devices_and_leave_no_swap() -> None:
    services = write("demo")["services"]
    limits = {name: services[name].get("mem_limit") for name in services}
    assert limits == {
        "testbed": None, "server": "4GiB",
        "client-1": "1GiB", "client-2": "8GiB", "client-3": "8GiB", "client-4": "6GiB"
    }  # fmt: skip
    assert all(service.get("mem_limit") == service.get("memswap_limit") for service in services.values())


def test_what_is_unlimited_has_no_limit(tmp_path: Path) -> None:
    client = write(write_testbed(Path("mine.yaml"), 1, device="host"))["services"]["client"]
    assert client["cpus"] == 1.0
    assert not {"mem_limit", "memswap_limit"} & client.keys()


def test_quotas_are_the_devices_shares_of_this_host_at_a_time_scale_that_the_run_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEBED_CORE_FLOPS", "50e9")
    services = write("demo", "--set", "compute=quota", "--set", "time_scale=2")["services"]
    assert services["testbed"]["environment"]["EDGEBED_CORE_FLOPS"] == "50000000000"
    assert "--set time_scale=2 --runtime compose" in services["testbed"]["command"]
    for name, share in {"server": 70 / 50 / 2, "client-1": 3.8 / 50 / 2, "client-4": 15 / 50 / 2}.items():
        assert "cpus" not in services[name]
        assert services[name]["cpu_quota"] / services[name]["cpu_period"] == pytest.approx(share, rel=1e-2)


# -- other testbeds, other experiments


def test_ten_clients_of_another_shipped_testbed() -> None:
    content = write("mixed-10")
    assert len(content["services"]) == 12
    assert content["services"]["testbed"]["command"].startswith("edgebed run demo --testbed mixed-10 --runtime compose")


def test_with_many_nodes_each_is_looked_at_less_often(tmp_path: Path) -> None:
    services = write(write_testbed(Path("mine.yaml"), 40))["services"]
    assert len(services) == 42
    assert services["client-40"]["healthcheck"] == {"interval": "246s"}
    assert "healthcheck" not in write("demo")["services"]["server"]


def test_files_of_the_users_are_seen_in_the_containers_under_the_same_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    (tmp_path / "mine").mkdir()
    experiment = write_experiment(tmp_path).rename(tmp_path / "mine/tiny.yaml")
    services = write("--experiment", experiment)["services"]
    assert services["testbed"]["command"].startswith("edgebed run mine/tiny.yaml --runtime compose")
    assert services["testbed"]["volumes"] == [".:/workspace:ro", "./runs:/workspace/runs", f"cache:{CACHE}"]
    assert services["client"]["volumes"] == [".:/workspace:ro"]


def test_what_is_shipped_needs_nothing_of_the_current_folder_unless_told_so() -> None:
    services = write("demo")["services"]
    assert services["testbed"]["volumes"] == ["./runs:/workspace/runs", f"cache:{CACHE}"]
    assert "volumes" not in services["client-1"]
    assert write("demo", "--mount")["services"]["client-1"]["volumes"] == [".:/workspace:ro"]


def test_settings_go_on_to_the_run_whatever_characters_they_have() -> None:
    value = "description=it's $HOME, ${PATH}"
    command = write("demo", "--set", value)["services"]["testbed"]["command"]
    words = shlex.split(command.replace("$$", "$"))
    assert words[:5] == ["edgebed", "run", "demo", "--set", value]
    assert "$$HOME, $${PATH}" in command


def test_a_scenario_goes_on_to_the_run_and_counts_in_the_limits(tmp_path: Path) -> None:
    larger = "{at: 1 s, node: client-1, device: {memory: 3 GiB}}"
    (tmp_path / "larger.yaml").write_text(f"scenario:\n  - {larger}\n")
    services = write("demo", "--scenario", "larger.yaml")["services"]
    assert "edgebed run demo --scenario larger.yaml --runtime compose" in services["testbed"]["command"]
    assert services["client-1"]["mem_limit"] == "3GiB"
    assert services["client-1"]["volumes"] == [".:/workspace:ro"], "whoever reads the file"
    assert services["client-2"]["mem_limit"] == write("demo")["services"]["client-2"]["mem_limit"]


# -- the self-test


def test_the_selftest_has_the_same_nodes_and_limits_as_the_testbeds_runs() -> None:
    found, run = write("--selftest")["services"], write("demo")["services"]
    assert found["testbed"].pop("command") == "edgebed selftest --testbed demo --runtime compose ${EDGEBED_ARGS:-}"
    del run["testbed"]["command"]
    assert found == run


def test_the_selftest_of_another_testbed_under_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBED_CORE_FLOPS", "50e9")
    services = write("mixed-10", "--selftest", "--set", "compute=quota", "--set", "time_scale=20")["services"]
    command = "edgebed selftest --testbed mixed-10 --set compute=quota --set time_scale=20 --set time_scale=20"
    assert services["testbed"]["command"].startswith(f"{command} --runtime compose")
    assert "cpu_quota" in services["client-1"]


# -- what is refused


def test_links_left_to_the_kernel_are_refused() -> None:
    assert refusal("demo", "--set", "links=kernel").startswith("links: kernel needs a runtime that sets the links up")


def test_what_a_selftest_does_not_have_is_refused() -> None:
    assert refusal("--selftest", "--scenario", "outage").startswith("--scenario is for experiments")
    assert refusal("--selftest", "--experiment", "drift").startswith("--experiment is for experiments")
    assert refusal("--selftest", "--set", "rounds=3").startswith("--set rounds: the self-test has no such key")
    assert refusal("--selftest", "--set", "compute=half").endswith("compute: Input should be 'stretched' or 'quota'")


def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    outside = write_testbed(tmp_path.parent / "outside.yaml", 1)
    assert refusal(outside).startswith(f"{outside} lies outside this folder, which is what containers get to see")


def test_a_node_with_the_name_of_the_hubs_service_is_refused(tmp_path: Path) -> None:
    path = write_testbed(Path("mine.yaml"), 1, name="testbed")
    assert refusal(path) == "a node is named 'testbed', as the service of the hub is: choose another name"


def test_wrong_words_are_refused_as_a_run_refuses_them() -> None:
    assert refusal("dmeo") == "unknown testbed 'dmeo': did you mean 'demo'?"
    assert refusal("demo", "--set", "rounds") == "--set rounds: write KEY=VALUE, such as workload.batch_size=32"


def test_the_runtime_of_the_containers_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEBED_TOKEN", raising=False)
    experiment, _ = library.load_experiment("demo")
    plan = make_plan(experiment, core_flops=40e9, cores=2)
    with pytest.raises(InputError, match=r"write a file with edgebed compose .* start it with docker compose up"):
        asyncio.run(runtime.run(plan, tmp_path, None))  # type: ignore[arg-type]  # nobody watches what does not begin


# -- swarm


def test_a_stack_places_the_server_with_the_hub_and_limits_every_node() -> None:
    services = write("demo", "--swarm")["services"]
    places = {name: service["deploy"]["placement"]["constraints"] for name, service in services.items()}
    hub, clients = ["node.labels.edgebed.hub == true"], ["node.labels.edgebed.clients == true"]
    assert places == {"testbed": hub, "server": hub, **{f"client-{n}": clients for n in (1, 2, 3, 4)}}
    assert services["client-1"]["deploy"]["resources"]["limits"] == {"cpus": "0.5", "memory": "1GiB"}
    assert all(service["deploy"]["restart_policy"] == {"condition": "none"} for service in services.values())


def test_a_stack_has_no_key_that_swarm_does_not_know() -> None:
    content = write("mixed-10", "--swarm")
    known = {
        "image", "command", "environment", "user", "cap_drop", "cap_add", "tmpfs", "read_only", "stop_grace_period",
        "volumes", "healthcheck", "labels", "deploy",
    }  # fmt: skip
    assert all(service.keys() <= known for service in content["services"].values())
    assert content["networks"] == {"default": {"driver": "overlay"}}
    assert content["volumes"] == {"runs": {}, "cache": {}}


def test_a_stack_of_what_only_this_host_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBED_CORE_FLOPS", "50e9")
    path = write_testbed(Path("mine.yaml"), 2)
    assert refusal(path, "--swarm").startswith("--swarm: the hosts of a swarm do not share this folder")
    assert refusal("demo", "--swarm", "--set", "compute=quota").startswith("compute: quota needs one host")
    named = {"role": "client", "name": "pi.4", "device": "raspberry-pi-4", "link": "wifi-5"}
    server = {"role": "server", "device": "jetson-nano", "link": "ethernet-1g"}
    setting = f"testbed={yaml.safe_dump({'name': 'two', 'nodes': [server, named]}, default_flow_style=True)}"
    assert refusal("--swarm", "--set", setting).startswith("--swarm: a service cannot be named 'pi.4'")
