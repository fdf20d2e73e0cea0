"""Comparing formulas: what is equal, and what math-verify alone would call so."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def is_equal() -> Callable[[str, str], bool]:
    from rlrun.tasks.comparison import is_equal

    return is_equal


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"0.5\sqrt{2}", r"\frac{\sqrt{2}}{2}"),
        ("(x+1)^{2}", "x^{2}+2x+1"),
        ("2x-y+3=0", "y=2x+3"),
        ("6x+8y=10", "3x+4y-5=0"),
        ("2x+3", "y=2x+3"),
        (r"x\le 2", r"(-\infty,2]"),
        ("2>x", "x<2"),
        ("2,1", r"\{1,2\}"),
        (r"(3,4)\cup(1,2)", r"(1,2)\cup(3,4)"),
        (r"\infty", r"\infty"),
        ("(0.5,1)", r"(\frac{1}{2},1)"),
        ("2+3i", "3i+2"),
        (r"\frac{\ln 3}{\ln 2}", r"\log_{2} 3"),
    ],
)
def test_equal_formulas_are_equal(
    is_equal: Callable[[str, str], bool], answer: str, gold: str
) -> None:
    assert is_equal(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        pytest.param("0.707107", r"\frac{\sqrt{2}}{2}", id="rounded"),
        pytest.param("(0.707107,1)", r"(\frac{\sqrt{2}}{2},1)", id="rounded, in a point"),
        pytest.param("0.0", r"\frac{1}{10^{8}}", id="rounded to nothing"),
        pytest.param(r"\frac{2}{10^{30}}", r"\frac{1}{10^{30}}", id="a small difference"),
        pytest.param("x^{2}+2=0", "x^{2}+1=0", id="two equations without a solution"),
        pytest.param("x+3=0", "x^{2}+y=0", id="two equations that end in 0"),
        pytest.param("0=0", "x+y=0", id="an equation that says nothing"),
        pytest.param("2", "2t", id="a variable that is a unit too"),
        pytest.param("(2,1)", "(1,2)", id="a point mirrored"),
        pytest.param("[1,2]", "(1,2)", id="a closed interval"),
        pytest.param(r"-\infty", r"\infty", id="the other infinity"),
        pytest.param("x_{2}", "x_{1}", id="another index"),
        pytest.param("y=3", "x=3", id="another name"),
        pytest.param("x", "y", id="another variable"),
        pytest.param(r"\frac", "x", id="no formula"),
        pytest.param("x", r"\frac", id="no formula for a gold"),
    ],
)
def test_formulas_that_differ_are_not(
    is_equal: Callable[[str, str], bool], answer: str, gold: str
) -> None:
    assert not is_equal(answer, gold)
