"""Numbers as short words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.cli.text import (
    age,
    count,
    duration,
    fraction,
    moment,
    number,
    parse_duration,
    size,
    sparkline,
    visible,
)
from rlrun.errors import UsageError


def test_a_curve_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0, 7, 3], is_ascii=False) == "\u2581\u2588\u2584"
    assert sparkline([0, 7, 3], is_ascii=True) == "_#~"


def test_a_flat_curve_is_low_at_zero_and_in_the_middle_elsewhere() -> None:
    assert sparkline([0, 0], is_ascii=True) == "__"
    assert sparkline([2, 2], is_ascii=True) == "~~"


@given(st.lists(st.floats(-1e6, 1e6)), st.booleans())
def test_a_curve_has_one_character_a_value(values: list[float], is_ascii: bool) -> None:
    curve = sparkline(values, is_ascii=is_ascii)
    assert len(curve) == len(values)
    assert curve.isascii() or not is_ascii


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (12.2, "12 s"), (59.7, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("words", "seconds"), [("2h", 7200), ("30m", 1800), ("90s", 90), ("1h30m", 5400)]
)
def test_durations_from_words(words: str, seconds: float) -> None:
    assert parse_duration(words) == seconds


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_every_part_of_a_duration_counts(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == total


@pytest.mark.parametrize("words", ["", "5", "0s", "1d", "m", "1m2h", "-3s", "1.5h"])
def test_other_words_are_no_duration(words: str) -> None:
    with pytest.raises(UsageError, match="is not a duration; write it as 2h, 30m, 90s or 1h30m"):
        parse_duration(words)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0s ago"), (59, "59s ago"), (60, "1m ago"), (200_000, "2d ago")]
)
def test_how_long_ago_in_the_largest_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(312, "312 B"), (4_100_000, "4.1 MB"), (2 * 10**12, "2.0 TB")]
)
def test_sizes(num_bytes: int, words: str) -> None:
    assert size(num_bytes) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (0.0, "0.000"), (0.41249, "0.412"), (0.000123, "0.000123")]
)
def test_measurements(value: float | None, words: str) -> None:
    assert number(value) == words


def test_fractions_counts_and_moments() -> None:
    assert (fraction(57, 100), fraction(57, None)) == ("57/100", "57")
    assert (count(1, "step"), count(1234, "step")) == ("1 step", "1,234 steps")
    assert moment("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04:05 UTC"


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert visible("\x1b[2J a\tb\x7f") == r"\x1b[2J a\tb\x7f"
    plain = "12 + 34 = 46 \N{GREEK SMALL LETTER PI} \N{CJK UNIFIED IDEOGRAPH-4E00}"
    assert visible(plain) == plain
