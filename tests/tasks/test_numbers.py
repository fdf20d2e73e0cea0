"""Numbers: exact values, and that there is one number or none. More cases: test_answers.py."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.numbers import MAX_NUMBER_CHARS, last_number, read_number

finite = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", Fraction(2469, 2)),
        ("-1 3/4", Fraction(-7, 4)),
        (r"-2\frac{1}{3}", Fraction(-7, 3)),
        ("2.5/0.5", Fraction(5)),
        ("-1.25e-2", Fraction(-1, 80)),
        ("2.5 billion", Fraction(25 * 10**8)),
        ("7 trillion", Fraction(7 * 10**12)),
        ("3B", Fraction(3 * 10**9)),
        ("3 B", Fraction(3)),
    ],
)
def test_a_number_has_an_exact_value(text: str, value: Fraction) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize("text", ["", "no", "1 2", "1/0", "x5", "1..2", "5e", "0/0", "(5)(6)"])
def test_where_there_is_no_number_or_more_than_one_there_is_none(text: str) -> None:
    assert read_number(text) is None


def test_a_number_of_too_many_characters_is_not_calculated_with() -> None:
    assert read_number("1" * MAX_NUMBER_CHARS) == int("1" * MAX_NUMBER_CHARS)
    assert read_number("1" * (MAX_NUMBER_CHARS + 1)) is None


def test_an_exponent_of_four_digits_is_not_calculated_with() -> None:
    assert read_number("1e999") == 10**999
    assert read_number("1e1000") is None
    assert read_number("10^1000") is None


@given(value=finite)
def test_what_is_written_is_what_is_read(value: object) -> None:
    assert read_number(f"{value:f}") == Fraction(str(value))


@given(value=st.integers(-(10**15), 10**15))
def test_separators_between_thousands_change_nothing(value: int) -> None:
    for separator in (",", "{,}", r",\!", r"\,", "\u202f"):
        assert read_number(f"{value:,}".replace(",", separator)) == value


@given(mantissa=finite, exponent=st.integers(-30, 30))
@pytest.mark.parametrize("text", ["{:f}e{}", "{:f}E{}", r"{:f} \times 10^{{{}}}", "{:f}*10^{}"])
def test_powers_of_ten_are_carried_out(text: str, mantissa: object, exponent: int) -> None:
    expected = Fraction(str(mantissa)) * Fraction(10) ** exponent
    assert read_number(text.format(mantissa, exponent)) == expected


@given(left=st.integers(0, 999), right=st.integers(0, 999), sign=st.sampled_from("=+-*<;:"))
def test_two_numbers_are_none(left: int, right: int, sign: str) -> None:
    assert read_number(f"{left}{sign}{right}") is None
    assert read_number(f"{left} {sign} {right}") is None


@pytest.mark.parametrize("letter", "befijnopqruvwxyz")
def test_a_letter_that_is_no_unit_makes_it_a_formula(letter: str) -> None:
    assert read_number(f"5{letter}") is None
    assert read_number(f"5 {letter}") is None
    assert read_number(f"5 {letter}ords") == 5


@pytest.mark.parametrize("unit", ["m", "g", "s", "h", "l", "C", "F", "V", "N"])
def test_a_letter_that_is_a_unit_is_ignored(unit: str) -> None:
    assert read_number(f"5{unit}") == 5
    assert read_number(f"5 {unit}") == 5


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1 and 2", "2"),
        ("it costs $1,234.50.", "1,234.50"),
        (r"half is \frac{1}{2}", "1/2"),
        (r"that is 1.2 \times 10^{5} km", r"1.2 \times 10^ 5"),
        ("none", None),
    ],
)
def test_the_last_number_is_found_as_it_is_written(text: str, number: str | None) -> None:
    assert last_number(text) == number


@given(value=finite)
def test_the_last_number_is_that_number(value: object) -> None:
    found = last_number(f"7 and 8 make {value:f} eggs.")
    assert found is not None
    assert read_number(found) == Fraction(str(value))
