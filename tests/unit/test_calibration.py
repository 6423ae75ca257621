from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import calibration
from emulator.calibrate import (
    FEWEST_ROUNDS,
    LEAST_OF_A_TURN,
    MOST_ROUNDS,
    TURNS,
    copy_bandwidth,
    rounds_in,
    turns_of,
)
from emulator.calibration import Calibration, Overheads, default_path, read, subject, write
from emulator.cost import CostModel, StageCost
from emulator.errors import InputError
from emulator.host import Host
from emulator.interruption import BRIEFLY, FOR_LONG, LEAST_STEPS, UNDISTURBED, Step, interruption
from emulator.library import load_experiment
from emulator.plan import Plan
from emulator.prediction import calibration_plan, cost_model
from tests.unit.virtual_world import plan

COST = CostModel(
    core_flops=1e10, bandwidth=1e10, stages=(StageCost(run="psl", role="client", stage="think", overhead=0.1),)
)


def made(
    fingerprint: str | None = None, of: str = "a model", cost: CostModel = COST, schema: int = calibration.SCHEMA
) -> Calibration:
    return Calibration(
        schema=schema,
        fingerprint=fingerprint or calibration.fingerprint(),
        made="2026-01-01 00:00",
        awake=False,
        subject=of,
        cost=cost,
        overheads=Overheads(timer=0.001, delivery=0.002),
    )


SPLIT = (("client", "client_forward"), ("server", "server_step"), ("client", "client_backward"))


def knowing(*stages: tuple[str, str], run: str = "psl") -> CostModel:
    return COST.model_copy(
        update={"stages": tuple(StageCost(run=run, role=role, stage=stage, overhead=0.1) for role, stage in stages)}
    )


def test_a_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write(path, made())
    assert read(path, "a model") == made()
    assert read(path, "a model").runs == {"psl"}


def test_another_versions_calibration_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file.json", made(schema=calibration.SCHEMA - 1))
    with pytest.raises(InputError, match=r"of another version of edgebed: run edgebed calibrate anew"):
        read(tmp_path / "file.json", "a model")


def test_another_hosts_calibration_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file.json", made(fingerprint="an abacus"))
    with pytest.raises(InputError, match=r"of another host \(an abacus\): run edgebed calibrate on this one"):
        read(tmp_path / "file.json", "a model")


def test_another_models_calibration_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file.json", made())
    with pytest.raises(InputError, match="is a calibration of a model, and this experiment is another"):
        read(tmp_path / "file.json", "another")


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 1}', "[1, 2]"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(InputError, match="is no calibration"):
        read(tmp_path / "file.json", "a model")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.json", "a model")


def test_a_calibration_is_of_the_workload_and_of_how_many_nodes() -> None:
    one, more, other = plan(clients=1), plan(clients=2), plan(clients=1, workload={"bytes": 5})
    assert len({subject(one), subject(more), subject(other)}) == 3
    assert len({default_path(subject(each)) for each in (one, more, other)}) == 3
    assert subject(one) == subject(plan(clients=1, rounds=9, seed=5))


def test_the_models_words_say_what_a_calibration_is_of() -> None:
    split = {
        "data": {"name": "digits"},
        "model": {"name": "digits-cnn", "cut": "relu1"},
    }
    programs = {"server": "nodes.server:main", "client": "nodes.client:main"}
    small, large = (
        subject(plan(programs, algorithms=["psl"], workload={**split, "batch_size": batch})) for batch in (4, 16)
    )
    assert small == large == "digits-cnn with 2 layers on the client; 1 client, 1 server"


@given(st.integers(FEWEST_ROUNDS, 1000))
def test_turns_have_all_rounds_and_about_as_many_each(rounds: int) -> None:
    turns = turns_of(rounds)
    assert sum(turns) == rounds
    assert max(turns) - min(turns) <= 1
    assert len(turns) == 1 or min(turns) >= LEAST_OF_A_TURN
    assert len(turns) == TURNS or rounds < LEAST_OF_A_TURN * (len(turns) + 1)


def test_every_run_has_as_many_rounds_where_there_is_time_for_that() -> None:
    quick, long, longest = 0.1, 1.0, 3.0
    for rounds in (FEWEST_ROUNDS, 7, MOST_ROUNDS):
        assert rounds_in((longest + quick + long) * (rounds + 0.01), [longest, quick, long]) == [rounds] * 3
    assert rounds_in(1.0, [longest, quick, long]) == [FEWEST_ROUNDS] * 3
    assert rounds_in(1e6, [longest, quick, long]) == [MOST_ROUNDS] * 3


