import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import InputError
from emulator.page import palette
from emulator.report import drawing, files
from emulator.report.figures import Figure, figures
from emulator.report.figures.parts import MOST_POINTS, thinned
from emulator.report.folder import read
from emulator.report.outcome import outcomes
from tests.made_runs import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    folder = make_run(tmp_path_factory.mktemp("run"), algorithms=("gapsl", "psl"), rounds=6)
    path = folder / files.RESULT
    result = json.loads(path.read_text())
    result["algorithms"]["psl"]["predicted"] = {"round_latency_s": {"mean": 0.5, "median": 0.4}, "error": -0.125}
    path.write_text(json.dumps(result))
    return {figure.name: figure for figure in figures(outcomes([read(folder)]))}


def descriptions(figure: Figure) -> list[str]:
    root = ET.fromstring(drawing.svg(figure))
    marks = [mark for mark in root.iter() if mark.get("role") == "graphics-symbol" and "class" not in mark.attrib]
    return [mark.attrib["aria-label"] for mark in marks]


def axis_titles(spec: Any) -> list[str]:
    """The titles of all quantitative axes in a specification."""
    if isinstance(spec, list):
        return [title for part in spec for title in axis_titles(part)]
    if not isinstance(spec, dict):
        return []
    own = [spec["title"]] if spec.get("type") == "quantitative" and spec.get("title") else []
    return own + [title for part in spec.values() for title in axis_titles(part)]


def test_there_is_a_figure_for_all_that_was_measured(made: dict[str, Figure]) -> None:
    assert [*made] == [
        "accuracy-time", "time-to-accuracy", "breakdown", "latency", "clients", "prediction", "accuracy-rounds",
        "bytes", "gradient-angles", "selection",
    ]  # fmt: skip


def test_every_axis_has_its_unit(made: dict[str, Figure]) -> None:
    for figure in made.values():
        titles = axis_titles(figure.spec)
        assert titles, figure.name
        for title in titles:
            assert title in ("round", "test accuracy", "clients") or re.search(r"\((s|MiB|°)\)$", title), title


def test_marks_say_their_numbers(made: dict[str, Figure]) -> None:
    said = descriptions(made["accuracy-time"])
    assert len(said) == 12
    assert all(re.fullmatch(r"(gapsl|psl): \d+\.\d % after round \d, .*\(clients .* to .*\)", one) for one in said)
    assert "psl: predicted 500 ms, -12.5 % off" in descriptions(made["prediction"])
    assert "psl, up: 960000 bytes" in descriptions(made["bytes"])


@pytest.mark.parametrize(
    "name", ["accuracy-time", "accuracy-rounds", "selection", "prediction", "breakdown", "clients"]
)
def test_every_series_is_in_a_legend(made: dict[str, Figure], name: str) -> None:
    root = ET.fromstring(drawing.svg(made[name]))
    legends = [group for group in root.iter() if "role-legend" in group.get("class", "").split()]
    shown = {text.text for legend in legends for text in legend.iter() if text.tag.endswith("text")}
    expected = {
        "selection": {"gapsl: aligned", "gapsl: leaders"},
        "prediction": {"measured (mean, 5th to 95th percentile)", "predicted (mean)"},
        "breakdown": {"uplink", "server step"},
        "clients": {"uplink", "waiting"},
    }
    assert expected.get(name, {"gapsl", "psl"}) <= shown


def test_what_was_not_measured_has_no_figure(tmp_path: Path) -> None:
    make_run(tmp_path, algorithms=("psl",))
    (tmp_path / files.METRICS).unlink()
    found = outcomes([read(tmp_path)])
    assert [figure.name for figure in figures(found)] == ["breakdown", "latency", "clients", "bytes"]
    assert figures([]) == []


def test_an_inline_figure_takes_the_pages_colours_and_width(made: dict[str, Figure]) -> None:
    for figure in made.values():
        drawn = drawing.inline_svg(figure)
        assert re.match(r'<svg [^>]*viewBox="', drawn)
        assert not re.match(r'<svg [^>]*width="', drawn)
        assert "var(--c-" in drawn
        assert not set(re.findall(r'"(#[0-9a-f]{6})"', drawn)) & set(palette.DARK)


def test_rounding_leaves_what_is_read_alone(made: dict[str, Figure]) -> None:
    written = re.compile(r"<text[^>]*>([^<]*)</text>")
    for figure in made.values():
        assert written.findall(drawing.inline_svg(figure)) == written.findall(drawing.svg(figure))


def test_files_for_a_paper_are_on_white(made: dict[str, Figure], tmp_path: Path) -> None:
    svg, png = drawing.save(made["breakdown"], tmp_path / "new")
    assert ET.fromstring(svg.read_text()).tag.endswith("svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot create"):
        drawing.save(made["breakdown"], tmp_path / "file")


def test_long_series_are_thinned_but_keep_their_end() -> None:
    rows = [{"run": run, "x": x} for run in "ab" for x in range(10_000)]
    kept = thinned(rows)
    assert len(kept) <= 2 * MOST_POINTS
    assert [row["x"] for row in kept if row["run"] == "a"][-1] == 9999
    assert thinned(rows[:100]) == rows[:100]


def test_no_two_colours_of_the_palette_are_alike() -> None:
    assert len({*palette.DARK}) == len({*palette.DARK.values()}) == len(palette.DARK)
    assert [*palette.stages(["overhead", "hit", "uplink"])] == ["hit", "uplink", "overhead"]
    assert set(palette.STAGES.values()) <= set(palette.DARK)
