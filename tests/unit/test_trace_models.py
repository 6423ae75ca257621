"""Traces that are made up, and the shipped ones among them."""

import pytest

from emulator import library, trace_models, trace_text
from emulator.errors import InputError
from emulator.trace import Trace
from emulator.trace_models import MODELS, make
from tests.tolerance import assert_close

NAMES = list(MODELS)


def traces(text: str) -> list[Trace]:
    return [trace_text.model(rows) for rows in trace_text.directions(text).values()]


def test_what_is_shipped_is_what_is_made() -> None:
    assert library.names("traces") == sorted(NAMES)
    for name in NAMES:
        text = (library.shipped() / "traces" / f"{name}.csv").read_text(encoding="utf-8")
        assert text == make(name, seed=1, length=300.0)
        assert f'# edgebed profiles trace {name} --seed 1 --length "5 min"\n' in text
        assert len(text) < 30_000


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_is_another_trace_and_the_same_one_the_same(name: str) -> None:
    assert make(name, 1, 30.0) == make(name, 1, 30.0) != make(name, 2, 30.0).replace("--seed 2", "--seed 1")


@pytest.mark.parametrize("name", NAMES)
def test_a_long_trace_has_the_model_s_mean(name: str) -> None:
    for found, mean in zip(traces(make(name, 3, 20_000 * MODELS[name].step)), MODELS[name].usual(), strict=True):
        assert_close(found.mean / 1e6, mean, relative=0.08, what=f"mean of {name} in Mbit/s")


def test_the_means_are_the_published_ones() -> None:
    for name, published in (("lte", (7.6, 29.5)), ("satellite", (7.2, 62.5))):
        for mean, figure in zip(MODELS[name].usual(), published, strict=True):
            assert_close(mean, figure, relative=0.01, what=f"{name}: mean in Mbit/s")


@pytest.mark.parametrize("name", NAMES)
def test_rates_change_at_the_model_s_pace_and_never_exceed_its_peak(name: str) -> None:
    model = MODELS[name]
    for found, peak in zip(traces(make(name, 1, 500.0)), model.peak, strict=True):
        assert max(found.rates) <= peak * 1e6
        assert len(set(found.rates)) > 100
        assert found.period == 500.0
        assert_close(found.times[1], model.step)


def test_outages_are_those_of_the_models_that_have_them() -> None:
    for name, has in (("lte", True), ("satellite", True), ("wifi", False)):
        assert all((min(found.rates) == 0) == has for found in traces(make(name, 1, 1000.0)))


@pytest.mark.parametrize(
    ("name", "length", "says"),
    [
        ("lt", 60.0, "unknown model 'lt': did you mean 'lte'?"),
        ("lte", 1.0, "a trace of 1 s is not to be had of the model 'lte': give it a length of 2 s to 5.556 h"),
        ("satellite", float("inf"), "a trace of unlimited is not to be had of the model 'satellite'"),
        ("wifi", -1.0, "a trace of -1 s"),
    ],
)
def test_what_cannot_be_made_is_refused(name: str, length: float, says: str) -> None:
    with pytest.raises(InputError) as refused:
        trace_models.make(name, 1, length)
    assert str(refused.value).startswith(says)
