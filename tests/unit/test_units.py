import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from emulator.units import (
    RATE,
    SHARE,
    SIZE,
    THROUGHPUT,
    TIME,
    Dimension,
    Rate,
    Share,
    Size,
    Time,
    UnitError,
    exact,
    parse,
    show,
)
from tests.tolerance import assert_close

DIMENSIONS = [RATE, SIZE, TIME, THROUGHPUT, SHARE]
dimensions = st.sampled_from(DIMENSIONS)


def refusal(text: object, dimension: Dimension) -> str:
    with pytest.raises(UnitError) as refused:
        parse(text, dimension)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("10 Mbit/s", RATE, 10e6),
        ("10Mbit/s", RATE, 10e6),
        ("  0.8   kbit/s ", RATE, 800),
        ("1e3 bit/s", RATE, 1000),
        ("2 Gbit/s", RATE, 2e9),
        ("0 Mbit/s", RATE, 0),
        ("2 MiB", SIZE, 2 * 2**20),
        ("2 MB", SIZE, 2e6),
        (".5 KiB", SIZE, 512),
        ("1. kB", SIZE, 1000),
        ("50 ms", TIME, 0.05),
        ("-5 ms", TIME, -0.005),
        ("20 us", TIME, 20e-6),
        ("20 µs", TIME, 20e-6),
        ("2 min", TIME, 120),
        ("1.5 h", TIME, 5400),
        ("25 GFLOP/s", THROUGHPUT, 25e9),
        ("80 %", SHARE, 0.8),
        ("80%", SHARE, 0.8),
        ("unlimited", RATE, math.inf),
        (" unlimited ", SIZE, math.inf),
    ],
)
def test_a_quantity_is_read_in_the_unit_of_the_code(text: str, dimension: Dimension, value: float) -> None:
    assert_close(parse(text, dimension), value, absolute=0)


@pytest.mark.parametrize("percent", range(101))
def test_a_percentage_is_the_share_that_counting_gives(percent: int) -> None:
    assert parse(f"{percent} %", SHARE) == percent / 100  # so that a target of 57 % is reached by 57 of 100


@given(st.integers(0, 10**6), st.sampled_from(["ms", "us", "ns"]))
def test_small_units_are_read_as_exactly_as_a_number_can_be(count: int, unit: str) -> None:
    assert parse(f"{count} {unit}", TIME) == float(f"{count}e-{ {'ms': 3, 'us': 6, 'ns': 9}[unit] }")


@pytest.mark.parametrize("number", [10, 10.5, 0, "10", "10.5", " 1e3 ", math.inf])
@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_a_bare_number_is_refused(number: object, dimension: Dimension) -> None:
    said = refusal(number, dimension)
    if number == math.inf:
        assert f"write a {dimension.name}" in said
    else:
        assert "has no unit" in said
    assert f"such as '{dimension.example}'" in said


@pytest.mark.parametrize(
    "value", [None, True, [], {}, "", "fast", "Mbit/s", "10 20 Mbit/s", "1,5 ms", "nan ms", "inf s"]
)
def test_what_is_no_quantity_is_refused(value: object) -> None:
    assert refusal(value, RATE).endswith("is not a rate: write one such as '10 Mbit/s'")


@pytest.mark.parametrize(
    ("unit", "dimension", "hint"),
    [
        ("mbit/s", RATE, "write 'Mbit/s'"),  # not 'bit/s', which has as many letters in common
        ("MBit/s", RATE, "write 'Mbit/s'"),
        ("Kbit/s", RATE, "write 'kbit/s'"),
        ("Mbps", RATE, "write 'Mbit/s'"),
        ("mbps", RATE, "write 'Mbit/s'"),
        ("Mbits/s", RATE, "did you mean 'Mbit/s'?"),
        ("KB", SIZE, "write 'kB'"),
        ("mib", SIZE, "write 'MiB'"),
        ("MS", TIME, "write 'ms'"),
        ("msec", TIME, "write 'ms'"),
        ("gflops", THROUGHPUT, "write 'GFLOP/s'"),
        ("GFLOP", THROUGHPUT, "did you mean 'GFLOP/s'?"),
        ("parsec", SIZE, "use one of B, kB, KiB"),
        ("ms", RATE, "use one of bit/s"),
        ("percent", SHARE, "use one of %"),
    ],
)
def test_an_unknown_unit_is_refused_with_a_hint(unit: str, dimension: Dimension, hint: str) -> None:
    said = refusal(f"10 {unit}", dimension)
    assert said.startswith(f"'{unit}' is no unit of {dimension.name}: {hint}")


