"""What traces may say as text, and what is refused."""

from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import trace_text
from emulator.trace import Trace
from emulator.trace_text import PACKET, TraceError, directions, model
from tests.tolerance import assert_close

HEAD = "seconds,up Mbit/s,down Mbit/s\n"


def refusal(text: str) -> str:
    with pytest.raises(TraceError) as refused:
        directions(text)
    return str(refused.value)


# -- tables


def test_a_table_says_rates_in_both_directions_until_its_last_row() -> None:
    text = (
        "# A link that is slow for a minute out of five\nseconds,up Mbit/s,down kbit/s\n0,8,3e4\n240,.5,2000\n300,,\n"
    )
    up, down = (model(rows) for rows in directions(text).values())
    assert (up.times, up.rates, up.period) == ((0.0, 240.0), (8e6, 0.5e6), 300.0)
    assert (down.times, down.rates, down.period) == ((0.0, 240.0), (30e6, 2e6), 300.0)
    assert trace_text.remarks(text) == "A link that is slow for a minute out of five"


def test_one_rate_is_of_both_directions_and_the_last_row_may_repeat_it() -> None:
    up, down = directions("seconds,rate Gbit/s\r\n0,1\r\n# half-time\r\n1,2\r\n2,2\r\n").values()
    assert up == down
    assert (model(up).rates, model(up).period) == ((1e9, 2e9), 2.0)
    assert trace_text.remarks("seconds,rate Gbit/s") == ""


def test_columns_may_come_in_any_order() -> None:
    found = directions("seconds,down Mbit/s,up Mbit/s\n0,2,1\n5,,\n")
    assert (model(found["up"]).mean, model(found["down"]).mean) == (1e6, 2e6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty: write a table that begins with 'seconds,up Mbit/s,down Mbit/s', or Mahimahi's milliseconds"),
        ("\n\n", "is empty: "),
        ("# nothing but a remark\n", "is empty: "),
        ("0,1\n", "line 1: '0' is not the first column of a trace: begin with the header 'seconds,up Mbit/s,"),
        ("time,rate Mbit/s\n", "line 1: 'time' is not the first column of a trace"),
        ("seconds,up,down\n0,1,1\n", "line 1: the column up: has no unit: write 'up Mbit/s'"),
        ("seconds,rate\n0,1\n", "line 1: the column rate: has no unit: write 'rate Mbit/s'"),
        ("seconds,rate Mbps\n0,1\n", "line 1: the column rate: 'Mbps' is no unit of rate: use one of bit/s, kbit/s"),
        ("seconds,uplink Mbit/s\n", "line 1: 'uplink' is no column of a trace: did you mean 'up'?"),
        ("seconds,up Mbit/s\n0,1\n", "line 1: the columns beside seconds are up: write up and down, or rate"),
        ("seconds,rate bit/s,rate bit/s\n", "line 1: the columns beside seconds are rate, rate: write up and down"),
        ("seconds\n0\n", "line 1: the columns beside seconds are none: "),
        (HEAD, "has fewer than two rows: a rate from 0 s on, and the end of the period"),
        (HEAD + "0,1,1\n", "line 2: has fewer than two rows"),
        (HEAD + "0,1\n5,,\n", "line 2: has 2 cells, not 3 as the header has"),
        (HEAD + "0,1,1\n\n5,,\n", "line 3: has 1 cells, not 3"),
        (HEAD + "1,1,1\n5,,\n", "line 2: begins at 1 s: the first row is at 0 s"),
        (HEAD + "0,1,1\n3,1,1\n2,1,1\n5,,\n", "line 4: 2 s does not come after 3 s: rows go forward in time"),
        (HEAD + "0,1,1\n0,1,1\n", "line 3: 0 s does not come after 0 s"),
        (
            HEAD + "0,1,1\n5,2,1\n",
            "line 3: is the last row, the end of the period: leave its rates empty, or as the row",
        ),
        (HEAD + "0,1,1\n4,1,\n5,,\n", "line 3: the rate is missing: write a plain one such as 12.5, in Mbit/s"),
        (HEAD + "0,1,1\n,1,1\n5,,\n", "line 3: the time is missing: write a plain one such as 12.5, in s"),
        (HEAD + "0,1,NaN\n5,,\n", "line 2: the rate 'NaN' is no number"),
        (HEAD + "0,1,inf\n5,,\n", "line 2: the rate 'inf' is no number"),
        (HEAD + "0,1,unlimited\n5,,\n", "line 2: the rate 'unlimited' is no number"),
        (HEAD + "0,1,5 Mbit/s\n5,,\n", "line 2: the rate '5 Mbit/s' is no number: write a plain one such as 12.5, in"),
        (HEAD + "0,1,1_000\n5,,\n", "line 2: the rate '1_000' is no number"),
        (HEAD + "0,1,-1\n5,,\n", "line 2: the rate -1 Mbit/s is out of range: it is at least 0 Mbit/s"),
        (HEAD + "0,1,1e400\n5,,\n", "line 2: the rate 1e400 Mbit/s is out of range: it is at most 1e+09 Mbit/s"),
        (HEAD + "0,1,1\n1e9,,\n", "line 3: the time 1e9 s is out of range: it is at most 86400 s"),
        (HEAD + "0,1,0\n3,1,0\n5,,\n", "every rate of the column down is 0: nothing would ever get through"),
        (HEAD + "0,1,\0\n5,,\n", "line 2: is binary: a trace is text, one line a row"),
        (HEAD + f"0,{'x' * 500},1\n5,,\n", f"line 2: the rate '{'x' * 40}...' is no number"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text: str, says: str) -> None:
    said = refusal(text)
    assert said.startswith(says), said
    assert "\n" not in said


def test_a_table_of_too_many_rows_is_refused() -> None:
    rows = "".join(f"{number},1\n" for number in range(10))
    few, trace_text.PIECES = trace_text.PIECES, 9
    try:
        assert refusal("seconds,rate Mbit/s\n" + rows).startswith("has 10 rows: at most 9 are allowed")
    finally:
        trace_text.PIECES = few


def test_the_rows_of_a_profile_are_of_one_direction() -> None:
    with pytest.raises(TraceError, match="the rows of one direction: their header is 'seconds,rate Mbit/s'"):
        model(HEAD + "0,1,1\n5,,\n")


rates = st.lists(st.floats(0, 1e12), min_size=1, max_size=20).filter(any)


@given(rates, st.data())
def test_a_trace_written_as_a_table_is_read_back_as_it_is(values: list[float], data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.floats(1e-3, 100), min_size=len(values), max_size=len(values)))
    times = [0.0, *accumulate(gaps)]
    trace = Trace(times[:-1], values, times[-1])
    again = model(trace_text.rows(trace))
    assert (again.times, again.rates, again.period) == (trace.times, trace.rates, trace.period)
    both = directions(trace_text.write(trace.times, {"up bit/s": values, "down bit/s": values}, trace.period, ["x"]))
    assert model(both["up"]).rates == model(both["down"]).rates == trace.rates


