"""Intervals of a mean: against the textbook, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm
from statsmodels.stats.proportion import proportion_confint

from rlrun.evaluation.intervals import (
    Interval,
    clustered_interval,
    critical_value,
    wilson_interval,
)

Z = critical_value(0.95)
SHARES = st.integers(0, 16).map(lambda right: right / 16)
MEANS = st.lists(SHARES, min_size=1, max_size=30)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def coverage(num_questions: int, truth: float) -> float:
    """Return how often Wilson's interval holds the truth, exactly: every outcome, by its chance."""
    return sum(
        binom.pmf(right, num_questions, truth)
        for right in range(num_questions + 1)
        if holds(wilson_interval(right / num_questions, num_questions, Z), truth)
    )


def clustered_coverage(
    num_questions: int, num_samples: int, truth: float, likeness: float, num_draws: int
) -> float:
    """Return how often the interval holds the truth if questions differ in difficulty.

    Difficulties have a beta distribution in which two samples of a question have the correlation
    `likeness`.
    """
    rng = np.random.default_rng(1)
    shape = 1 / likeness - 1
    size = (num_draws, num_questions)
    difficulties = rng.beta(truth * shape, (1 - truth) * shape, size)
    means = rng.binomial(num_samples, difficulties) / num_samples
    limit = num_questions * num_samples
    return sum(holds(clustered_interval(row, limit, Z), truth) for row in means.tolist()) / len(
        means
    )


def test_the_critical_value_is_that_of_the_normal_distribution() -> None:
    assert critical_value(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert critical_value(0.95, num_comparisons=20) == pytest.approx(norm.ppf(1 - 0.05 / 40))


@pytest.mark.parametrize(("level", "num_comparisons"), [(0.0, 1), (1.0, 1), (95, 1), (0.95, 0)])
def test_a_level_that_is_none_is_refused(level: float, num_comparisons: int) -> None:
    with pytest.raises(ValueError, match="has no critical value"):
        critical_value(level, num_comparisons)


def test_thirty_of_thirty_right_leave_room_below() -> None:
    # At a share of 1 the lower end is n / (n + z^2): 30 / (30 + 3.8415) = 0.8865.
    assert wilson_interval(1.0, 30, Z) == Interval(pytest.approx(0.8865, abs=5e-5), 1.0)


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.999]))
def test_it_is_wilsons_interval(size: int, share: float, level: float) -> None:
    right = round(size * share)
    expected = proportion_confint(right, size, alpha=1 - level, method="wilson")
    interval = wilson_interval(right / size, size, critical_value(level))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("num_questions", "truth", "expected"),
    [
        (50, 0.05, 0.9622),
        (50, 0.5, 0.9351),
        (50, 0.97, 0.9372),
        (200, 0.05, 0.9672),
        (200, 0.5, 0.9440),
        (200, 0.97, 0.9436),
    ],
)
def test_wilsons_interval_holds_the_truth_as_often_as_is_known(
    num_questions: int, truth: float, expected: float
) -> None:
    # Five of six are within 1.5 points of 95 %; 0.9672 is 0.2 points more careful than that.  The
    # number of right answers is whole, so the coverage jumps as the truth moves (see below).  No
    # known relative of Wilson's interval has all six within: the modified one (Brown, Cai and
    # DasGupta 2001) changes none of them, and Agresti and Coull's or a continuity correction has
    # 0.979 or more somewhere.
    assert coverage(num_questions, truth) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("num_questions", [50, 200])
@pytest.mark.parametrize("truth", [0.05, 0.5, 0.97])
def test_around_each_of_these_truths_the_coverage_is_95_percent_on_average(
    num_questions: int, truth: float
) -> None:
    around = [coverage(num_questions, truth + shift / 1000) for shift in range(-10, 11)]
    assert sum(around) / len(around) == pytest.approx(0.95, abs=0.015)


@given(MEANS, st.integers(1, 16))
def test_a_clustered_interval_holds_the_mean_and_stays_within_0_and_1(
    means: list[float], num_samples: int
) -> None:
    interval = clustered_interval(means, len(means) * num_samples, Z)
    assert 0 <= interval.low <= sum(means) / len(means) <= interval.high <= 1
    assert interval.high - interval.low > 0


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=50), st.integers(1, 16))
def test_questions_that_are_all_right_or_all_wrong_count_once(
    means: list[float], num_samples: int
) -> None:
    size = len(means)
    expected = wilson_interval(sum(means) / size, size, Z)
    assert clustered_interval(means, size * num_samples, Z) == expected


def test_the_spread_between_questions_sets_the_number_of_samples() -> None:
    # With the two added, 1/4, 1/4, 3/4, 3/4, 0 and 1 have the mean 1/2 and the variance
    # (4 / 16 + 2 / 4) / 6 = 1/8, which is half of 1/2 (1 - 1/2): four questions count as eight.
    means = [0.25, 0.25, 0.75, 0.75]
    assert clustered_interval(means, 16, Z) == wilson_interval(0.5, 8, Z)


def test_questions_that_are_alike_count_as_all_their_samples_and_no_more() -> None:
    assert clustered_interval([0.5] * 100, 400, Z) == wilson_interval(0.5, 400, Z)


@given(MEANS, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_does_not_matter(means: list[float], order) -> None:
    shuffled = order.sample(means, len(means))
    assert clustered_interval(shuffled, len(means) * 16, Z) == clustered_interval(
        means, len(means) * 16, Z
    )


@given(MEANS)
def test_right_and_wrong_exchanged_mirror_the_interval(means: list[float]) -> None:
    limit = len(means) * 16
    interval = clustered_interval(means, limit, Z)
    mirrored = clustered_interval([1 - mean for mean in means], limit, Z)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(
        (interval.low, interval.high), abs=1e-12
    )


@given(MEANS, st.floats(0.5, 0.99), st.floats(0.001, 0.009))
def test_more_confidence_is_never_a_narrower_interval(
    means: list[float], level: float, more: float
) -> None:
    narrow = clustered_interval(means, len(means) * 4, critical_value(level))
    wide = clustered_interval(means, len(means) * 4, critical_value(level + more))
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high


@pytest.mark.parametrize("num_questions", [50, 200])
@pytest.mark.parametrize("truth", [0.05, 0.5, 0.97])
def test_with_several_samples_a_question_the_truth_is_held_as_often(
    num_questions: int, truth: float
) -> None:
    # Near 0 and 1 the two added questions make 50 questions up to 2 points too careful; without
    # them the coverage is 0.90 at 50 questions and 0.97.
    most = 0.975 if num_questions == 50 and truth != 0.5 else 0.965
    share = clustered_coverage(num_questions, 4, truth, likeness=0.6, num_draws=4000)
    assert 0.935 <= share <= most


def test_many_samples_of_few_questions_near_1_are_no_reason_for_confidence() -> None:
    assert clustered_coverage(30, 16, 0.97, likeness=0.7, num_draws=4000) >= 0.95
