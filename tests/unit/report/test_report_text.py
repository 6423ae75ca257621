import pytest

from emulator.report import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 ms"),
        (0.00004, "40 us"),
        (0.0009994, "999 us"),
        (0.0009996, "1.0 ms"),
        (0.00312, "3.1 ms"),
        (0.00996, "10 ms"),
        (0.8124, "812 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.236, "1.24 s"),
        (9.996, "10.0 s"),
        (99.96, "100 s"),
        (9999.4, "9999 s"),
        (9999.6, "2.78 h"),
        (36_000.0, "10.0 h"),
        (3_600_000.0, "1000 h"),
    ],
)
def test_durations_fit_six_characters(value: float, shown: str) -> None:
    assert text.seconds(value) == shown
    assert len(shown) <= 6


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1023.7 * 1024, "1.0 MiB"),
        (9.96 * 2**20, "10 MiB"),
        (12.34 * 2**20, "12 MiB"),
        (999.4 * 2**20, "999 MiB"),
        (2**30, "1.0 GiB"),
        (999 * 2**40, "999 TiB"),
    ],
)
def test_sizes_fit_seven_characters_in_binary_units(value: float, shown: str) -> None:
    assert text.size(value) == shown
    assert len(shown) <= 7


def test_sizes_beyond_all_disks_are_shown_all_the_same() -> None:
    assert text.size(5000 * 2**40) == "5000 TiB"


def test_shares_are_in_per_cent() -> None:
    assert text.share(0.8312) == "83.1 %"
