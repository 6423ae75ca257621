"""The self-test in containers: what it finds of links, memory and clocks there."""

import json
from pathlib import Path

import docker
import yaml

from tests.integration.running import edgebed

LINK = {
    "source": "a test",
    "up": {"rate": "8 Mbit/s", "delay": "2 ms"},
    "down": {"rate": "40 Mbit/s", "delay": "1 ms"},
}
SMALL = {"name": "small", "training": "1 GFLOP/s", "memory": "512 MiB", "source": "a test"}


def test_memory_beyond_the_containers_kills_who_takes_it_and_nobody_else(
    docker_engine: docker.DockerClient, here: Path
) -> None:
    nodes = [{"role": role, "device": SMALL, "link": LINK} for role in ("server", "client")]
    (here / "two.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
    done = edgebed("selftest", "--testbed", "two.yaml", "--runtime", "docker", "--out", "out", cwd=here)
    assert done.status in (0, 3)
    result = json.loads((here / "out/selftest.json").read_text())
    figures = {(figure["name"], figure["of"]): figure for figure in result["figures"]}
    for node in ("server", "client"):
        memory = figures["memory_limit", node]
        assert memory["ok"], memory
        assert memory["note"] in ("refused", "read: too large for this host to try")
        assert figures["clock_offset", node]["error"] == 0
    assert abs(figures["promise_error", "client up"]["achieved"]) < 1e-6