@given(dimensions, st.data())
def test_a_unit_in_the_wrong_case_leads_to_the_right_one(dimension: Dimension, data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from(sorted(dimension.units)))
    wrong = data.draw(st.tuples(*[st.sampled_from([letter.lower(), letter.upper()]) for letter in unit]).map("".join))
    if wrong not in dimension.units and wrong not in dimension.mistaken and len(wrong.encode()) == len(unit.encode()):
        assert refusal(f"1 {wrong}", dimension).endswith(f": write '{unit}'")


def test_a_share_is_never_unlimited() -> None:
    assert "is not a share" in refusal("unlimited", SHARE)


def test_a_number_beyond_all_numbers_is_refused() -> None:
    assert refusal("1e999 s", TIME) == "'1e999 s' is out of range"
    assert refusal("1e308 Gbit/s", RATE) == "'1e308 Gbit/s' is out of range"


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (10e6, RATE, "10 Mbit/s"),
        (999_000, RATE, "999 kbit/s"),
        (0.5, RATE, "0.5 bit/s"),
        (0, SIZE, "0 B"),
        (2 * 2**20, SIZE, "2 MiB"),
        (1e6, SIZE, "976.5625 KiB"),
        (0.05, TIME, "50 ms"),
        (-0.05, TIME, "-50 ms"),
        (90, TIME, "1.5 min"),
        (2e-6, TIME, "2 us"),
        (3.8e9, THROUGHPUT, "3.8 GFLOP/s"),
        (0.001, SHARE, "0.1 %"),
        (math.inf, RATE, "unlimited"),
    ],
)
def test_a_value_is_shown_in_the_largest_unit_that_fits(value: float, dimension: Dimension, text: str) -> None:
    assert show(value, dimension) == text


def test_digits_limit_what_is_shown() -> None:
    assert show(1_234_567, RATE, 3) == "1.23 Mbit/s"


@pytest.mark.parametrize(("value", "dimension"), [(math.nan, RATE), (-math.inf, RATE), (math.inf, SHARE)])
def test_what_no_text_can_say_is_not_shown(value: float, dimension: Dimension) -> None:
    with pytest.raises(UnitError):
        show(value, dimension)


@given(dimensions, st.floats(-1e18, 1e18).filter(lambda value: value == 0 or abs(value) > 1e-18))
def test_what_is_shown_is_read_back(dimension: Dimension, value: float) -> None:
    assert_close(parse(show(value, dimension), dimension), value, relative=1e-11, absolute=0)


@given(dimensions, st.floats(0, 1e6), st.data())
def test_what_is_written_is_shown_and_read_back(dimension: Dimension, number: float, data: st.DataObject) -> None:
    value = parse(f"{number!r} {data.draw(st.sampled_from(sorted(dimension.units)))}", dimension)
    assert_close(parse(show(value, dimension), dimension), value, relative=1e-11, absolute=1e-300)


@given(st.text(max_size=20), dimensions)
def test_any_text_is_a_quantity_or_refused(text: str, dimension: Dimension) -> None:
    with contextlib.suppress(UnitError):
        assert not math.isnan(parse(text, dimension))


class Form(BaseModel):
    rate: Rate = math.inf
    size: Size = 0.0
    time: Time = 0.0
    share: Share = 0.0


def test_a_model_reads_and_writes_quantities_as_text() -> None:
    texts: dict[str, Any] = {"rate": "10 Mbit/s", "size": "2 MiB", "time": "50 ms", "share": "80 %"}
    form = Form(**texts)
    assert (form.rate, form.size, form.time, form.share) == pytest.approx((10e6, 2 * 2**20, 0.05, 0.8))
    assert form.model_dump(mode="json") == texts
    assert Form.model_validate_json(form.model_dump_json()) == form
    assert Form().model_dump(mode="json")["rate"] == "unlimited"


@given(st.sampled_from([RATE, SIZE, TIME, THROUGHPUT]), st.floats(0, 1e18))
def test_what_a_file_is_told_is_the_very_same_number(dimension: Dimension, value: float) -> None:
    assert parse(exact(value, dimension), dimension) == value


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [(90.5, TIME, "90.5 s"), (120.0, TIME, "2 min"), (1e9 / 3, RATE, "333333333.3333333 bit/s"), (0.57, SHARE, "57 %")],
)
def test_the_very_same_number_is_told_as_shortly_as_can_be(value: float, dimension: Dimension, text: str) -> None:
    assert exact(value, dimension) == text
