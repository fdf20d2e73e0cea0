"""Formulas: what is one, what is alike, and what the checker is not asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.formulas import canonical_formula, is_formula, pair_for_checker


@pytest.mark.parametrize(
    "text",
    [
        "2x", "2 x", "x^2", "x_1", "x + 1", "x-5", "5 - x", "a/b", "x/2", "2*x", "f(x)", "(1, 2)",
        "[1, 2)", r"\{1, 2\}", "1, 2", "x = 5", "x < 5", "5!", "110_2", r"\sqrt{2}", r"\pi",
        "\u221a2", "\u03c0", r"\frac{a}{b}", "x=1 or x=2", "sin(x)", r"3\sqrt{2}\text{ cm}",
        r"\begin{pmatrix} 1 & 2 \end{pmatrix}", r"\operatorname{lcm}(x, y)",
    ],
)  # fmt: skip
def test_mathematics_is_a_formula(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Paris", "A", "(A)", "A+", "C++", "C#", "N/A", "x", "12:30", "2020-01-05", "5/6/2020",
        "B-12", "COVID-19", "seventy-two", "January 5, 2020", "x = five dollars", "he/she",
        "7 p.m.", r"\text{no real solutions}", "Paris (France)", "it's 5 o'clock",
    ],
)  # fmt: skip
def test_words_are_no_formula(text: str) -> None:
    assert not is_formula(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x ^2", "x^{2}"),
        ("x^10", "x^{10}"),
        ("x^-1", "x^{-1}"),
        ("x_n", "x_{n}"),
        (r"\dfrac12", r"\frac{1}{2}"),
        (r"\tfrac 1 2", r"\frac{1}{2}"),
        (r"\sqrt2", r"\sqrt{2}"),
        (r"\sqrt 2 + 1", r"\sqrt{2}+1"),
        (r"$\left( 1 , 2 \right)$.", "(1,2)"),
        (r"5x \text{ cm}", "5x"),
        (r"\text{cm}", "cm"),
        ("x=1  or  x=2", "x=1 or x=2"),
        (r"\pi r", r"\pi r"),
    ],
)
def test_ways_to_write_a_formula_are_one(text: str, name: str) -> None:
    assert canonical_formula(text) == name


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\frac{1}{23}", r"\frac{12}{3}"),
        ("x^2", "x^3"),
        ("x_1", "x_2"),
        ("x", "X"),
        ("x^{12}", "x^{1}2"),
        ("(1,2)", "[1,2]"),
        (r"\pi x", r"\pi y"),
    ],
)
def test_formulas_that_differ_are_not_made_alike(left: str, right: str) -> None:
    assert canonical_formula(left) != canonical_formula(right)


PIECES = [
    "x",
    "y",
    "1",
    "23",
    "^",
    "_",
    "{",
    "}",
    "(",
    ")",
    "+",
    "=",
    " ",
    r"\frac",
    r"\sqrt",
    "or",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_what_a_formula_is_called_is_called_so(text: str) -> None:
    name = canonical_formula(text)
    assert canonical_formula(name) == name


@pytest.mark.parametrize(
    ("answer", "gold", "pair"),
    [
        ("3x", "x+2x", ("3x", "x+2x")),
        ("y=3x", "3x", ("3x", "3x")),
        ("f(x)=3x", "3x", ("3x", "3x")),
        ("f^{-1}(x)=3x", "3x", ("3x", "3x")),
        ("x_{1}=3x", "3x", ("3x", "3x")),
        ("3x", "y=3x", ("3x", "y=3x")),
        ("y-3x=0", "y=3x", ("y-3x=0", "y=3x")),
        ("x=1,y=2", "y=2,x=1", ("x=1,y=2", "y=2,x=1")),
        ("x\\le2", "(-\\infty,2]", ("x\\le2", "(-\\infty,2]")),
        ("x<=2", "x\\le2", ("x<=2", "x\\le2")),
    ],
)
def test_the_checker_is_asked_about_formulas(answer: str, gold: str, pair: tuple[str, str]) -> None:
    assert pair_for_checker(answer, gold) == pair


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        pytest.param("1=2=3x", "3x", id="a chain"),
        pytest.param("2x+x=3x", "3x", id="an equation of no name"),
        pytest.param("y=z=3x", "y=3x", id="a chain for an equation"),
        pytest.param("1,2", "x=1,y=2", id="fewer equations"),
        pytest.param("x=1,y=2,z=3", "x=1,y=2", id="more equations"),
        pytest.param("110", "110_{2}", id="the gold in another base"),
        pytest.param("110_{2}", "2x", id="the answer in another base"),
        pytest.param("(101)_{2}", "2x", id="another base behind brackets"),
        pytest.param("5^{5^{5}}", "2x", id="a power of a power"),
        pytest.param("5^(5^5)", "2x", id="a power of a power in brackets"),
        pytest.param("5^5^5", "2x", id="a power of a power without"),
        pytest.param("2^{12345}", "2x", id="a large exponent"),
        pytest.param("12345!", "2x", id="a large factorial"),
        pytest.param("9!!", "2x", id="a factorial of a factorial"),
        pytest.param("(" * 21 + "x" + ")" * 21, "2x", id="deep"),
        pytest.param("x+" * 200 + "x", "2x", id="long"),
        pytest.param("(x", "2x", id="an open bracket"),
        pytest.param(")x(", "2x", id="brackets the wrong way round"),
        pytest.param("two times x", "2x", id="prose"),
        pytest.param("", "2x", id="nothing"),
        pytest.param("2x", "5^{5^{5}}x", id="a gold that is too much"),
    ],
)
def test_the_checker_is_not_asked_what_it_gets_wrong(answer: str, gold: str) -> None:
    assert pair_for_checker(answer, gold) is None
