"""Files of traces that cannot be used, and pairs of them."""

import os
from pathlib import Path

import pytest

from emulator import tracefile
from emulator.errors import InputError
from emulator.trace_text import model


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        tracefile.read(path)
    said = str(refused.value)
    assert "\n" not in said
    return said.removeprefix(f"{path.parent}/")


def test_a_file_is_read_with_what_it_says_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeff# A line\nseconds,up Mbit/s,down Mbit/s\n0,1,2\n9,,\n", encoding="utf-8")
    found = tracefile.read(tmp_path / "a.csv")
    assert found.about == "A line"
    assert {way: model(rows).mean for way, rows in found.rows.items()} == {"up": 1e6, "down": 2e6}


def test_two_files_beside_each_other_are_one_trace(tmp_path: Path) -> None:
    (tmp_path / "cell.up").write_text("2\n4\n")
    (tmp_path / "cell.down").write_text("1\n2\n3\n4\n")
    found = tracefile.read(tmp_path / "cell").rows
    assert (model(found["up"]).mean, model(found["down"]).mean) == (6e6, 12e6)
    (tmp_path / "cell.up").unlink()
    assert refusal(tmp_path / "cell") == "cell.up: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "bad.csv: is empty: write a table that begins with 'seconds,up Mbit/s,down Mbit/s', or Mahimahi's"),
        (b"3\n2\n", "bad.csv:2: millisecond 2 comes after 3: they stand in order of time"),
        (b"1\n\xff\xfe\n", "bad.csv:2: is binary: a trace is text, one line a row"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "bad.csv:1: is binary"),
        (b"\x1f\x8b\x08\x00", "bad.csv:1: is binary"),
        (b"seconds,rate Mbit/s\n0,0\n9,\n", "bad.csv: every rate of the column rate is 0: nothing would ever get"),
    ],
)
def test_a_malformed_file_is_refused_with_file_and_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    assert refusal(tmp_path / "bad.csv").startswith(says)


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "pipe: cannot be read: it is no file: name one that holds a trace"
    assert refusal(tmp_path) == f"{tmp_path.name}: cannot be read: it is no file: name one that holds a trace"
    assert refusal(tmp_path / "none.csv") == "none.csv: cannot be read: No such file or directory"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "big.csv").open("wb") as file:
        file.truncate(2**40)  # a hole of a terabyte: whoever reads it all has no memory left
    assert refusal(tmp_path / "big.csv") == "big.csv: is larger than 32 MiB: take a part of it"
    monkeypatch.setattr(tracefile, "LINES", 3)
    (tmp_path / "long.csv").write_text("1\n2\n3\n4\n5\n")
    assert refusal(tmp_path / "long.csv") == "long.csv: has more than 3 lines: take a part of it"
