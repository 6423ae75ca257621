"""What every test here needs: a Docker engine that has the image of this code."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.docker.project import Project

REPOSITORY = Path(__file__).parents[2]
BUILD_SECONDS = 1200.0
TEST_SECONDS = 600.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with containers the time they take, and the one that comes first that of building the image."""
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for number, item in enumerate(mine):
        item.add_marker(pytest.mark.timeout(TEST_SECONDS if number else TEST_SECONDS + BUILD_SECONDS))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    """The engine, in which edgebed's image is up to date. Skips where there is none, but not in CI."""
    missing = _missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"no Docker engine: {missing}")
    if missing:
        pytest.skip(f"no Docker engine: {missing}")
    client = docker.from_env()
    _build()
    yield client
    client.close()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder that containers may read."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def project() -> Iterator[Callable[[Path], Project]]:
    """Makes testbeds of Compose out of folders; all of them are removed at the end."""
    made: list[Project] = []

    def make(folder: Path) -> Project:
        made.append(Project(folder))
        return made[-1]

    yield make
    for one in made:
        one.run("down", "--volumes", "--timeout", "1")


def _missing() -> str:
    """What is not there of all that is needed."""
    try:
        docker.from_env().close()
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True)
    except (docker.errors.DockerException, OSError) as error:
        return str(error)
    return found.stderr.strip()


def _build() -> None:
    command = ["docker", "compose", "--progress", "plain", "build"]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BUILD_SECONDS)
    if built.returncode:
        pytest.fail(f"the image cannot be built:\n{built.stdout[-3000:]}{built.stderr[-3000:]}")
