"""Accuracy: the mean over questions, with what it rests on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.evaluation.intervals import critical_value, wilson_interval
from rlrun.evaluation.scores import accuracy, effective_limit

Z = critical_value(0.95)
VERDICTS = st.integers(1, 8).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size)))
SCORES = st.dictionaries(st.text(max_size=3), VERDICTS, min_size=1, max_size=20)


def test_every_question_weighs_the_same_however_many_samples_it_has() -> None:
    estimate = accuracy({"a": (1, 1), "b": (1, 4)})
    assert estimate.value == (1 + 1 / 4) / 2
    assert (estimate.num_questions, estimate.num_samples) == (2, 5)


def test_with_one_sample_a_question_the_interval_is_wilsons() -> None:
    scores = {str(i): (int(i < 140), 1) for i in range(200)}
    assert accuracy(scores).interval == wilson_interval(0.7, 200, Z)


def test_an_interval_that_holds_with_others_is_wider() -> None:
    scores = {"a": (1, 1), "b": (0, 1)}
    alone, with_others = accuracy(scores).interval, accuracy(scores, num_comparisons=5).interval
    assert with_others == accuracy(scores, level=0.99).interval
    assert with_others.low < alone.low
    assert alone.high < with_others.high


@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_does_not_matter(scores, order: random.Random) -> None:
    shuffled = dict(order.sample(list(scores.items()), len(scores)))
    assert accuracy(shuffled) == accuracy(scores)


@given(SCORES)
def test_one_more_right_sample_never_lowers_the_accuracy(scores) -> None:
    better = {name: (min(right + 1, size), size) for name, (right, size) in scores.items()}
    assert accuracy(better).value >= accuracy(scores).value


def test_equal_numbers_of_samples_are_limited_by_their_number() -> None:
    assert effective_limit([4, 4, 4]) == 12


def test_a_question_with_few_samples_limits_more_than_one_with_many_helps() -> None:
    # The variance is p (1 - p) (1 + 1/4) / 4, that of 3.2 samples.
    assert effective_limit([1, 4]) == pytest.approx(3.2)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "no question to score"),
        ({"a": (0, 0)}, "question 'a' has 0 right of 0 samples"),
        ({"a": (1, 1), "b": (3, 2)}, "question 'b' has 3 right of 2 samples"),
        ({"a": (-1, 2)}, "question 'a' has -1 right of 2 samples"),
    ],
)
def test_scores_that_say_nothing_are_refused(scores, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy(scores)
