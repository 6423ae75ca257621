"""The report as a browser shows it: the charts are drawn, and show the numbers of result.json."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from emulator.report import files, html, text
from emulator.report.folder import read
from emulator.report.outcome import outcomes
from tests.browser.conftest import Look, screen
from tests.made_runs import make_run

ALGORITHMS = ("gapsl", "epsl", "psl", "sfl", "sl")
SECONDS = 20.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with its report."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "demo-1", algorithms=ALGORITHMS, rounds=30, every=2)
    html.make([folder], folder / files.REPORT)
    return folder


@pytest.fixture
def page(browser: WebDriver, run: Path) -> WebDriver:
    return opened(browser, run / files.REPORT)


def opened(browser: WebDriver, path: Path) -> WebDriver:
    """The report in the browser, its timeline drawn where it has one."""
    browser.get(path.as_uri())
    until(
        browser,
        lambda: browser.execute_script("const t = document.querySelector('#timeline'); return !t || t.dataset.drawn"),
    )
    return browser


def until(browser: WebDriver, condition: Callable[[], Any]) -> None:
    WebDriverWait(browser, SECONDS).until(lambda _: condition())


def result_of(run: Path) -> dict[str, Any]:
    algorithms: dict[str, Any] = json.loads((run / files.RESULT).read_text())["algorithms"]
    return algorithms


def marks(page: WebDriver, figure: str) -> list[str]:
    """What the marks of a figure say, of those that are really there to see."""
    return page.execute_script(
        """const marks = document.querySelectorAll(`#${arguments[0]} [role="graphics-symbol"]:not([class])`);
           const there = [...marks].filter((mark) => mark.getBoundingClientRect().width > 0);
           return there.map((mark) => mark.getAttribute("aria-label"))""",
        figure,
    )


def test_a_reader_sees_verdict_and_answer_without_scrolling(page: WebDriver, look: Look) -> None:
    verdict, answer = (page.find_element(By.CSS_SELECTOR, part) for part in (".verdict .word", ".answer"))
    assert verdict.text == "\u2713 VALID"
    assert re.match(r"psl and sfl were first to 60\s% accuracy, within 5\s% of each other: ", answer.text)
    assert answer.rect["y"] + answer.rect["height"] < 900
    look("report")
    look("report-top", whole=False)


def test_charts_show_the_numbers_of_the_result(page: WebDriver, run: Path) -> None:
    result = result_of(run)
    reached = marks(page, "time-to-accuracy")
    sent = marks(page, "bytes")
    for name, fields in result.items():
        assert f"{name}: {text.seconds(fields['time_to_accuracy_s'])}" in reached
        assert f"{name}, up: {fields['bytes']['up']} bytes" in sent
        assert f"{name}, down: {fields['bytes']['down']} bytes" in sent
        last = f"{name}: {text.share(fields['accuracy']['mean'])} after round {fields['rounds']}, "
        for figure in ("accuracy-time", "accuracy-rounds"):
            assert any(said.startswith(last) for said in marks(page, figure)), figure
        median = f"{name}: median {text.seconds(fields['round_latency_s']['median'])}, "
        assert any(said.startswith(median) for said in marks(page, "latency"))


def test_bars_are_as_long_as_their_numbers(page: WebDriver, run: Path) -> None:
    widths = page.execute_script(
        """return Object.fromEntries([...document.querySelectorAll('#time-to-accuracy [aria-roledescription="bar"]')]
             .map((bar) => [bar.getAttribute("aria-label").split(":")[0], bar.getBoundingClientRect().width]))"""
    )
    times = {name: fields["time_to_accuracy_s"] for name, fields in result_of(run).items()}
    for name, time in times.items():
        assert abs(widths[name] / widths["sl"] - time / times["sl"]) < 0.02, name


def test_pointing_at_a_mark_shows_its_numbers(page: WebDriver) -> None:
    bar = page.find_element(By.CSS_SELECTOR, '#time-to-accuracy [aria-roledescription="bar"]')
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
    ActionChains(page).move_to_element(bar).perform()
    tip = page.find_element(By.ID, "tip")
    until(page, tip.is_displayed)
    assert tip.text == bar.get_attribute("aria-label")


# -- the timeline


def timeline(page: WebDriver) -> Callable[[str], WebElement]:
    part = page.find_element(By.ID, "timeline")
    page.execute_script("arguments[0].scrollIntoView()", part)
    return lambda selector: part.find_element(By.CSS_SELECTOR, selector)


def inked(page: WebDriver) -> int:
    """Pixels of the timeline that are not ground."""
    return page.execute_script(
        """const canvas = document.querySelector("#timeline canvas");
           const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
           let count = 0;
           for (let i = 3; i < data.length; i += 4) count += data[i] > 0;
           return count"""
    )


def shown(page: WebDriver) -> tuple[float, float]:
    """The span of time that is shown, in seconds."""
    find = timeline(page)
    first, last = (float(find(f"[name={name}]").get_attribute("value") or "nan") for name in ("from", "to"))
    return first, last


def test_any_round_of_any_run_can_be_looked_at(page: WebDriver, run: Path, look: Look) -> None:
    find = timeline(page)
    elapsed = {outcome.label: outcome.elapsed for outcome in outcomes([read(run)])}
    assert inked(page) > 5000
    find("[name=round]").clear()
    find("[name=round]").send_keys("17")
    begin, end = elapsed["gapsl"][16], elapsed["gapsl"][17]
    until(page, lambda: shown(page)[0] < begin < end < shown(page)[1] < end + (end - begin))
    steps = find(".path").text.removeprefix("Critical path of round 17: ").split(", ")
    assert [step.rsplit(" ", 2)[0] for step in steps] == [
        "client forward client-1",
        "uplink client-1 \u2192 server",
        "server step server",
        "downlink server \u2192 client-1",
        "client backward client-1",
    ]
    find("[name=run] option:last-child").click()
    until(page, lambda: find("canvas").get_attribute("aria-label").startswith("Timeline of sl, "))
    begin, end = elapsed["sl"][16], elapsed["sl"][17]
    until(page, lambda: shown(page)[0] < begin < end < shown(page)[1])
    look("report-timeline", whole=False)
    find("[data-do=next]").click()
    until(page, lambda: shown(page)[0] < end < elapsed["sl"][18] < shown(page)[1])
    find("[data-do=all]").click()
    until(page, lambda: shown(page)[0] <= 0 and shown(page)[1] >= elapsed["sl"][30])
    find("[data-do=slowest]").click()
    longest = max(range(1, 31), key=lambda number: elapsed["sl"][number] - elapsed["sl"][number - 1])
    until(page, lambda: find("[name=round]").get_attribute("value") == str(longest))


def test_a_span_of_time_can_be_asked_for_and_moved_with_the_keyboard(page: WebDriver) -> None:
    find = timeline(page)
    for name, value in (("from", "0.5"), ("to", "1.5")):
        box = find(f"[name={name}]")
        box.clear()
        box.send_keys(value, Keys.TAB)
    until(page, lambda: shown(page) == (0.5, 1.5))
    find("canvas").send_keys(Keys.ARROW_RIGHT)
    until(page, lambda: shown(page) == (0.7, 1.7))
    find("canvas").send_keys("-")
    until(page, lambda: shown(page)[1] - shown(page)[0] > 1.3)


def test_pointing_at_a_span_tells_what_it_was(page: WebDriver) -> None:
    find = timeline(page)
    canvas = find("canvas")
    # Round 2 of gapsl: at its left edge, in the lane of the slowest client, the forward pass that it waits for.
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    place = page.execute_script("return [SIDE + 25, HEAD + LANE + GAP + LANE / 2]")
    left, top = (place[0] - canvas.rect["width"] / 2, place[1] - canvas.rect["height"] / 2)
    ActionChains(page).move_to_element_with_offset(canvas, left, top).perform()
    tip = page.find_element(By.ID, "tip")
    until(page, tip.is_displayed)
    assert re.fullmatch(r"client forward: .*, client-1; on the critical path", tip.text)


def test_predicted_lanes_are_drawn_below_the_measured_ones_on_request(
    browser: WebDriver, tmp_path: Path, look: Look
) -> None:
    make_run(tmp_path, algorithms=("psl",), rounds=3)
    rows = ["algorithm,round,node,stage,peer,measured_start_s,predicted_start_s,measured_s,predicted_s,error"]
    for number, spans in outcomes([read(tmp_path)])[0].rounds.items():
        began = min(span.start for span in spans)
        for span in spans:
            start = span.start - began
            times = f"{start},{start},{span.duration},{span.duration * 0.9},-0.1"
            rows.append(f"psl,{number},{span.node},{span.stage},{span.peer},{times}")
    (tmp_path / files.PREDICTION).write_text("\n".join(rows) + "\n")
    page = opened(browser, html.make([tmp_path], tmp_path / files.REPORT))
    find = timeline(page)
    height, ink = find("canvas").rect["height"], inked(page)
    find("[name=predicted]").click()
    until(page, lambda: find("canvas").rect["height"] > 1.3 * height)
    assert inked(page) > 1.2 * ink
    look("report-predicted", whole=False)


# -- wherever it is read


def test_it_is_readable_in_dark_in_print_and_on_a_phone(page: WebDriver, look: Look) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    curve = """return getComputedStyle(document.querySelector('#accuracy-time [aria-roledescription="point"]')).fill"""
    light = page.execute_script(ground), page.execute_script(curve)
    screen(page, 1280, 900, dark=True)
    dark = page.execute_script(ground), page.execute_script(curve)
    look("report-dark")
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    screen(page, 1280, 900, dark=True, media="print")
    assert (page.execute_script(ground), page.execute_script(curve)) == light
    screen(page, 390, 800)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    look("report-phone")


def test_every_control_can_be_reached_with_the_keyboard_and_has_a_name(page: WebDriver) -> None:
    nameless = page.execute_script(
        """return [...document.querySelectorAll("button, input, select, canvas")].filter((control) =>
             !(control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.length))
             .map((control) => control.outerHTML)"""
    )
    assert nameless == []
    assert page.execute_script("return document.querySelector('#timeline canvas').tabIndex") == 0


# -- whatever became of the run


def test_a_comparison_of_a_valid_and_an_invalid_run(browser: WebDriver, run: Path, tmp_path: Path, look: Look) -> None:
    busy = make_run(tmp_path / "busy", algorithms=("psl", "sfl"), rounds=5, late=0.05)
    page = opened(browser, html.make([run, busy], tmp_path / "both.html"))
    assert [word.text for word in page.find_elements(By.CSS_SELECTOR, ".word")] == ["\u2713 VALID", "\u2717 INVALID"]
    assert "demo-1 sfl" in page.find_element(By.ID, "numbers").text
    assert "busy sfl" in page.find_element(By.ID, "numbers").text
    look("report-comparison")


def failed(folder: Path) -> None:
    make_run(folder, finished=False)
    (folder / files.FAILURE).write_text("psl: client-1 failed: out of memory\n")


def empty(folder: Path) -> None:
    make_run(folder)
    for name in (files.TIMELINE, files.METRICS, files.RESULT):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("make", "word", "says"),
    [
        (lambda folder: make_run(folder, late=0.05), "\u2717 INVALID", "draw no conclusions"),
        (failed, "\u2717 FAILED", "client-1 failed: out of memory"),
        (lambda folder: make_run(folder, finished=False), "? UNFINISHED", "nobody judged it"),
        (empty, "? EMPTY", "No round was run"),
        (lambda folder: make_run(folder, rounds=1), "\u2713 VALID", "It added"),
    ],
    ids=["invalid", "failed", "unfinished", "empty", "one-round"],
)
def test_a_report_says_what_became_of_its_run(
    browser: WebDriver,
    tmp_path: Path,
    look: Look,
    request: pytest.FixtureRequest,
    make: Callable[[Path], object],
    word: str,
    says: str,
) -> None:
    make(tmp_path)
    page = opened(browser, html.make([tmp_path], tmp_path / files.REPORT))
    assert page.find_element(By.CSS_SELECTOR, ".word").text == word
    assert says in page.find_element(By.CSS_SELECTOR, ".verdict").text
    look(f"report-{request.node.callspec.id}")


def test_the_first_drawing_of_a_large_report_takes_a_fraction_of_its_loading(
    browser: WebDriver, tmp_path: Path
) -> None:
    make_run(tmp_path, algorithms=ALGORITHMS, rounds=200, testbed="mixed-10", every=5)
    report = html.make([tmp_path], tmp_path / files.REPORT)
    assert report.stat().st_size < 8e6
    opened(browser, report)
    painted = "performance.getEntriesByName('first-contentful-paint')"
    until(browser, lambda: bool(browser.execute_script(f"return {painted}.length")))  # noted after it has happened
    first, loaded = browser.execute_script(
        f"return [{painted}[0].startTime, performance.getEntriesByType('navigation')[0].duration]"
    )
    print(f"{report.stat().st_size} bytes, first drawn after {first:.0f} ms, loaded after {loaded:.0f} ms")
    assert first > 0
