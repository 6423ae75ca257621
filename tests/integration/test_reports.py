"""Every run leaves its report, and `edgebed report` makes it again."""

import json
import re
from pathlib import Path

from tests.integration.running import PING_PONG, edgebed, read_result, write_experiment
from tests.made_runs import make_run


def test_a_run_leaves_a_report_with_its_verdict(tmp_path: Path) -> None:
    run = edgebed("run", write_experiment(tmp_path), "--out", "out", cwd=tmp_path)
    assert run.status in (0, 3), run.err
    word = "valid" if read_result(tmp_path / "out")["verdict"]["valid"] else "invalid"
    assert f'class="verdict {word}"' in (tmp_path / "out" / "report.html").read_text()


def test_a_run_that_fails_leaves_what_it_failed_of(tmp_path: Path) -> None:
    program = PING_PONG.replace(
        'node.record("accuracy", 1 / node.round)', 'node.record("accuracy", 1 // (3 - node.round))'
    )
    file = write_experiment(tmp_path, program, rounds=5)
    run = edgebed("run", file, "--out", "out", cwd=tmp_path)
    assert run.status == 1
    out = tmp_path / "out"
    assert (out / "failure.txt").read_text().strip() == run.line
    assert not (out / "result.json").exists()
    assert "division" in run.line
    report = (out / "report.html").read_text()
    assert 'class="verdict failed"' in report
    rows = (out / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["1", "2"]
    assert '<tr data-run="tiny"' in report


def test_a_report_is_made_again_compared_drawn_traced_and_printed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_run(tmp_path / name, rounds=3)
    again = edgebed("report", "one", "--figures", "figures", "--trace", "trace.json", cwd=tmp_path)
    assert (again.status, again.err) == (0, "")
    written = again.out.split()
    assert {"figures/breakdown.svg", "figures/breakdown.png", "trace.json", "one/report.html"} <= set(written)
    assert all((tmp_path / path).stat().st_size > 0 for path in written)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]

    both = edgebed("report", "one", "two", cwd=tmp_path)
    assert (both.status, both.out) == (0, "report.html\n")
    assert set(re.findall(r'data-run="(\w+) \w+"', (tmp_path / "report.html").read_text())) == {"one", "two"}

    printed = edgebed("report", "two", "--text", cwd=tmp_path)
    assert printed.out.startswith("two: VALID\n")
    assert not (tmp_path / "two" / "report.html").exists()


def test_what_cannot_be_reported_on_is_one_clear_line(tmp_path: Path) -> None:
    run = edgebed("report", "none", cwd=tmp_path)
    assert (run.status, run.line) == (2, "none: not a run's folder: it has no experiment.yaml")
    make_run(tmp_path / "one")
    run = edgebed("report", "one", "--out", "no/such/folder.html", cwd=tmp_path)
    assert (run.status, run.line) == (2, "cannot write no/such/folder.html: No such file or directory")
    assert edgebed("report", cwd=tmp_path).status == 2
