"""Tests that share something run in one process, in however many all of them run (tests/conftest.py)."""

import pytest


@pytest.mark.parametrize("turn", range(6))
def test_the_tests_of_a_file_run_in_one_process(
    turn: int, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> None:
    own = tmp_path_factory.getbasetemp()
    whose = (own if worker_id == "master" else own.parent) / "process-of-this-file"
    if not whose.exists():
        whose.write_text(worker_id)
    assert whose.read_text() == worker_id