# -- Mahimahi's format


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5\n-3\n", "line 2: '-3' is no millisecond: Mahimahi's format is a whole number of at least 0 a line"),
        ("5\n6.5\n", "line 2: '6.5' is no millisecond"),
        ("5\nsix\n", "line 2: 'six' is no millisecond"),
        ("5\n\n6\n", "line 2: an empty line is no millisecond"),
        ("5\n٦\n", "line 2: '٦' is no millisecond"),
        ("5\n7\n6\n", "line 3: millisecond 6 comes after 7: they stand in order of time"),
        ("0\n0\n", "line 2: the last millisecond is 0: it is the period, and has to be above that"),
        ("86400001\n", "line 1: millisecond 86400001 is too late: a trace lasts a day at most"),
        ("9" * 5000 + "\n", f"line 1: millisecond {'9' * 40}... is too late"),
        ("5\n\0\n", "line 2: is binary"),
    ],
)
def test_what_is_no_list_of_milliseconds_is_refused_with_its_line(text: str, says: str) -> None:
    assert refusal(text).startswith(says)


def test_a_packet_a_millisecond_is_twelve_megabits() -> None:
    found = model(directions("\n".join(map(str, range(1, 1001))))["up"])
    assert (found.times, found.rates, found.period) == ((0.0,), (12e6,), 1.0)


def test_an_outage_lets_no_more_than_a_packet_through() -> None:
    busy = "".join(f"{at}\n" * 4 for at in range(1, 1000))
    found = model(directions(f"{busy}5000\n")["down"])
    assert found.carried(1.0, 4.9) <= PACKET
    assert_close(found.carried(0.0, 5.0), (4 * 999 + 1) * PACKET, absolute=1.0, what="bytes of a period")


stamps = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=120)


@given(stamps, st.lists(st.integers(0, 20_000), min_size=1, max_size=20))
def test_any_second_delivers_what_the_file_says_within_a_packet(
    bursts: list[tuple[int, int]], begins: list[int]
) -> None:
    at, file = 0, []
    for gap, packets in bursts:
        at += gap
        file += [at] * packets
    file.append(at + 1)
    period = file[-1]

    def delivered(until: int) -> int:
        """Packets from millisecond 1 to `until`, laps included; those of millisecond 0 are the lap's last."""
        laps, within = divmod(until, period)
        return laps * len(file) + bisect_right(file, within) - file.count(0)

    found = model(directions("\n".join(map(str, file)))["up"])
    for begin in begins:
        said = (delivered(begin + 1000) - delivered(begin)) * PACKET
        seconds = begin / 1000, begin / 1000 + 1
        assert_close(found.carried(*seconds), said, relative=1e-6, absolute=PACKET + 1, what="bytes of a second")
