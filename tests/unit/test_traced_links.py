"""Links that follow a trace, or lose packets in bursts: what files may say of them, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator import library, tc
from emulator.change import differences, wanted
from emulator.document import as_yaml
from emulator.errors import InputError
from emulator.figures import altered, checked, scaled
from emulator.happening import Factors
from emulator.plan import NodePlan, Plan, make_plan
from emulator.profiles import Channel, DeviceProfile, LinkProfile, Testbed, TraceProfile
from emulator.rate import mean_rate, of_channel, said
from emulator.trace import Trace, spread
from emulator.vectorised import Lanes
from tests.tolerance import assert_close

ROWS = "seconds,rate Mbit/s\n0,1\n2,5\n10,"
INLINE = {"name": "mine", "rows": ROWS}
LINK = "source: a test\nup:\n  trace: %s\ndown:\n  rate: 1 Mbit/s\n"
NODES = """nodes:
  - {role: server, device: host, link: adsl}
  - {role: client, count: 3, device: host, link: ./radio.yaml}
"""
FIELD = """nodes:
  - role: server
    device: host
    link:
      source: x
      up: {rate: 1 bit/s}
      down: {trace: %s}
"""
PROGRAMS = "programs: {server: 'a:main', client: 'b:main'}\n"


def link(**up: Any) -> LinkProfile:
    return LinkProfile.model_validate({"name": "mine", "source": "a test", "up": up, "down": {"rate": "1 Mbit/s"}})


def channel(**words: Any) -> Channel:
    return Channel.model_validate(words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "walk.csv").write_text("seconds,up Mbit/s,down Mbit/s\n0,1,10\n2,5,50\n10,,\n")
    (tmp_path / "radio.yaml").write_text(LINK % "walk.csv")
    (tmp_path / "field.yaml").write_text(NODES)
    (tmp_path / "study.yaml").write_text("testbed: ./field.yaml\n" + PROGRAMS)
    return tmp_path


def refusal(folder: Path, text: str, name: str = "radio.yaml") -> str:
    (folder / name).write_text(text)
    with pytest.raises(InputError) as refused:
        library.load_experiment(str(folder / "study.yaml"))
    assert "\n" not in str(refused.value)
    return str(refused.value).replace(f"{folder}/", "")


def ups(experiment_or_testbed: Any) -> list[Channel]:
    return [node.link.up for node in getattr(experiment_or_testbed, "testbed", experiment_or_testbed).nodes]


# -- words


def test_a_trace_takes_the_place_of_a_rate_or_is_capped_by_it() -> None:
    free, capped = channel(trace=INLINE), channel(trace=INLINE, rate="3 Mbit/s")
    assert [of_channel(one).rates for one in (free, capped)] == [(1e6, 5e6), (1e6, 3e6)]  # type: ignore[union-attr]
    assert (mean_rate(free), mean_rate(capped), mean_rate(channel(rate="7 bit/s"))) == (4.2e6, 2.6e6, 7)
    assert of_channel(channel(rate="1 Mbit/s")) is None


def test_a_channel_begins_where_its_offset_says() -> None:
    later = of_channel(channel(trace=INLINE, offset="1.5 s"))
    assert later is not None
    assert (later.times, later.rates) == ((0.0, 0.5, 8.5), (1e6, 5e6, 1e6))
    assert of_channel(channel(trace=INLINE)).rate(0.0) == 1e6  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="the trace 'lte' is but a name"):
        of_channel(channel(trace="lte"))


def test_a_reader_is_told_the_trace_and_its_mean() -> None:
    assert said(channel(rate="10 Mbit/s"), 3) == "10 Mbit/s"
    assert said(channel(trace=INLINE), 3) == "trace mine, 4.2 Mbit/s mean"
    assert said(channel(trace=INLINE, rate="3 Mbit/s"), 3) == "trace mine up to 3 Mbit/s, 2.6 Mbit/s mean"
    assert said(channel(trace="lte"), 3) == "trace lte"


@pytest.mark.parametrize(
    ("up", "says"),
    [
        ("{delay: 5 ms}", "2: up.rate: is missing"),
        ("{rate: 1 Mbit/s, offset: 5 s}", "2: up.offset: is where in a trace a node begins, and there is no trace"),
        ("{trace: lte, offset: 5}", "2: up.offset: 5 has no unit: write a time such as '50 ms'"),
        ("{trace: lte, offset: -5 s}", "2: up.offset: '-5 s' is no offset: write a time of at least 0 s, or spread"),
        ("{trace: lte, offset: unlimited}", "2: up.offset: 'unlimited' is no offset"),
        ("{trace: lte, offset: somewhere}", "2: up.offset: 'somewhere' is not a time"),
        ("{trace: lte, rate: 0 bit/s}", "2: up.rate: Input should be greater than 0"),
        ("{trace: 5}", "2: up.trace: Input should be a valid dictionary or instance of TraceProfile"),
        ("{trace: {name: x}}", "2: up.trace.rows: is missing"),
        ('{trace: {rows: "seconds,rate\\n0,1\\n5,"}}', "2: up.trace.rows: line 1: the column rate: has no unit: write"),
        ('{trace: {rows: "seconds,rate bit/s\\n0,0\\n5,"}}', "2: up.trace.rows: every rate of the column rate is 0"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, loss: 50 %}}", "2: up.burst.leave: is missing"),
        ("{rate: 1 Mbit/s, burst: {leave: 1 %, loss: 50 %}}", "2: up.burst.enter: is missing"),
        ("{rate: 1 Mbit/s, burst: {enter: 0 %, leave: 1 %, loss: 5 %}}", "2: up.burst.enter: Input should be greater"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, leave: 0 %, loss: 5 %}}", "2: up.burst.leave: Input should be greater"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, leave: 101 %, loss: 5 %}}", "2: up.burst.leave: Input should be less"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, leave: 9 %, loss: 0 %}}", "2: up.burst.loss: Input should be greater"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, leave: 9 %, loss: 120 %}}", "2: up.burst.loss: Input should be less"),
        ("{rate: 1 Mbit/s, burst: {enter: 1 %, leave: 9 %, los: 2 %}}", "2: up.burst.los: unknown key: did you mean"),
        (
            "{rate: 1 Mbit/s, loss: 5 %, burst: {enter: 1 %, leave: 9 %, loss: 5 %}}",
            "2: up.burst: loses no more than is lost outside it: its loss has to be above the channel's",
        ),
        ("{rate: 1 Mbit/s, loss: 100 %, burst: {enter: 1 %, leave: 9 %, loss: 100 %}}", "2: up.loss: Input should be"),
    ],
)
def test_impossible_words_are_refused_with_line_and_key(folder: Path, up: str, says: str) -> None:
    told = refusal(folder, f"source: a test\nup: {up}\ndown: {{rate: 1 Mbit/s}}\n")
    assert told.startswith(f"field.yaml:3: nodes.1.link: radio.yaml:{says}"), told


# -- names and files


def test_a_trace_is_found_by_name_and_beside_the_file_that_names_it(folder: Path) -> None:
    experiment, _ = library.load_experiment(str(folder / "study.yaml"))
    first = ups(experiment)[1].trace
    assert first == TraceProfile(name="walk", rows=ROWS)
    shipped = library.load(LinkProfile, "lte-trace")
    assert isinstance(shipped.down.trace, TraceProfile)
    assert said(shipped.down, 3) == "trace lte, 26.3 Mbit/s mean"
    assert shipped.up.trace != shipped.down.trace


def test_two_files_of_mahimahi_are_a_trace_of_a_link(folder: Path) -> None:
    (folder / "cell.up").write_text("1\n2\n")
    (folder / "cell.down").write_text("1\n1\n2\n2\n")
    (folder / "radio.yaml").write_text("source: a test\nup: {trace: ./cell}\ndown: {trace: cell.down}\n")
    profile = library.load(LinkProfile, str(folder / "radio.yaml"))
    assert (mean_rate(profile.up), mean_rate(profile.down)) == (12e6, 24e6)
    assert said(profile.up, 3) == "trace cell, 12 Mbit/s mean"


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ("lt", "unknown trace 'lt': did you mean 'lte'?"),
        ("wallk.csv", "wallk.csv: cannot be read: No such file or directory"),
        ("bad.csv", "bad.csv:3: the rate 'x' is no number: write a plain one such as 12.5, in Mbit/s"),
        ("./", "cannot be read: it is no file"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_with_every_place(folder: Path, trace: str, says: str) -> None:
    (folder / "bad.csv").write_text("seconds,rate Mbit/s\n0,1\n1,x\n2,\n")
    told = refusal(folder, LINK % trace)
    assert told.startswith("field.yaml:3: nodes.1.link: radio.yaml:3: up.trace: "), told
    assert says in told
    told = refusal(folder, FIELD % trace, "field.yaml")
    assert told.startswith("field.yaml:7: nodes.0.link.down.trace: "), told
    assert says in told


# -- where nodes begin


def test_nodes_on_one_trace_begin_at_different_places_of_it(folder: Path) -> None:
    offsets = [up.offset for up in ups(library.load_testbed(str(folder / "field.yaml")))]
    assert offsets == ["spread", spread(1, 10.0), spread(2, 10.0), spread(3, 10.0)]
    assert ups(library.load_testbed(str(folder / "field.yaml"))) == ups(
        library.load_testbed(str(folder / "field.yaml"))
    )
    (folder / "radio.yaml").write_text((LINK % "walk.csv").replace("down:", "  offset: 4 s\ndown:"))
    assert [up.offset for up in ups(library.load_testbed(str(folder / "field.yaml")))][1:] == [4.0] * 3


@given(st.integers(1, 3000), st.sampled_from([60.0, 300.0, 3600.0]))
def test_the_spread_keeps_nodes_apart(count: int, period: float) -> None:
    places = sorted(spread(place, period) for place in range(count))
    assert 0 <= places[0] <= places[-1] < period
    gaps = [after - before for before, after in zip(places, [*places[1:], places[0] + period], strict=True)]
    assert min(gaps) >= 0.38 * period / count - 0.002, "to the millisecond"


# -- what travels


def test_a_run_is_enough_to_run_again_and_holds_each_trace_once(folder: Path) -> None:
    experiment, _ = library.load_experiment(str(folder / "study.yaml"))
    written = as_yaml(experiment.model_dump(mode="json", exclude_none=True))
    assert written.count("seconds,rate Mbit/s") == 1
    elsewhere = folder / "run"
    elsewhere.mkdir()
    (elsewhere / "experiment.yaml").write_text(written)
    (folder / "walk.csv").unlink()
    again, _ = library.load_experiment(str(elsewhere / "experiment.yaml"))
    assert again == experiment
    assert as_yaml(again.model_dump(mode="json", exclude_none=True)) == written


def test_a_plan_travels_with_its_traces() -> None:
    testbed = Testbed.model_validate(
        {"nodes": [{"role": "a", "device": "host", "link": "satellite-trace", "count": 2}], "name": "t"}
    )
    experiment, _ = library.load_experiment("demo")
    other = experiment.model_copy(
        update={"testbed": library.resolve_testbed(testbed), "programs": {"a": "x:y"}, "algorithms": []}
    )
    plan = make_plan(other, 1e10, 2)
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    up, other_up = (node.link.up for node in again.nodes)
    assert up.trace is not None
    assert up.trace.model is other_up.trace.model  # type: ignore[union-attr]


times = st.lists(st.floats(0.001, 50), min_size=1, max_size=8)


@given(times, st.data(), st.floats(0, 1e4))
def test_a_traced_channel_is_read_back_as_it_was(gaps: list[float], data: st.DataObject, offset: float) -> None:
    begins = [sum(gaps[:number]) for number in range(len(gaps))]
    rates = data.draw(st.lists(st.floats(1, 1e12), min_size=len(gaps), max_size=len(gaps)))
    trace = Trace(begins, rates, sum(gaps))
    one = Channel.model_construct(rate=1e9 / 3, trace=TraceProfile.of("made", trace), offset=offset)
    for text in (json.dumps(one.model_dump(mode="json")), as_yaml(one.model_dump(mode="json"))):
        again = Channel.model_validate(yaml.safe_load(text))
        assert again == one
        assert again.trace.model.rates == trace.rates  # type: ignore[union-attr]


# -- while it runs


def test_a_rate_takes_the_place_of_a_trace_and_a_trace_that_of_a_rate() -> None:
    traced = link(trace=INLINE, offset="3 s", delay="5 ms")
    constant = altered(traced, {"up": {"rate": "5 Mbit/s"}}).up
    assert constant == channel(rate="5 Mbit/s", delay="5 ms")
    assert altered(traced, {"up": {"delay": "7 ms"}}).up == channel(trace=INLINE, offset="3 s", delay="7 ms")
    assert altered(traced, {"down": {"trace": INLINE}}).down == channel(trace=INLINE)
    both = altered(traced, {"up": {"trace": INLINE, "rate": "2 Mbit/s"}}).up
    assert (both.rate, both.trace, both.offset) == (2e6, TraceProfile(**INLINE), 3.0)
    with pytest.raises(InputError, match=r"up\.rate: None is not a rate"):
        altered(traced, {"up": {"trace": None}})


@pytest.mark.parametrize("words", [{}, {"rate": "3 Mbit/s"}, {"offset": "1.5 s"}])
def test_a_link_is_scaled_whatever_says_how_fast_it_is(words: dict[str, str]) -> None:
    traced = link(trace=INLINE, **words)
    before, after = traced.up, scaled(traced, traced, Factors(up=0.5)).up
    assert (after.offset, after.rate) == (before.offset, before.rate / 2)
    for at in (0.0, 1.0, 2.5, 9.0, 11.0):
        assert of_channel(after).rate(at) == of_channel(before).rate(at) / 2  # type: ignore[union-attr]
    constant = link(rate="1 Mbit/s", delay="5 ms")
    assert scaled(constant, constant, Factors(up=0.25)).up == channel(rate="250 kbit/s", delay="5 ms")


def node(profile: LinkProfile) -> NodePlan:
    device = library.load(DeviceProfile, "host")
    return NodePlan(name="client-1", role="client", program="a:b", device=device, link=profile, slowdown=1.0)


def test_a_change_is_told_with_its_trace() -> None:
    burst = {"enter": "0.1 %", "leave": "20 %", "loss": "50 %"}
    told = differences(node(link(rate="1 Mbit/s")), node(link(trace=INLINE, offset="90.5 s", burst=burst)))
    assert told["link_change"] == (
        "mine -> mine (up trace mine, 4.2 Mbit/s mean, offset 1.508 min, 50 % in bursts (entered 0.1 %, left 20 %); "
        "down 1 Mbit/s)"
    )
    elsewhere = {**INLINE, "rows": ROWS.replace("5", "6")}
    assert differences(node(link(trace=INLINE)), node(link(trace=elsewhere)))


def test_a_hub_takes_no_trace_that_is_but_a_name() -> None:
    fields = {"link": link(trace="lte").model_dump(mode="json")}
    with pytest.raises(InputError, match="the trace 'lte' is but a name: send what it says"):
        wanted(node(link(rate="1 Mbit/s")), fields, 1e9)
    fields["link"] = checked(LinkProfile, link(trace=INLINE).model_dump(mode="json")).model_dump(mode="json")
    assert wanted(node(link(rate="1 Mbit/s")), fields, 1e9).link == link(trace=INLINE)


# -- who cannot


def test_the_kernel_does_not_follow_a_trace() -> None:
    says = (
        r"^links: kernel: the up link of \w+ follows a trace, which the kernel cannot: give it a rate, or leave links"
    )
    with pytest.raises(InputError, match=says):
        tc.check("client", link(trace=INLINE))
    tc.check("client", link(rate="1 Mbit/s"))
    testbed = {"nodes": [{"role": "a", "device": "host", "link": "lte-trace"}], "name": "t"}
    experiment, _ = library.load_experiment("demo", {"links": "kernel"})
    resolved = library.resolve_testbed(Testbed.model_validate(testbed))
    with pytest.raises(InputError, match=says):
        make_plan(experiment.model_copy(update={"testbed": resolved, "programs": {"a": "x:y"}}), 1e10, 2)


def test_the_kernel_has_bursts_of_its_own() -> None:
    burst = {"enter": "0.1 %", "leave": "20 %", "loss": "50 %"}
    profile = link(rate="1 Mbit/s", loss="0.01 %", burst=burst, delay="10 ms")
    full = tc.Kernel(tbf=True, htb=True, ifb=True, netem=True)
    commands = [" ".join(command) for command in tc.shape(profile, 1.0, full)]
    assert any("loss gemodel 0.1% 20% 50% 0.01%" in command for command in commands)
    assert tc.remaining(profile, full).up == channel(rate="unlimited")
    poor = full.model_copy(update={"netem": False})
    left = tc.remaining(profile, poor).up
    assert (left.loss, left.burst) == (0.0, None)
    assert left.delay > 0.010
    assert tc.kernel_rate(profile.up, 1.0, poor) < 1e6
    assert any("loss, as its mean effect" in line for line in tc.notes({"client": profile}, poor))


def test_a_vectorised_round_refuses_what_changes() -> None:
    with pytest.raises(InputError, match="a vectorised round has no rates that change"):
        Lanes.of([channel(trace=INLINE)])
    burst = {"enter": "1 %", "leave": "20 %", "loss": "50 %"}
    lossy, clear = channel(rate="1 Mbit/s", delay="1 ms", burst=burst), channel(rate="1 Mbit/s", delay="1 ms")
    lanes = Lanes.of([lossy, clear])
    assert_close(lanes.rate[0] / lanes.rate[1], 1 - 0.5 / 21, relative=1e-9, what="share not lost")
    assert lanes.delay[0] > lanes.delay[1]
