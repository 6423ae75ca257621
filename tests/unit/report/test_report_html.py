import base64
import gzip
import html as escaping
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emulator import verdict
from emulator.report import drawing, files, html
from emulator.report.folder import read
from emulator.timeline import Span
from tests.made_runs import make_run


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures have their own tests; only those here that ask for `drawn` spend the time."""
    if "drawn" not in request.keywords:
        monkeypatch.setattr(drawing, "begin", lambda: None)
        monkeypatch.setattr(drawing, "inline_svg", lambda figure: f"<svg><text>{figure.name}</text></svg>")


drawn = pytest.mark.drawn


def text_of(page: str) -> str:
    """What a reader sees: no markup, scripts or styles."""
    return escaping.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL)))


def page_of(folder: Path) -> str:
    return html.page([read(folder)])


def test_the_verdict_comes_first_and_the_answer_next(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, rounds=10))
    places = [page.index(mark) for mark in ('class="verdict valid"', 'id="answer"', 'id="numbers"', 'id="figures"')]
    assert places == sorted(places)
    assert "It added 0 % to them at most (limit 5 %)" in text_of(page)


def test_the_numbers_are_those_of_the_result(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, rounds=10))
    result = json.loads((tmp_path / files.RESULT).read_text())
    for run, fields in result["algorithms"].items():
        (row,) = re.findall(rf'<tr data-run="{run}">(.*?)</tr>', page)
        cells = re.findall(r">([^<>]+)</t[hd]>", row)
        assert cells[:3] == [run, "VALID", "10"]
        assert cells[3].startswith(f"{100 * fields['accuracy']['mean']:.1f} %")


@drawn
def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path))
    assert not re.search(r"<link|\bsrc=|@import|url\(|\bfetch\(|XMLHttpRequest", page)
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page)


class Balanced(HTMLParser):
    """Whether every element is closed in its turn."""

    EMPTY = frozenset({"meta", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@drawn
def test_the_markup_is_balanced_and_ids_are_unique(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path))
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    ids = re.findall(r'<\w+[^>]* id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_an_invalid_run_says_so_first_and_warns_beside_its_answer(tmp_path: Path) -> None:
    page = text_of(page_of(make_run(tmp_path, late=0.05)))
    assert "INVALID" in page
    assert "the host was busy with other work" in page
    assert "draw no conclusions" in page
    assert "Not to be believed: see the verdict above." in page


def test_a_failed_run_says_what_it_failed_of_and_shows_what_there_is(tmp_path: Path) -> None:
    make_run(tmp_path, finished=False)
    (tmp_path / files.FAILURE).write_text("psl: client-1 failed: <out of memory>\n")
    page = page_of(tmp_path)
    assert 'class="verdict failed"' in page
    assert "psl: client-1 failed: <out of memory>" in text_of(page)
    assert "not judged" in page
    assert 'id="figures"' in page


def test_a_run_killed_or_still_going_is_unfinished(tmp_path: Path) -> None:
    assert 'class="verdict unfinished"' in page_of(make_run(tmp_path, finished=False))


def test_an_empty_run_has_its_setup_and_no_figures(tmp_path: Path) -> None:
    make_run(tmp_path)
    for name in (files.TIMELINE, files.METRICS, files.RESULT):
        (tmp_path / name).unlink()
    page = page_of(tmp_path)
    assert 'class="verdict empty"' in page
    assert "No round was run" in page
    assert 'id="figures"' not in page
    assert "raspberry-pi-3" in page


def test_one_round_is_enough_for_a_report(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, algorithms=("psl",), rounds=1))
    assert 'class="verdict valid"' in page
    assert 'id="latency"' in page


def test_the_testbed_is_there_with_its_sources(tmp_path: Path) -> None:
    page = text_of(page_of(make_run(tmp_path)))
    for said in ("client-4", "phone-mid", "15 GFLOP/s", "130 Mbit/s", "2202.10100"):
        assert said in page
    assert f"edgebed run {tmp_path}/experiment.yaml --runtime local" in page


def test_a_segment_is_there_with_its_link_and_its_source(tmp_path: Path) -> None:
    page = text_of(page_of(make_run(tmp_path, testbed="cell")))
    for said in ("lte, in base-station", "lte-cell-10mhz", "14 Mbit/s, 1 ms, shared fairly", "ITU-R M.2134"):
        assert said in page


def test_the_timeline_is_packed_into_the_page(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path, rounds=3))
    packed = re.findall(
        r'<script type="application/octet-stream" id="(timeline-\d)">([^<]*)</script>', html.page([folder])
    )
    assert [name for name, _ in packed] == ["timeline-0", "timeline-1"]
    data = json.loads(gzip.decompress(base64.b64decode(packed[1][1])))
    counted = [span for span in folder.spans["psl"] if not span.off_clock]
    assert len(data["start"]) == len(counted)
    assert len(data["rounds"]) == 4
    assert 0 < sum(data["critical"]) < len(counted)


def test_what_was_predicted_goes_below_what_was_measured(tmp_path: Path) -> None:
    make_run(tmp_path, algorithms=("psl",), rounds=2)
    head = "algorithm,round,node,stage,peer,measured_start_s,predicted_start_s,measured_s,predicted_s,error"
    (tmp_path / files.PREDICTION).write_text(f"{head}\npsl,2,client-1,uplink,server,0,0.5,0.05,0.04,-0.2\n")
    folder = read(tmp_path)
    (packed,) = re.findall(r'id="timeline-0">([^<]*)</script>', html.page([folder]))
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert data["predicted"]["lanes"] == [{"node": "client-1", "way": "up"}]
    # The round's only predicted span begins it.
    assert (data["predicted"]["start"], data["predicted"]["length"]) == ([data["rounds"][1]], [40_000])


def test_what_was_changed_while_it_ran_is_told_and_marked(tmp_path: Path) -> None:
    make_run(tmp_path, algorithms=("psl",), rounds=2)
    second = next(span for span in read(tmp_path).spans["psl"] if span.round == 2)
    at = second.start + 0.01
    change = Span("psl", 2, "client-1", "link_change", at, at, off_clock=True, detail="wifi-5 -> lte (up 7.6 Mbit/s)")
    with (tmp_path / files.TIMELINE).open("a") as timeline:
        timeline.write(json.dumps(change.to_fields()) + "\n")
    page = html.page([read(tmp_path)])
    said = r"psl, round 2, \d+\sms: client-1: link wifi-5 -> lte \(up 7.6 Mbit/s\)"
    assert re.search(said, text_of(page))
    (packed,) = re.findall(r'id="timeline-0">([^<]*)</script>', page)
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    (event,) = data["events"]
    assert event == {"at": data["rounds"][1] + 10_000, "title": "client-1: link change", "detail": change.detail}


def test_runs_are_compared_on_one_page(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, rounds=4, late=late) for name, late in (("idle", 0.0), ("busy", 0.05))]
    out = html.make(folders, tmp_path / "both.html")
    page = out.read_text()
    assert re.findall(r'class="verdict (\w+)"', page) == ["valid", "invalid"]
    assert {"idle gapsl", "busy gapsl"} <= set(re.findall(r'<tr data-run="([^"]+)"', page))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b"])
def test_texts_of_the_user_are_no_markup(tmp_path: Path, name: str) -> None:
    make_run(tmp_path)
    path = tmp_path / files.EXPERIMENT
    path.write_text(path.read_text().replace("description: Four unlike", f"description: {name} Four unlike"))
    page = page_of(tmp_path)
    assert name in text_of(page)
    assert name not in page


def test_every_check_there_is_is_explained() -> None:
    source = Path(verdict.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'\bcheck\("(\w+)"', source)) == set(html.CHECKS)
