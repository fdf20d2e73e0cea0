"""Splits that share questions, however these are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.errors import ConfigError
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.tasks.leaks import content_hash, require_disjoint
from rlrun.types import Prompt


def prompts(split: str, *questions: str) -> list[Prompt]:
    return [Prompt(f"{split}/{n}", question, "1") for n, question in enumerate(questions)]


@pytest.mark.parametrize(
    "other",
    [
        "how many are 1,080 eggs at $2.50?",
        "  How many\n are 1080 eggs, at $2.50?  ",
        "How many are 1080 eggs at 2.50",
        'How many are "1080" eggs - at $2.50 ?!',
        "HOW MANY ARE 1080 EGGS AT $2.50?",
    ],
)
def test_case_white_space_and_punctuation_make_no_other_question(other: str) -> None:
    assert content_hash(other) == content_hash("How many are 1080 eggs at $2.50?")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("12+34=", "12-34="),
        ("12+34=", "1+234="),
        ("12 - 34", "12 / 34"),
        ("2.50 eggs", "250 eggs"),
        ("2.5 eggs", "2 5 eggs"),
        ("1,08 eggs", "108 eggs"),
        ("what is 5?", "what is -5?"),
        ("two eggs", "twoeggs"),
        ("5 eggs", "6 eggs"),
        ("x^2", "x 2"),
    ],
)
def test_other_words_numbers_and_signs_make_another_question(left: str, right: str) -> None:
    assert content_hash(left) != content_hash(right)


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=1)), st.sampled_from(" \n\t,;!"))
def test_how_words_are_separated_makes_no_other_question(words: list[str], mark: str) -> None:
    assert content_hash(mark.join(words)) == content_hash(" ".join(words))


def test_any_text_has_a_hash() -> None:
    assert len(content_hash("\ud800")) == 64


def test_splits_without_a_question_in_common_are_disjoint() -> None:
    require_disjoint(prompts("train", "a b?", "c?"), prompts("eval", "a?", "b?"))
    require_disjoint([], prompts("eval", "a?"))


def test_a_question_in_both_splits_is_named_by_both_ids() -> None:
    train = prompts("train", "Who?", "How many?", "how many")
    with pytest.raises(ConfigError) as caught:
        require_disjoint(train, prompts("eval", "Where?", "HOW  MANY"))
    assert str(caught.value) == (
        "1 of 2 held-out questions are training questions (eval/1 is train/1); "
        "remove them from one of the two"
    )


def test_five_pairs_are_named_and_the_others_counted() -> None:
    questions = [f"{n} eggs?" for n in range(8)]
    with pytest.raises(ConfigError) as caught:
        require_disjoint(prompts("train", *questions), prompts("eval", *questions))
    message = str(caught.value)
    assert "eval/4 is train/4; ... and 3 more" in message
    assert "eval/5" not in message
    assert message.startswith("8 of 8 ")


def test_the_splits_of_arithmetic_are_disjoint() -> None:
    require_disjoint(Arithmetic().prompts("train"), Arithmetic().prompts("eval"))