def test_time_that_is_not_enough_for_another_of_the_longest_rounds_is_the_others() -> None:
    assert rounds_in(FEWEST_ROUNDS * 30.0 + 11.05, [0.1, 30.0, 1.0]) == [10, FEWEST_ROUNDS, 10]


def test_a_copy_reads_and_writes_every_byte() -> None:
    ticks = iter(range(100))
    # Seven moments, one second apart: each copy moves 32 MiB in and 32 MiB out in a second.
    assert copy_bandwidth(lambda: float(next(ticks))) == 2 * 32 * 2**20


def test_without_leave_to_make_one_there_is_a_cost_model_only_where_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = Host("a processor", 2, 2**30, 1e10)
    experiment, _ = load_experiment("demo", {"algorithms": ["psl"]})
    assert cost_model(experiment, host, make=False) is None
    of, cost = subject(calibration_plan(experiment, host)), knowing(*SPLIT)
    write(default_path(of), made(of=of, cost=cost))
    assert cost_model(experiment, host, make=False) == cost
    without = experiment.model_copy(update={"calibration": "none"})
    assert cost_model(without, host) is None


def test_a_calibration_that_never_saw_a_stage_is_none_for_an_experiment_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom: here SFL averages after more rounds than any calibration has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = Host("a processor", 2, 2**30, 1e10)
    seldom = {"algorithms": ["sfl"], "workload.algorithms.sfl.interval": 50}
    experiment, _ = load_experiment("demo", seldom)
    of = subject(calibration_plan(experiment, host))
    write(default_path(of), made(of=of, cost=knowing(*SPLIT, run="sfl")))
    assert cost_model(experiment, host, make=False) is None
    path = tmp_path / "mine.json"
    write(path, made(of=of, cost=knowing(*SPLIT, run="sfl")))
    with pytest.raises(InputError, match=r"mine.json: has nothing of stage 'aggregate' of sfl: run edgebed calibrate"):
        cost_model(experiment.model_copy(update={"calibration": str(path)}), host)
    whole = knowing(*SPLIT, ("server", "aggregate"), run="sfl")
    write(default_path(of), made(of=of, cost=whole))
    assert cost_model(experiment, host, make=False) == whole


def test_a_calibration_that_does_not_know_interruptions_is_none_under_a_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = Host("a processor", 2, 2**30, 1e10)
    stretched, _ = load_experiment("demo", {"algorithms": ["psl"]})
    throttled = stretched.model_copy(update={"compute": "quota"})
    of, cost = subject(calibration_plan(throttled, host)), knowing(*SPLIT)
    write(default_path(of), made(of=of, cost=cost))
    assert cost_model(stretched, host, make=False) == cost
    assert cost_model(throttled, host, make=False) is None
    path = tmp_path / "mine.json"
    write(path, made(of=of, cost=cost))
    with pytest.raises(InputError, match=r"mine.json: has nothing of what a CPU quota's interruptions cost: run"):
        cost_model(throttled.model_copy(update={"calibration": str(path)}), host)
    free, brief, long = (
        Step(held.cores, cpu, 5e-5) for held, cpu in ((UNDISTURBED, 0.010), (BRIEFLY, 0.0102), (FOR_LONG, 0.0125))
    )
    steps = [free, brief, free, long] * LEAST_STEPS + [free]
    measured = [(4e-3, steps)]

    async def measure(_: Plan) -> tuple[float, list[Step]]:
        return measured.pop()

    monkeypatch.setattr("emulator.runtime.interruption.measure", measure)
    whole = cost.model_copy(update={"interruption": interruption(steps, 4e-3)})
    assert cost_model(throttled, host) == whole, "the stages are known"
    assert cost_model(throttled, host, make=False) == whole, "and now all is"


def test_a_calibration_of_cores_that_slept_is_none_of_those_that_are_kept_awake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEBED_AWAKE", raising=False)
    experiment, _ = load_experiment("demo", {"algorithms": ["psl"]})
    sleepy, cost, path = Host("a processor", 2, 2**30, 1e10), knowing(*SPLIT), tmp_path / "mine.json"
    write(path, made(of=subject(calibration_plan(experiment, sleepy)), cost=cost))
    named = experiment.model_copy(update={"calibration": str(path)})
    assert cost_model(named, sleepy) == cost
    with pytest.raises(InputError, match=r"mine.json: has nothing of cores that are kept awake between computations"):
        cost_model(named, Host("a processor", 2, 2**30, 1e10, waking=1.5))
