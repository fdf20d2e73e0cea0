"""Layout: what goes, and that all else stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.markup import without_markup


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        pytest.param("\u22125", "-5", id="a minus of typography"),
        pytest.param("1\u00bd", "1 1/2", id="a fraction in one character"),
        pytest.param("\u215e", "7/8", id="seven eighths"),
        pytest.param("10\u207b\u00b3", "10^-3", id="a power in superscripts"),
        pytest.param("m\u00b2", "m\u00b2", id="a unit's superscript"),
        pytest.param(r"1\,234", "1234", id="thousands with a thin space"),
        pytest.param(r"x\,y", "x y", id="a thin space between letters"),
        pytest.param(r"12\,34", "12 34", id="a thin space that separates no thousands"),
        pytest.param(r"1,\!234", "1,234", id="a kern"),
        pytest.param(r"a\;b\quad c\ d~e", "a b c d e", id="spaces of LaTeX"),
        pytest.param(r"\left(x\right)", "(x)", id="growing brackets"),
        pytest.param(r"\lefty", r"\lefty", id="another command that begins like one"),
        pytest.param(r"\text{a}\mathbf{b}\mbox{c}", "abc", id="fonts"),
        pytest.param(r"\text 5", "5", id="a font without braces"),
        pytest.param(r"\(5\) \[6\]", "5 6", id="marks of a formula"),
        pytest.param(r"\$5 50\% \#1", "5 50% #1", id="escaped characters"),
        pytest.param("<answer>5</answer>", "5", id="tags"),
        pytest.param("5<|im_end|>", "5", id="the end of a turn"),
        pytest.param("x < y > z", "x < y > z", id="inequalities are no tag"),
        pytest.param("**5** a*b *c d*", "5 a*b c d", id="bold, a product, italics"),
        pytest.param("2**3", "2**3", id="a power of a number"),
        pytest.param("x**2", "x^2", id="a power of a variable"),
        pytest.param("a \t b\nc", "a b\nc", id="white space, lines aside"),
    ],
)
def test_layout_goes(text: str, plain: str) -> None:
    assert without_markup(text) == plain


@given(st.text(st.characters(categories=["L"])))
def test_letters_stay_as_they_are(text: str) -> None:
    assert without_markup(text) == text
