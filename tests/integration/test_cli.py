"""What the command says to those who use it wrongly, and to programs that read its output."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator import library
from tests.integration.running import Edgebed, edgebed, read_result, write_experiment

SPIN = """
def work():
    return sum(range(3_000_000))

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for client in node.peers["client"]:
            await node.receive("done", client)
        for client in node.peers["client"]:
            await node.send(client, "next")

async def client(node):
    (server,) = node.peers["server"]
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", work)
        await node.send(server, "done")
        await node.receive("next")
"""


def test_the_command_is_installed(tmp_path: Path) -> None:
    run = edgebed("--version", cwd=tmp_path)
    assert (run.status, run.err) == (0, "")
    assert re.search(r"\d+\.\d+\.\d+", run.out)


# -- wrong usage


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "dmeo"], "unknown experiment 'dmeo': did you mean 'demo'?"),
        (["run", "xyzzy"], "unknown experiment 'xyzzy': choose one of cifar10-vgg16, demo"),
        (["run", "no/such.yaml"], "no/such.yaml: cannot be read: No such file or directory"),
        (["run", "demo", "--testbed", "papre"], "unknown testbed 'papre': did you mean 'paper'?"),
        (["run", "demo", "--algorithm", "gaspl"], "no algorithm is called 'gaspl': did you mean 'gapsl'?"),
        (["run", "demo", "--algorithm", "psl,psl"], "listed twice: psl"),
        (["run", "demo", "--rounds", "0"], "rounds: Input should be greater than or equal to 1"),
        (["run", "demo", "--rounds", "many"], "'many' is not a valid integer"),
        (
            ["run", "demo", "--set", "compute=quota"],
            "compute: quota needs nodes in containers: add --runtime docker, or leave compute out",
        ),
        (["run", "demo", "--seed", "-1"], "seed: Input should be greater than or equal to 0"),
        (["run", "demo", "--target", "80"], "--target: '80' has no unit: write a share such as '80 %'"),
        (["run", "demo", "--target", "120 %"], "target_accuracy: Input should be less than or equal to 1"),
        (["run", "demo", "--runtime", "cloud"], "'cloud' is not"),
        (["run", "demo", "--set", "rounds"], "--set rounds: write KEY=VALUE, such as workload.batch_size=32"),
        (["run", "demo", "--set", "=3"], "--set =3: write KEY=VALUE"),
        (["run", "demo", "--set", "rounds=["], "--set rounds=[: '[' is not a YAML value"),
        (
            ["run", "demo", "--set", "rounds=many"],
            "with rounds set on the command line: rounds: Input should be a valid",
        ),
        (["run", "demo", "--set", "rouns=3"], "rouns: unknown key: did you mean 'rounds'?"),
        (["run", "demo", "--set", "rounds.each=3"], "rounds.each: 'rounds' is a value, it has no keys of its own"),
        (["run", "demo", "--set", "workload.batch_sise=8"], "unknown key: did you mean 'batch_size'?"),
        (["run", "demo", "--set", "time_scale=0"], "write a number above 0 and at most 1e6, or auto"),
        (["run", "demo", "--set", "deadlines.run=5"], "5 has no unit: write a time such as '50 ms'"),
        (["run", "demo", "--sett", "rounds=3"], "No such option"),
        (["rum", "demo"], "No such command 'rum'"),
        (["profiles", "show", "jetson-nan"], "unknown profile 'jetson-nan': did you mean 'jetson-nano'?"),
        (["profiles", "check", "absent.yaml"], "absent.yaml: cannot be read: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_that_says_what_to_write(command: Edgebed, arguments: list[str], line: str) -> None:
    run = command(*arguments)
    assert run.status == 2
    assert run.out == ""
    assert line in run.line


# -- files that cannot be used


LINK = "source: a test\nup:\n  rate: 1 Mbit/s\ndown:\n  rate: 1 Mbit/s\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            LINK.replace("down:\n  rate: 1", "down:\n  rate: 0"),
            "mine.yaml:5: down.rate: Input should be greater than 0",
        ),
        (LINK + "  delay: -5 ms\n", "mine.yaml:6: down.delay: Input should be greater than or equal to 0"),
        (LINK + "  delay: 5\n", "mine.yaml:6: down.delay: 5 has no unit: write a time such as '50 ms'"),
        (LINK + "  delay: 5 parsecs\n", "mine.yaml:6: down.delay: 'parsecs' is no unit of time"),
        (LINK + "  delay: unlimited\n", "mine.yaml:6: down.delay: Input should be less than inf"),
        (LINK + "  loss: 100 %\n", "mine.yaml:6: down.loss: Input should be less than 1"),
        (LINK + "  queue: 0 B\n", "mine.yaml:6: down.queue: Input should be greater than 0"),
        (LINK + "  dealy: 5 ms\n", "mine.yaml:6: down.dealy: unknown key: did you mean 'delay'?"),
        (LINK.replace("source: a test\n", ""), "mine.yaml:1: source: is missing"),
        (LINK + "up: {}\n", "mine.yaml:6: up: stands here twice"),
        (LINK + "  delay: [5 ms\n", "mine.yaml:7: not valid YAML"),
        (LINK + "\tdelay: 5 ms\n", "mine.yaml:6: not valid YAML"),
        ("just words\n", "mine.yaml: holds no keys: write 'key: value' lines"),
        ("", "mine.yaml: holds no keys"),
        ("colour: red\n", "mine.yaml: cannot tell what kind of profile this is"),
        (
            "training: 0 GFLOP/s\nmemory: 1 GiB\nsource: a test\n",
            "mine.yaml:1: training: Input should be greater than 0",
        ),
        ("nodes: []\n", "mine.yaml:1: nodes: "),
        ("nodes:\n- {role: server, device: hots, link: adsl}\n", "unknown device 'hots': did you mean 'host'?"),
        (
            "nodes:\n- {role: server, device: host, link: ./a.yaml}\n",
            "a.yaml: cannot be read: No such file or directory",
        ),
        (
            "nodes:\n- {role: a, name: a, device: host, link: adsl, count: 2}\n",
            "mine.yaml:2: nodes.0: name 'a' cannot be",
        ),
        ("testbed: demo\nprograms: {server: nowhere}\n", "mine.yaml:2: programs.server: "),
        ("testbed: demo\nprograms: {server: 'nodes.server:main'}\n", "mine.yaml:2: programs: no program for the role"),
        ("testbed: dmeo\nprograms: {server: 'nodes.server:main'}\n", "unknown testbed 'dmeo': did you mean 'demo'?"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_line_and_key(
    command: Edgebed, tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    run = command("profiles", "check", "mine.yaml")
    assert run.status == 2
    assert line in run.line


# -- traces


def test_shipped_traces_are_listed_and_drawn(command: Edgebed) -> None:
    listed = command("profiles", "list").out
    assert "\ntraces:\n  lte              LTE-like, on the move" in listed
    shown = command("profiles", "show", "lte").out
    assert "# link lte\n" in shown
    drawn = shown[shown.index("# trace lte\n") :].splitlines()
    assert drawn[2].startswith("# up: mean 6.78 Mbit/s, min 0 bit/s, max 28.3 Mbit/s, period 300 s")
    assert drawn[12].startswith("# down: mean 26.3 Mbit/s")
    assert all(len(line) < 100 for line in drawn)
    assert sum("\u2588" in line for line in drawn) >= 14
    assert "trace: lte" in command("profiles", "show", "lte-trace").out


def test_a_trace_is_made_drawn_and_checked(command: Edgebed, tmp_path: Path) -> None:
    made = command("profiles", "trace", "wifi", "--seed", "7", "--length", "30 s", "--out", "mine.csv")
    assert (made.status, made.out, made.err) == (0, "", "")
    assert (tmp_path / "mine.csv").read_text() == command("profiles", "trace", "wifi", "--seed=7", "--length=30 s").out
    assert "period 30 s" in command("profiles", "show", "mine.csv").out
    assert command("profiles", "check", "mine.csv").out == "mine.csv: a valid trace\n"
    (tmp_path / "cell.down").write_text("3\n6\n9\n")
    assert (
        "# rate: mean 4 Mbit/s, min 4 Mbit/s, max 4 Mbit/s, period 0.009 s"
        in command("profiles", "show", "cell.down").out
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["show", "ltee"], "unknown profile 'ltee': did you mean 'lte'?"),
        (["show", "none.csv"], "none.csv: cannot be read: No such file or directory"),
        (["check", "none.down"], "none.down: cannot be read: No such file or directory"),
        (["check", "bad.down"], "bad.down:2: millisecond 2 comes after 3: they stand in order of time"),
        (["check", "bad.yaml"], "bad.yaml:2: up.trace: unknown trace 'ltee': did you mean 'lte'?"),
        (["trace", "lti"], "unknown model 'lti': did you mean 'lte'?"),
        (["trace", "lte", "--length", "5"], "--length: '5' has no unit: write a time such as '50 ms'"),
        (["trace", "lte", "--length", "unlimited"], "a trace of unlimited is not to be had of the model 'lte'"),
        (["trace", "lte", "--out", "no/such.csv"], "cannot write no/such.csv: No such file or directory"),
    ],
)
def test_a_trace_that_cannot_be_used_is_refused(
    command: Edgebed, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "bad.down").write_text("3\n2\n")
    (tmp_path / "bad.yaml").write_text("source: a test\nup: {trace: ltee}\ndown: {rate: 1 Mbit/s}\n")
    run = command("profiles", *arguments)
    assert run.status == 2
    assert line in run.line


def test_a_file_that_is_no_text_is_refused(command: Edgebed, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00nodes")
    assert command("run", "mine.yaml").line == "mine.yaml: is not UTF-8 text"
    assert "cannot be read: Is a directory" in command("run", "./").line


def test_an_experiments_own_profiles_are_checked_before_it_runs(command: Edgebed, tmp_path: Path) -> None:
    (tmp_path / "wire.yaml").write_text(LINK.replace("1 Mbit/s", "0 bit/s", 1))
    experiment = write_experiment(tmp_path, link="./wire.yaml")
    run = command("run", experiment)
    assert run.status == 2
    assert "wire.yaml:3: up.rate: Input should be greater than 0" in run.line


# -- programs and folders that cannot be used


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("absent:main", "program 'absent:main': no module 'absent' here or among the installed packages"),
        ("tiny:absent", "program 'tiny:absent': module 'tiny' has no function 'absent'"),
        ("broken:main", "program 'broken:main': broken.py, line 3: NameError: name 'colour' is not defined"),
        ("garbled:main", "program 'garbled:main': garbled.py, line 1: SyntaxError: invalid syntax"),
        ("needy:main", "program 'needy:main': needy.py, line 1: ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
def test_a_program_that_cannot_be_loaded_is_refused(command: Edgebed, tmp_path: Path, program: str, line: str) -> None:
    (tmp_path / "broken.py").write_text("import json\n\nred = colour\n")
    (tmp_path / "garbled.py").write_text("async dfe main(node): ...\n")
    (tmp_path / "needy.py").write_text("import not_installed\n")
    experiment = write_experiment(tmp_path, programs={"server": "tiny:server", "client": program})
    run = command("run", experiment)
    assert run.status == 2
    assert run.line == line


def test_an_output_folder_that_cannot_be_used_is_refused(command: Edgebed, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "of.this").touch()
    for out, line in (
        ("full", "full is not empty: name a new folder, or an empty one"),
        ("tiny.yaml/out", "cannot create tiny.yaml/out: Not a directory"),  # even root cannot
    ):
        run = command("run", experiment, "--out", out)
        assert run.status == 2
        assert run.line == line


# -- profiles


def test_profiles_are_listed_with_their_descriptions(command: Edgebed) -> None:
    run = command("profiles", "list")
    assert (run.status, run.err) == (0, "")
    for kind, model in library.KINDS.items():
        assert f"{kind}:\n" in run.out
        for name in library.names(kind):
            assert re.search(
                rf"^  {re.escape(name)} +{re.escape(library.load(model, name).description)}$", run.out, re.M
            )


@pytest.mark.parametrize("name", ["raspberry-pi-4", "lte", "paper", "cifar10-vgg16"])
def test_what_profiles_show_prints_can_be_checked_again(command: Edgebed, tmp_path: Path, name: str) -> None:
    shown = command("profiles", "show", name)
    assert shown.status == 0
    if name != "cifar10-vgg16":  # to check that takes its data
        (tmp_path / "copy.yaml").write_text(shown.out)
        checked = command("profiles", "check", "copy.yaml")
        assert (checked.status, checked.err) == (0, "")
        assert checked.out.startswith("copy.yaml: a valid ")


def test_a_name_of_several_kinds_is_shown_in_each(command: Edgebed) -> None:
    run = command("profiles", "show", "demo")
    assert [line for line in run.out.splitlines() if line.startswith("# ")] == ["# testbed demo", "# experiment demo"]
    assert len(list(yaml.safe_load_all(run.out.replace("# experiment", "---\n# experiment")))) == 2


def test_an_experiment_of_ones_own_can_be_checked(command: Edgebed, tmp_path: Path) -> None:
    run = command("profiles", "check", write_experiment(tmp_path))
    assert run.status == 0
    assert run.out == f"{tmp_path}/tiny.yaml: a valid experiment file\n"


# -- whether the numbers can be trusted


def test_a_valid_run_ends_with_0_and_json_prints_nothing_but_the_result(tmp_path: Path, core_flops: float) -> None:
    slow = {"name": "slow", "training": f"{core_flops / 20e9:.6g} GFLOP/s", "memory": "unlimited", "source": "a test"}
    experiment = write_experiment(tmp_path, device=slow, rounds=4)
    for attempt in range(4):  # other work on this machine may spoil one
        run = edgebed("run", experiment, "--json", "--out", f"out-{attempt}", cwd=tmp_path)
        result = read_result(tmp_path / f"out-{attempt}")
        assert run.err == ""
        assert json.loads(run.out) == result
        assert run.status == (0 if result["verdict"]["valid"] else 3)
        if run.status == 0:
            return
    pytest.fail(f"never valid: {result['verdict']}")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot take cores away")
def test_an_oversubscribed_host_ends_in_3_and_says_so(tmp_path: Path, core_flops: float) -> None:
    near = {"training": f"{0.9 * core_flops / 1e9:.15g} GFLOP/s", "memory": "unlimited", "source": "a test"}
    nodes: list[dict[str, Any]] = [{"role": "server", "device": "host", "link": "lan-unlimited"}]
    nodes.append({"role": "client", "device": {"name": "near", **near}, "link": "lan-unlimited", "count": 3})
    experiment = write_experiment(tmp_path, SPIN, testbed={"name": "crowd", "nodes": nodes}, time_scale=1.0)
    one_core = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execv(sys.argv[1], sys.argv[1:])"
    )
    run = edgebed("run", experiment, "--out", "out", cwd=tmp_path, prefix=(sys.executable, "-c", one_core))
    assert run.status == 3
    assert "INVALID" in run.out
    verdict = read_result(tmp_path / "out")["verdict"]
    assert verdict["valid"] is False
    failed = {check["name"]: check["reason"] for check in verdict["checks"] if not check["ok"]}
    assert "compute_overrun" in failed
    for reason in failed.values():
        assert re.search(r"host oversubscribed: 3.7 cores wanted, 1 there: run with time_scale: auto or 3.7", reason)


def test_a_device_too_fast_for_the_host_is_refused_with_a_scale_that_then_works(
    tmp_path: Path, core_flops: float
) -> None:
    fast = {
        "name": "fast",
        "training": f"{2 * core_flops / 1e9:.6g} GFLOP/s",
        "memory": "unlimited",
        "source": "a test",
    }
    experiment = write_experiment(tmp_path, device=fast)
    run = edgebed("run", experiment, cwd=tmp_path)
    assert run.status == 2
    found = re.fullmatch(
        r"(server|client): its device is 2 times as fast as a core of this host at time scale 1: "
        r"set time_scale to ([\d.]+), or to auto",
        run.line,
    )
    assert found, run.line
    run = edgebed("run", experiment, "--set", f"time_scale={found[2]}", "--out", "out", cwd=tmp_path)
    assert run.status in (0, 3)
    assert read_result(tmp_path / "out")["host"]["time_scale"] == float(found[2])
