"""The grader: a table of verdicts made by hand, and what holds for every text."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.answers import extract_answer, has_marked_answer, is_correct, read_number

EXTRACTED = [
    # rule 1: the last complete box
    (r"so \boxed{72}", "72"),
    (r"\boxed{3}. Wait, no: \boxed{4}", "4"),
    (r"\boxed{72} and then #### 5, the answer is 6", "72"),
    (r"\boxed {72}", "72"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\boxed{3} but \boxed{4", "3"),
    (r"\boxed{3 and \boxed{4}", "4"),
    (r"\boxed{4} }}}", "4"),
    (r"\boxed{4} \boxed{ }", "4"),
    # rule 2: the last line of four hashes
    ("#### 72", "72"),
    ("####72", "72"),
    ("#### 3\nno, wait\n#### 4", "4"),
    ("#### 3 #### 4", "4"),
    ("the answer is 5\n#### 72\nThe answer is 6", "72"),
    ("#### 72\nQuestion: how many are 3 and 4?", "72"),
    ("#### C#", "C#"),
    ("#### 72\n####", "72"),
    ("#### 72\r\n", "72"),
    ("#### Paris", "Paris"),
    # rule 3: the last sentence that says so
    ("The answer is 72.", "72"),
    ("the answer is: 72", "72"),
    ("The FINAL answer is 72!", "72"),
    ("The answer is 3. The answer is 4. 5 is wrong", "4"),
    ("The answer is 3.5 dollars. 7 eggs are left.", "3.5 dollars"),
    ("**The final answer is:** 72 eggs\n8", "** 72 eggs"),
    ("The answer is:\n72", "72"),
    ("The answer is:\n\\[\n72\n\\]", "72"),
    ("The answer is Paris.", "Paris"),
    # rule 4: the last number
    ("48 and 24 make 72 clips", "72"),
    ("The answer isn't 5 or 6", "6"),
    ("7-5", "5"),
    ("it falls to -5 degrees", "-5"),
    ("from 10 to $1,234.50.", "1,234.50"),
    (r"the box was cut off: \boxed{12", "12"),
    ("##### 72 is a heading of five", "72"),
    ("- 5 apples", "5"),
    ("\u7b54\u6848\u662f18\u4e2a", "18"),
    ("about 5 million people", "5 million"),
    ("half of it, 1/2", "1/2"),
    ("<<48+24=72>>", "72"),
    ("room B12", None),
    ("no numbers here", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), EXTRACTED)
def test_the_answer_of_a_text_is_found_by_precedence(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


SAME = [
    # thousands, decimals and signs
    ("1,234", "1234"),
    ("1,234,567.80", "1234567.8"),
    ("1{,}234", "1234"),
    (r"1,\!234", "1234"),
    (r"1\,234", "1234"),
    ("18.00", "18"),
    ("0.50", ".5"),
    ("18.", "18"),
    ("007", "7"),
    ("+5", "5"),
    ("-5", "-5.0"),
    ("- 5", "-5"),
    ("\u22125", "-5"),
    ("minus 5", "-5"),
    ("-0", "0"),
    # currency, percent, units and other words
    ("$18", "18"),
    (r"\$18", "18"),
    ("\u20ac18", "18"),
    ("\u00a318", "18"),
    ("-$18", "-18"),
    ("$-18", "-18"),
    ("US$18", "18"),
    ("18 dollars", "18"),
    ("18 dollars a day", "18"),
    ("$18.00/day", "18"),
    ("50%", "50"),
    (r"50\%", "50"),
    ("50", "50%"),
    ("50 percent.", "50"),
    ("5 m^2", "5"),
    (r"5\text{ cm}^{2}", "5"),
    (r"90^\circ", "90"),
    ("she has 18 eggs left", "18"),
    ("x = 18", "18"),
    ("3 dozen", "3"),
    ("18</s>", "18"),
    ("18<|im_end|>", "18"),
    ("<answer>18</answer>", "18"),
    # magnitudes
    ("5 million dollars", "5000000"),
    ("$2.5 million", "2,500,000"),
    ("10k", "10000"),
    ("3 hundreds", "300"),
    ("5 km", "5"),
    # LaTeX and markdown
    (r"\text{13}", "13"),
    (r"18\ \text{dollars}", "18"),
    (r"\(18\)", "18"),
    ("$18$", "18"),
    ("**18**", "18"),
    ("*18*", "18"),
    ("`18`", "18"),
    # fractions, exactly
    ("1/2", "0.5"),
    ("2/4", "1/2"),
    (r"\frac{1}{2}", "0.5"),
    (r"\dfrac{ 1 }{ 2 }", "1/2"),
    (r"-\frac{1}{2}", "-0.5"),
    (r"\frac{-1}{2}", "-1/2"),
    ("1 1/2", "1.5"),
    (r"1\frac{1}{2}", "1.5"),
    ("-1 1/2", "-1.5"),
    # words
    ("  Paris\u00a0 in  SPRING.", "paris in spring"),
    (r"\text{Paris}", "Paris"),
    ("12:30", "12:30"),
    ("1e5", "1E5"),
    ("9" * 200, "9" * 200),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_two_ways_to_write_an_answer_agree(answer: str, gold: str) -> None:
    assert is_correct(f"#### {answer}", gold)


DIFFERENT = [
    ("1,2", "12"),
    ("1,2", "2"),
    ("0,123", "123"),
    ("1,2345", "12345"),
    ("-5", "5"),
    ("minus 5", "5"),
    ("-$5", "5"),
    ("50%", "0.5"),
    ("18 or 20", "18"),
    ("18 or 20", "20"),
    ("1 = 2 = 3 = 4", "4"),
    ("5 + 13 = 18", "18"),
    ("18, 20", "20"),
    ("2x", "2"),
    ("x - 5", "-5"),
    (r"2\pi", "2"),
    (r"\sqrt{18}", "18"),
    ("x < 18", "18"),
    ("10^{5}", "10"),
    ("110_2", "110"),
    ("1e5", "100000"),
    ("1e5", "1"),
    ("1e999999999", "1"),
    ("5 million", "5"),
    ("10k", "10"),
    ("1/3", "0.333333333333333333333333"),
    ("0.1", "0.1000000000000000055511151231257827"),
    ("9007199254740993", "9007199254740992"),
    (r"1\frac{1}{2}", "11/2"),
    (r"3 \cdot \frac{1}{2}", "3.5"),
    ("3 * 1/2", "3.5"),
    ("1/0", "0"),
    ("1.2.3", "1.2"),
    ("5/6/2020", "5/6"),
    ("12:30", "12"),
    ("Paris", "London"),
    ("seventy-two", "72"),
    ("\u0661\u0662", "12"),
]


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_another_answer_is_wrong(answer: str, gold: str) -> None:
    assert not is_correct(f"#### {answer}", gold)


@pytest.mark.parametrize(
    ("text", "is_marked"),
    [
        (r"\boxed{72}", True),
        ("#### 72", True),
        ("the answer is 72", True),
        ("72", False),
        ("####", False),
        (r"\boxed{72", False),
        ("the answer is .", False),
    ],
)
def test_only_a_complete_and_filled_mark_marks_an_answer(text: str, is_marked: bool) -> None:
    assert has_marked_answer(text) is is_marked


def test_a_text_without_an_answer_is_wrong_even_for_an_empty_gold() -> None:
    assert not is_correct("", "")


def test_a_number_of_more_than_a_hundred_characters_is_not_calculated_with() -> None:
    assert read_number("1" * 100) == int("1" * 100)
    assert read_number("1" * 101) is None


ADVERSARIAL = {
    "digits": "9" * 100_000,
    "thousands": "1" + ",234" * 25_000 + "5",
    "dots": "1." * 50_000,
    "spaced digits": "1 " * 50_000,
    "slashes": "1/" * 50_000,
    "number and spaces": "1" + " " * 100_000,
    "number and newlines": "1" + "\n" * 100_000,
    "open boxes": r"\boxed{" * 14_000,
    "nested boxes": r"\boxed{" * 12_500 + "}" * 12_500,
    "box and spaces": r"\boxed" + " " * 100_000,
    "open braces": r"\boxed{" + "{" * 100_000,
    "backslashes": "\\" * 100_000,
    "fractions": r"\frac{1" * 14_000,
    "fraction and spaces": r"\frac{" + " " * 100_000,
    "hashes": "#" * 100_000,
    "empty marks": "#### " * 20_000,
    "marks of symbols": "#### $\n" * 14_000,
    "sentences": "the answer is " * 7_000,
    "empty sentences": "the answer is . " * 6_000,
    "the and spaces": "the" + " " * 100_000,
    "stars": "*" * 100_000,
    "minuses": "-" * 100_000,
    "minus and spaces": "minus" + " " * 100_000,
    "currencies": "-$" * 50_000,
    "tags": "<a" * 50_000,
    "carets": "m^" * 50_000,
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_a_hundred_thousand_characters_are_graded_in_a_moment(text: str) -> None:
    began = time.perf_counter()
    is_correct(text, "72")
    is_correct(f"#### {text}", text)
    assert time.perf_counter() - began < 5  # a quadratic rule takes minutes


FRAGMENTS = [
    "\\boxed{", "{", "}", "\\{", "\\frac{", "1}{2}", "#### ", "####", "the answer is ", "final ",
    "\\text{", "\\,", "\\!", "\\", "$", "\\$", "-", "\u2212", "+", "1", "72", "1,234", ".", ",",
    "/", " ", "\n", "%", "^2", "**", "x", "k", " million", "e5", "=", "dollars", ":", "\ud800",
]  # fmt: skip
scrambled = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9)).map(
    lambda value: f"{value:f}"
)


@given(text=st.text() | scrambled, gold=st.text() | scrambled)
def test_any_text_against_any_gold_has_a_verdict(text: str, gold: str) -> None:
    assert is_correct(text, gold) in (True, False)


@given(text=scrambled)
def test_a_marked_answer_is_an_answer(text: str) -> None:
    assert not has_marked_answer(text) or extract_answer(text) is not None


@given(text=scrambled, first=st.integers(-100, 2000), second=st.integers(-100, 2000))
def test_a_text_is_never_right_for_two_different_golds(text: str, first: int, second: int) -> None:
    both = is_correct(text, str(first)) and is_correct(text, str(second))
    assert not both or first == second


@given(number=numbers)
@pytest.mark.parametrize(
    "text", ["{}", r"\boxed{{{}}}", "5\n#### {}", "The answer is {}.", "9 - 3 is $ {} ", "**{}** !"]
)
def test_a_number_is_right_wherever_it_is_written(text: str, number: str) -> None:
    assert is_correct(text.format(number), number)


@given(value=st.integers(-(10**15), 10**15))
def test_separators_between_thousands_change_nothing(value: int) -> None:
    assert read_number(f"{value:,}") == value


@given(top=st.integers(-(10**9), 10**9), bottom=st.integers(1, 10**9))
def test_fractions_are_compared_in_lowest_terms(top: int, bottom: int) -> None:
    assert is_correct(rf"\boxed{{\frac{{{top}}}{{{bottom}}}}}", str(Fraction(top, bottom)))


@given(left=scrambled, right=scrambled)
def test_agreement_does_not_depend_on_which_side_is_the_gold(left: str, right: str) -> None:
    left, right = (side.translate(dict.fromkeys(map(ord, "#\n{}\\"))) for side in (left, right))
    forth, back = is_correct(f"\\boxed{{{left}}}", right), is_correct(f"\\boxed{{{right}}}", left)
    assert forth == back or not left.strip() or not right.strip()


@given(word=st.text(st.characters(categories=["L"]), min_size=1))
def test_a_word_is_right_in_any_case_and_spacing(word: str) -> None:
    assert is_correct(f"#### \t{word}  .", word)
