import io

from rich.console import Console

from emulator.report.progress import Progress


def run(console: Console) -> None:
    with Progress(console) as progress:
        progress.begin("gapsl", 3)
        progress.round("gapsl", 1)
        progress.round("gapsl", 2)
        progress.accuracy("gapsl", 0.8312)
        progress.end("gapsl")
        progress.begin("[b]psl", 2)
        progress.round("[b]psl", 2)
        progress.end("[b]psl")


def test_a_terminal_shows_a_line_for_each_algorithm() -> None:
    file = io.StringIO()
    run(Console(file=file, force_terminal=True, width=100, _environ={"TERM": "xterm"}))
    text = file.getvalue()
    assert "gapsl" in text
    assert "round 2/3" in text
    assert "accuracy 83.1 %" in text
    assert "[b]psl" in text
    assert "round 2/2" in text


def test_nothing_is_written_where_no_one_watches() -> None:
    file = io.StringIO()
    run(Console(file=file, force_terminal=False))
    assert file.getvalue() == ""
