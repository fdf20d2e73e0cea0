"""Two steps compared: what the parts of a comparison are, and how often chance is called more."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from rlrun.evaluation.differences import tango_interval
from rlrun.evaluation.intervals import critical_value
from rlrun.evaluation.paired import compare, holm
from rlrun.evaluation.scores import Scores, accuracy

Z = critical_value(0.95)
NUM_SAMPLES = 4
RIGHTS = st.tuples(st.integers(0, NUM_SAMPLES), st.integers(0, NUM_SAMPLES))
STEPS = st.dictionaries(st.text(max_size=3), RIGHTS, min_size=1, max_size=20)
P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def scores_of(rights: dict[str, tuple[int, int]]) -> tuple[Scores, Scores]:
    first, second = (
        {question: (pair[place], NUM_SAMPLES) for question, pair in rights.items()}
        for place in (0, 1)
    )
    return first, second


def random_scores(rights: np.ndarray, num_samples: int) -> list[Scores]:
    """Return scores of one step for each row of right samples by question."""
    return [
        {str(question): (right, num_samples) for question, right in enumerate(row)}
        for row in rights.tolist()
    ]


def test_a_comparison_by_hand() -> None:
    # Three gained and one lost of ten: 2 * (1 + 4) / 2^4 is the chance of 3 to 1 or farther.
    before = {"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (1, 1), "e": (1, 1), "f": (0, 1)}
    after = {"a": (1, 1), "b": (1, 1), "c": (1, 1), "d": (0, 1), "e": (1, 1), "f": (0, 1)}
    comparison = compare(before, after)
    assert comparison.gained == ("a", "b", "c")
    assert comparison.lost == ("d",)
    assert (comparison.num_both, comparison.num_neither) == (1, 1)
    assert comparison.num_questions == 6
    assert comparison.difference == pytest.approx(2 / 6)
    assert comparison.discordance == pytest.approx(4 / 6)
    assert comparison.p_value == 10 / 16
    assert comparison.interval == tango_interval(3 / 6, 1 / 6, 6, Z)


def test_with_several_samples_a_question_is_gained_if_more_are_right() -> None:
    # Changes of 2, -1 and 0: |2 - 1| or more is what all four choices of signs have.
    before = {"a": (0, 4), "b": (3, 4), "c": (2, 4), "d": (0, 4)}
    after = {"a": (2, 4), "b": (2, 4), "c": (2, 4), "d": (0, 4)}
    comparison = compare(before, after)
    assert (comparison.gained, comparison.lost) == (("a",), ("b",))
    assert (comparison.num_both, comparison.num_neither) == (1, 1)
    assert comparison.difference == 1 / 16
    assert comparison.discordance == (4 / 16 + 1 / 16) / 4
    assert comparison.p_value == 1.0


def test_questions_without_as_many_samples_at_both_steps_are_left_out_and_named() -> None:
    before = {"a": (0, 2), "b": (1, 2), "c": (1, 1), "d": (2, 2)}
    after = {"b": (2, 2), "a": (1, 1), "e": (1, 2), "d": (2, 2)}
    comparison = compare(before, after)
    assert comparison.left_out == ("a", "c", "e")
    assert comparison.num_questions == 2
    assert comparison.difference == 1 / 4


def test_an_interval_that_holds_with_others_is_wider() -> None:
    before, after = {"a": (0, 1), "b": (1, 1)}, {"a": (1, 1), "b": (1, 1)}
    alone = compare(before, after).interval
    with_others = compare(before, after, num_comparisons=5).interval
    assert with_others == compare(before, after, level=0.99).interval
    assert with_others.low < alone.low
    assert alone.high < with_others.high


@given(STEPS)
def test_the_difference_is_that_of_the_accuracies(rights) -> None:
    before, after = scores_of(rights)
    expected = accuracy(after).value - accuracy(before).value
    assert compare(before, after).difference == pytest.approx(expected, abs=1e-12)


@given(STEPS)
def test_every_question_is_gained_lost_both_or_neither(rights) -> None:
    comparison = compare(*scores_of(rights))
    assert comparison.num_questions == len(rights)
    assert not set(comparison.gained) & set(comparison.lost)


@given(STEPS)
def test_steps_exchanged_exchange_what_is_gained_and_lost(rights) -> None:
    before, after = scores_of(rights)
    there, back = compare(before, after), compare(after, before)
    assert back.difference == -there.difference
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)
    assert (back.gained, back.lost) == (there.lost, there.gained)
    assert (back.num_both, back.num_neither) == (there.num_both, there.num_neither)
    assert (back.p_value, back.discordance) == (there.p_value, there.discordance)


@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_does_not_matter(rights, order: random.Random) -> None:
    shuffled = dict(order.sample(list(rights.items()), len(rights)))
    assert compare(*scores_of(shuffled)) == compare(*scores_of(rights))


@given(STEPS)
def test_a_step_does_not_differ_from_itself(rights) -> None:
    before, _ = scores_of(rights)
    comparison = compare(before, before)
    assert (comparison.difference, comparison.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"a": (1, 1)}, "no question to score"),
        ({"a": (1, 1)}, {}, "no question to score"),
        ({"a": (1, 1)}, {"b": (1, 1)}, "no question has as many samples at both steps"),
        ({"a": (1, 1)}, {"a": (1, 2)}, "no question has as many samples at both steps"),
    ],
)
def test_steps_without_a_question_in_common_are_refused(before, after, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(before, after)


@pytest.mark.parametrize("num_samples", [1, 4])
def test_two_steps_that_are_alike_are_told_apart_in_at_most_one_case_of_twenty(
    num_samples: int,
) -> None:
    # Of 1200 draws 60 are expected at most, with a standard deviation of 7.5.
    num_draws = 1200
    rng = np.random.default_rng(3)
    chances = rng.beta(1.4, 0.6, 60)
    rights = rng.binomial(num_samples, chances, (2 * num_draws, 60))
    steps = random_scores(rights, num_samples)
    pairs = zip(steps[::2], steps[1::2], strict=True)
    found = sum(compare(before, after).p_value <= 0.05 for before, after in pairs)
    assert 20 < found <= 60 + 2 * 7.5


def test_a_family_of_equal_steps_has_any_difference_in_at_most_one_case_of_twenty() -> None:
    # Of 400 draws 20 are expected at most, with a standard deviation of 4.4.
    num_draws, num_steps = 400, 8
    rng = np.random.default_rng(4)
    rights = rng.binomial(1, 0.7, (num_draws * num_steps, 100))
    steps = random_scores(rights, 1)
    found = 0
    for first in range(0, len(steps), num_steps):
        base, *others = steps[first : first + num_steps]
        found += min(holm([compare(base, other).p_value for other in others])) <= 0.05
    assert 0 < found <= 20 + 2 * 4.4


def test_holms_method_by_hand() -> None:
    # 3 * 0.01, then the larger of 0.03 and 2 * 0.03, then the larger of 0.06 and 0.04.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@settings(max_examples=10)  # statsmodels takes its time
@given(P_VALUES.filter(bool))
def test_it_is_holms_method(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(P_VALUES)
def test_adjusted_p_values_are_between_the_plain_ones_and_bonferronis(p_values) -> None:
    for plain, adjusted in zip(p_values, holm(p_values), strict=True):
        assert plain <= adjusted <= min(1.0, len(p_values) * plain)


@given(P_VALUES)
def test_adjusting_keeps_the_order(p_values: list[float]) -> None:
    by_plain = sorted(zip(p_values, holm(p_values), strict=True))
    adjusted = [value for _, value in by_plain]
    assert adjusted == sorted(adjusted)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_the_place_of_a_p_value_in_its_family_does_not_matter(p_values, order) -> None:
    places = order.sample(range(len(p_values)), len(p_values))
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in places]) == [adjusted[i] for i in places]


def test_a_family_of_one_is_not_adjusted() -> None:
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
