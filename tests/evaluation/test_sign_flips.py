"""The sign-flip test: against every choice of signs, the binomial, and McNemar's test."""

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test
from statsmodels.stats.contingency_tables import mcnemar

from rlrun.evaluation.sign_flips import sign_flip_p_value

DIFFERENCES = st.lists(st.integers(-5, 5), max_size=9)


@given(DIFFERENCES)
def test_it_is_the_share_of_choices_of_signs_that_go_as_far(differences: list[int]) -> None:
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in product([-1, 1], repeat=len(differences))
    ]
    expected = sum(abs(total) >= abs(sum(differences)) for total in sums) / len(sums)
    assert sign_flip_p_value(differences) == expected


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 9))
def test_with_one_sample_a_question_it_is_mcnemars_test(gained: int, lost: int, same: int) -> None:
    p_value = sign_flip_p_value([1] * gained + [-1] * lost + [0] * same)
    assert p_value == pytest.approx(mcnemar([[same, lost], [gained, 0]], exact=True).pvalue)
    if gained + lost:
        assert p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_it_is_scipys_permutation_test() -> None:
    differences = [3, 1, 4, -1, 5, 2, -2, 0, 1, 3]
    expected = permutation_test(
        (differences,), sum, permutation_type="samples", n_resamples=float("inf")
    )
    assert sign_flip_p_value(differences) == pytest.approx(expected.pvalue)


def test_six_gained_and_none_lost_have_one_chance_in_32() -> None:
    assert sign_flip_p_value([1] * 6) == 2 / 2**6


def test_without_a_difference_there_is_nothing_to_explain() -> None:
    assert sign_flip_p_value([]) == sign_flip_p_value([0, 0]) == 1.0


@given(DIFFERENCES, st.randoms(use_true_random=False))
def test_neither_order_nor_direction_matters(differences: list[int], order) -> None:
    shuffled = [-value for value in order.sample(differences, len(differences))]
    assert sign_flip_p_value(shuffled) == sign_flip_p_value(differences)


@given(DIFFERENCES, st.integers(2, 9))
def test_the_unit_does_not_matter(differences: list[int], unit: int) -> None:
    scaled = [unit * value for value in differences]
    assert sign_flip_p_value(scaled) == sign_flip_p_value(differences)


@given(DIFFERENCES)
def test_a_gain_in_the_same_direction_never_makes_chance_likelier(differences: list[int]) -> None:
    total = sum(differences)
    more = [*differences, 5 if total >= 0 else -5]
    assert sign_flip_p_value(more) <= sign_flip_p_value(differences)


def test_a_whole_benchmark_with_sixteen_samples_a_question_takes_less_than_five_seconds() -> None:
    # As large as the differences can be without one unit: typical ones take a hundredth of this.
    differences = [(-1) ** i * (13 + i % 4) for i in range(1319)]
    start = time.process_time()
    assert 0 < sign_flip_p_value(differences) < 1
    assert time.process_time() - start < 5
