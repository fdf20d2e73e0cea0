"""pass@k against every choice of k samples; majorities by hand."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.evaluation.intervals import critical_value, wilson_interval
from rlrun.evaluation.passes import majority, pass_at
from rlrun.evaluation.scores import accuracy

Z = critical_value(0.95)
RIGHT_A, WRONG_B, WRONG_C = ("a", True), ("b", False), ("c", False)
NO_ANSWER = (None, False)


@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_right_sample(size: int, data) -> None:
    right, k = data.draw(st.integers(0, size)), data.draw(st.integers(1, size))
    samples = [True] * right + [False] * (size - right)
    choices = list(combinations(samples, k))
    expected = sum(map(any, choices)) / len(choices)
    assert pass_at({"q": (right, size)}, k).value == pytest.approx(expected)


def test_pass_at_2_of_two_questions_by_hand() -> None:
    # One of four right: of six pairs three have it.  Two of four: one pair is of wrong samples.
    assert pass_at({"a": (1, 4), "b": (2, 4)}, 2).value == pytest.approx((1 / 2 + 5 / 6) / 2)


def test_pass_at_1_is_the_accuracy() -> None:
    scores = {"a": (1, 4), "b": (4, 4), "c": (0, 4)}
    assert pass_at(scores, 1) == accuracy(scores)


def test_pass_at_all_samples_has_wilsons_interval() -> None:
    # Then a question is passed or it is not: two of three.
    scores = {"a": (1, 4), "b": (4, 4), "c": (0, 4)}
    assert pass_at(scores, 4).interval == wilson_interval(2 / 3, 3, Z)


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 6), min_size=1), st.integers(1, 5))
def test_one_more_try_never_passes_less(rights, k: int) -> None:
    scores = {name: (right, 6) for name, right in rights.items()}
    assert pass_at(scores, k).value <= pass_at(scores, k + 1).value + 1e-12


def test_questions_with_fewer_than_k_samples_are_not_counted() -> None:
    estimate = pass_at({"a": (1, 4), "b": (1, 1)}, 2)
    assert (estimate.value, estimate.num_questions, estimate.num_samples) == (0.5, 1, 4)


@pytest.mark.parametrize(("k", "message"), [(0, "not defined"), (5, "no question has 5 samples")])
def test_a_k_that_no_question_has_is_refused(k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at({"a": (1, 4)}, k)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([RIGHT_A, RIGHT_A, WRONG_B], 1.0),
        ([RIGHT_A, WRONG_B, WRONG_B], 0.0),
        ([RIGHT_A, WRONG_B], 1 / 2),
        ([RIGHT_A, WRONG_B, WRONG_C], 1 / 3),
        ([RIGHT_A, NO_ANSWER, NO_ANSWER], 1.0),
        ([NO_ANSWER], 0.0),
        ([], 0.0),
    ],
)
def test_the_most_frequent_answer_counts_and_a_tie_counts_in_part(samples, expected) -> None:
    assert majority({"q": samples}).value == pytest.approx(expected)


def test_a_majority_has_one_outcome_a_question_however_many_vote() -> None:
    estimate = majority({"q": [RIGHT_A] * 8, "r": [WRONG_B] * 8})
    assert estimate.interval == wilson_interval(0.5, 2, Z)
    assert (estimate.num_questions, estimate.num_samples) == (2, 16)


@given(st.lists(st.sampled_from([RIGHT_A, WRONG_B, WRONG_C, NO_ANSWER])), st.randoms())
def test_the_order_of_votes_does_not_matter(samples, order) -> None:
    assert majority({"q": order.sample(samples, len(samples))}) == majority({"q": samples})


def test_without_a_question_there_is_no_majority() -> None:
    with pytest.raises(ValueError, match="no question to vote on"):
        majority({})


def test_an_answer_that_is_both_right_and_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="answer 'a' to question 'q' is both right and wrong"):
        majority({"q": [RIGHT_A, ("a", False)]})
