import json
import os
from pathlib import Path

import pytest

from emulator.errors import InputError
from emulator.report import files
from emulator.timeline import Span

SPAN = Span("psl", 1, "a", "client_forward", 0.0, 1.5, cpu=0.25, mode="stretched")
FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


def test_runs_are_numbered(tmp_path: Path) -> None:
    runs = tmp_path / "deep" / "runs"
    assert files.create_folder("demo", runs=runs) == runs / "demo-1"
    assert files.create_folder("demo", runs=runs) == runs / "demo-2"
    assert files.create_folder("cifar", runs=runs) == runs / "cifar-1"
    for other in ("demo-9", "demo-x", "demo-2-11"):
        (runs / other).mkdir()
    assert files.create_folder("demo", runs=runs) == runs / "demo-10"


def test_a_folder_may_be_named_if_it_is_new_or_empty(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    assert files.create_folder("demo", out) == out
    assert files.create_folder("demo", out) == out
    (out / "result.json").touch()
    with pytest.raises(InputError, match=f"^{out} is not empty: name a new folder, or an empty one$"):
        files.create_folder("demo", out)


def test_a_folder_where_none_can_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^cannot create {tmp_path}/file: File exists$"):
        files.create_folder("demo", tmp_path / "file")
    with pytest.raises(InputError, match=f"^cannot create {tmp_path}/file/out: Not a directory$"):
        files.create_folder("demo", tmp_path / "file" / "out")
    with pytest.raises(InputError, match=f"^cannot create a folder in {tmp_path}/file/runs: Not a directory$"):
        files.create_folder("demo", runs=tmp_path / "file" / "runs")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write(path, "old")
    files.write(path, "näher\n")
    assert path.read_bytes() == "näher\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@needs_full_disk
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write(path, "old")
    (tmp_path / f".result.json.{os.getpid()}.tmp").symlink_to(FULL)
    with pytest.raises(InputError, match=f"^cannot write {path}: No space left on device$"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_into_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"result\.json: No such file or directory"):
        files.write(tmp_path / "none" / "result.json", "text")
    with pytest.raises(InputError, match=r"timeline\.jsonl: No such file or directory"):
        files.TimelineWriter(tmp_path / "none" / "timeline.jsonl")


def test_spans_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / files.TIMELINE
    written = [SPAN, Span("psl", 1, "a", "uplink", 1.5, 2.0, bytes=10, peer="server", due=1.9)]
    with files.TimelineWriter(path) as timeline:
        for span in written:
            timeline.write(span)
    assert files.read_timeline(path) == written
    assert len(path.read_text().splitlines()) == 2
    with files.TimelineWriter(path) as timeline:
        timeline.write(SPAN)
    assert files.read_timeline(path) == [*written, SPAN]


def test_spans_reach_the_file_during_the_run(tmp_path: Path) -> None:
    path = tmp_path / files.TIMELINE
    with files.TimelineWriter(path, flush_every=3) as timeline:
        for expected in (0, 0, 3, 3, 3, 6):
            timeline.write(SPAN)
            assert len(files.read_timeline(path)) == expected
        timeline.write(SPAN)
        timeline.flush()
        assert len(files.read_timeline(path)) == 7
    timeline.close()
    assert len(files.read_timeline(path)) == 7


@needs_full_disk
def test_a_disk_that_fills_up_during_the_run_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / files.TIMELINE
    path.symlink_to(FULL)
    with files.TimelineWriter(path, flush_every=2) as timeline:
        timeline.write(SPAN)
        with pytest.raises(InputError, match=f"^cannot write {path}: No space left on device$"):
            timeline.write(SPAN)
    timeline = files.TimelineWriter(path)
    timeline.write(SPAN)
    with pytest.raises(InputError, match="No space left on device"):
        timeline.close()
    timeline.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"run": "psl", "rou', "not JSON: .* at column 20"),
        (b"", "not JSON: Expecting value at column 1"),
        (b"\xff\xfe\xff", "can't decode"),
        (b"[" * 100_000, "recursion"),
        (b"[1]", r"span: not a set of fields but \[1\]"),
        (json.dumps({**SPAN.to_fields(), "end": -1}).encode(), "ends at -1 s, before its start"),
        (json.dumps({**SPAN.to_fields(), "end": float("nan")}).encode(), "end is nan"),
    ],
)
def test_a_line_that_is_no_span_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / files.TIMELINE
    path.write_bytes(json.dumps(SPAN.to_fields()).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=f"^{path}:2: .*{message}"):
        files.read_timeline(path)


def test_a_timeline_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^cannot read {tmp_path}/none: No such file or directory$"):
        files.read_timeline(tmp_path / "none")
