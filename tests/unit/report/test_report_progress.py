import io

from rich.console import Console

from emulator.report.progress import Progress


def run(console: Console) -> None:
    with Progress(console) as progress:
        progress.begin("gapsl", 3)
        progress.round("gapsl", 1)
        progress.round("gapsl", 2)
        progress.accuracy("gapsl", 0.8312)
        progress.latency("gapsl", 0.0661, "client-1")
        progress.end("gapsl")
        progress.begin("[b]psl", 2)
        progress.round("[b]psl", 2)
        progress.end("[b]psl")


def test_a_terminal_shows_a_line_for_each_algorithm() -> None:
    file = io.StringIO()
    run(Console(file=file, force_terminal=True, width=120, _environ={"TERM": "xterm"}))
    text = file.getvalue()
    assert "gapsl" in text
    assert "round 2/3" in text
    assert "accuracy 83.1 %" in text
    assert "round 66 ms, slowest client-1" in text
    assert "[b]psl" in text
    assert "round 2/2" in text


def test_a_quick_run_says_nothing_where_no_one_watches() -> None:
    file = io.StringIO()
    run(Console(file=file, force_terminal=False))
    assert file.getvalue() == ""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain_lines(rounds: int, seconds_each: float) -> list[str]:
    file, clock = io.StringIO(), Clock()
    with Progress(Console(file=file, force_terminal=False, width=40), clock) as progress:
        progress.begin("[b]psl", rounds)
        progress.accuracy("[b]psl", 0.5)
        progress.latency("[b]psl", 1.5, "client-2")
        for number in range(1, rounds + 1):
            clock.now += seconds_each
            progress.round("[b]psl", number)
    return file.getvalue().splitlines()


def test_without_a_terminal_a_long_run_gets_plain_lines_with_the_time_left() -> None:
    first, second, third = plain_lines(10, seconds_each=4.0)
    # Round 3 ends at 12 s, one round took (12 - 4) / 2 s: seven are left.
    assert first == "[b]psl: round 3/10, accuracy 50.0 %, round 1.50 s, slowest client-2, ETA 0:00:28"
    assert second.startswith("[b]psl: round 6/10")
    assert third.startswith("[b]psl: round 9/10")


def test_plain_lines_come_ever_more_rarely() -> None:
    assert len(plain_lines(100_000, seconds_each=4.0)) < 120
