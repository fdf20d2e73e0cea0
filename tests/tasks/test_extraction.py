"""What a text answers, by precedence. Verdicts on the same: test_answers.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.extraction import Extracted, extract


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{ 72 }", "72"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3} but \boxed{4", "3"),
        (r"\boxed{4 \boxed{ }", "4"),
        ("####  72 \n", "72"),
        ("#### 3 #### 4", "4"),
        ("##### 72", "72"),
        ("The answer is 3.5 dollars. 7 eggs are left.", "3.5 dollars"),
        ("**The final answer is:** 72 eggs\n8", "** 72 eggs"),
        ("The answer is:\n72", "72"),
        ("The answer is .", None),
        ("48 and 24 make 72 clips", "72"),
        ("room B12", None),
    ],
)
def test_an_answer_is_found_as_it_is_written(text: str, answer: str | None) -> None:
    found = extract(text)
    assert (None if found is None else found.answer) == answer


MARKS = [r"\boxed{1}", "#### 2\n", "The answer is 3.\n", "4\n"]


@given(st.permutations(MARKS))
def test_the_kind_of_mark_decides_and_not_the_order(marks: list[str]) -> None:
    for count in range(len(MARKS)):
        left = [mark for mark in marks if mark in MARKS[count:]]
        assert extract("\n".join(left)) == Extracted(str(count + 1), is_marked=count < 3)


words = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="{}\\"))


@given(words)
def test_an_answer_in_a_box_is_that_answer_again(answer: str) -> None:
    found = extract(rf"\boxed{{{answer}}}")
    again = None if found is None else extract(rf"\boxed{{{found.answer}}}")
    assert found == again
    assert found is None or not found.is_marked or found.answer == answer.strip()


def test_a_number_that_a_cut_text_ends_with_is_no_answer() -> None:
    assert extract("that makes 72") == Extracted("72", is_marked=False)
    assert extract("that makes 72", is_truncated=True) is None


@pytest.mark.parametrize("text", [r"\boxed{72}", "#### 72\n", "The answer is 72.\n"])
def test_no_piece_of_a_text_has_another_answer_than_the_text(text: str) -> None:
    pieces = [text[:end] for end in range(len(text) + 1)]
    found = {extract(piece, is_truncated=True) for piece in pieces}
    assert found == {None, Extracted("72", is_marked=True)}
