import pytest

from emulator import quota
from emulator.cost import CostModel, StageCost
from emulator.host import Host
from emulator.interruption import Interruption, Wait
from emulator.library import load_experiment
from emulator.plan import make_plan
from emulator.prediction import predict
from emulator.timeline import Span
from tests.tolerance import assert_close

HOST = Host("a processor", 2, 2**33, 60e9)
INTERRUPTION = Interruption(brief=Wait(seconds=0.003, cost=1e-4), long=Wait(seconds=0.06, cost=4e-4), tick=4e-3)
STAGES = (("client", "client_forward"), ("server", "server_step"), ("client", "client_backward"))
COST = CostModel(
    core_flops=60e9,
    bandwidth=1e10,
    stages=tuple(StageCost(run="psl", role=role, stage=stage, overhead=0.1) for role, stage in STAGES),
    interruption=INTERRUPTION,
)


def test_of_what_was_measured_a_prediction_takes_the_speed_of_the_cores_and_nothing_else() -> None:
    """Twice as slow where the probe took twice its usual time: here next to what client-1 computed first.
    Ages are between calls: each is told by its own probe alone."""
    experiment, _ = load_experiment("demo", {"algorithms": ["psl"], "rounds": 2})
    stages = tuple(stage.model_copy(update={"probe": 5e-5}) for stage in COST.stages)
    cost = COST.model_copy(update={"stages": stages})
    usual = predict(experiment, HOST, cost)
    measured = [
        Span("psl", number, node, "client_forward", start, start + 1.0, cpu=0.1, probe=probe, mode="stretched")
        for number, node, start, probe in (
            (2, "client-1", 2e11, 5e-5),
            (1, "client-1", 1e11, 1e-4),
            (1, "client-2", 3e11, 5e-5),
        )
    ]
    told = predict(experiment, HOST, cost, measured=measured)
    for then, now in zip(computations(usual), computations(told), strict=True):
        slow = (now.round, now.node, now.stage) == (1, "client-1", "client_forward")
        assert_close(now.duration, (2 if slow else 1) * then.duration, relative=1e-9, what=f"{now.stage} of {now.node}")


def computations(spans: list[Span]) -> list[Span]:
    found = [span for span in spans if span.mode]
    return sorted(found, key=lambda span: (span.round, span.node, span.stage))


@pytest.mark.parametrize("scale", [2, 20])
def test_what_a_quota_interrupts_is_predicted_to_take_longer_by_that(scale: int) -> None:
    """And at the time scale of the run: the larger it is, the smaller the quota of each device."""
    experiment, _ = load_experiment("demo", {"algorithms": ["psl"], "rounds": 1, "time_scale": scale})
    held_back = predict(experiment, HOST, COST)
    throttled = predict(experiment.model_copy(update={"compute": "quota"}), HOST, COST)
    slowdowns = {node.name: node.slowdown for node in make_plan(experiment, HOST.core_flops, 2, virtual=True).nodes}
    computed = 0
    for free, held in zip(held_back, throttled, strict=True):
        if free.is_message or free.duration == 0:
            continue
        computed += 1
        expected = INTERRUPTION.lengthened(1.0, quota.throttling(1 / (slowdowns[free.node] * scale)))
        assert_close(held.duration / free.duration, expected, relative=1e-6, what=f"{held.stage} of {held.node}")
    assert computed == 4 * 2 + 1
