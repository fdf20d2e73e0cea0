"""Intervals of a difference: against the likelihood, and how often they hold the truth."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from rlrun.evaluation.differences import paired_interval, tango_interval
from rlrun.evaluation.intervals import Interval, critical_value, wilson_interval

Z = critical_value(0.95)
SHARES = st.integers(0, 4).map(lambda right: right / 4)
PAIRS = st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=30)
TABLES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 60))


@cache
def tango(gained: int, lost: int, num_questions: int) -> Interval:
    return tango_interval(gained / num_questions, lost / num_questions, num_questions, Z)


def newcombe_high(both: int, gained: int, lost: int, neither: int) -> float:
    """Return the upper end of Newcombe's interval (1998, method 10) of gained - lost."""
    size = both + gained + lost + neither
    after, before = both + gained, both + lost
    here, there = (wilson_interval(right / size, size, Z) for right in (after, before))
    product = both * neither - gained * lost
    root = math.sqrt(after * (size - after) * before * (size - before))
    correlation = (max(product - size / 2, 0) if product > 0 else product) / root if root else 0
    up, down = here.high - after / size, before / size - there.low
    return (gained - lost) / size + math.sqrt(up**2 + down**2 - 2 * correlation * up * down)


def coverage(num_questions: int, gained: float, lost: float) -> float:
    """Return how often the interval holds the truth, exactly: every outcome, by its chance."""
    share = 0.0
    for changed in range(num_questions + 1):
        chance = binom.pmf(changed, num_questions, gained + lost)
        if chance > 1e-9:
            ups = binom.pmf(range(changed + 1), changed, gained / (gained + lost))
            for up, chance_of_up in enumerate(ups.tolist()):
                interval = tango(up, changed - up, num_questions)
                if interval.low <= gained - lost <= interval.high:
                    share += chance * chance_of_up
    return share


def cells(before: float, difference: float) -> tuple[float, float]:
    """Return the shares gained and lost if verdicts have a correlation of 1/2."""
    after = before + difference
    spread = math.sqrt(before * (1 - before) * after * (1 - after))
    both = min(before * after + spread / 2, before, after)
    return after - both, before - both


def clustered_coverage(num_questions: int, truth: float, gain: float, num_draws: int) -> float:
    """Return how often the interval holds the truth with four samples a question.

    Half of the chance to be right is the question's (beta distributed); after, each question is
    that share of the way from there to being always right.
    """
    rng = np.random.default_rng(2)
    before = rng.beta(truth, 1 - truth, (num_draws, num_questions))
    rights = [rng.binomial(4, chance) / 4 for chance in (before, before + gain * (1 - before))]
    held = 0
    for first, second in zip(*(right.tolist() for right in rights), strict=True):
        interval = paired_interval(first, second, 4 * num_questions, Z)
        held += interval.low <= gain * (1 - truth) <= interval.high
    return held / num_draws


def score(gained: int, lost: int, size: int, difference: float) -> float:
    """Return the score statistic at a true difference, the likelihood maximised numerically."""

    def minus_log_likelihood(share_lost: float) -> float:
        shares = (share_lost + difference, share_lost, 1 - 2 * share_lost - difference)
        counts = (gained, lost, size - gained - lost)
        return -sum(n * math.log(max(p, 1e-300)) for n, p in zip(counts, shares, strict=True) if n)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    likeliest = minimize_scalar(
        minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}
    ).x
    variance = 2 * likeliest + difference - difference**2
    return (gained - lost - size * difference) / math.sqrt(size * variance)


@pytest.mark.parametrize(("gained", "lost", "size"), [(9, 3, 40), (12, 1, 25), (30, 41, 200)])
def test_at_its_ends_the_score_statistic_is_critical(gained: int, lost: int, size: int) -> None:
    interval = tango(gained, lost, size)
    assert score(gained, lost, size, interval.low) == pytest.approx(Z, abs=1e-5)
    assert score(gained, lost, size, interval.high) == pytest.approx(-Z, abs=1e-5)


def test_without_a_change_the_difference_is_still_not_known_exactly() -> None:
    # Then the equation is n d^2 = z^2 (1 - |d|) |d| at its ends: |d| = z^2 / (n + z^2).
    end = Z**2 / (100 + Z**2)
    interval = tango(0, 0, 100)
    assert (interval.low, interval.high) == pytest.approx((-end, end))


@given(TABLES)
def test_a_single_interval_holds_the_difference_and_stays_within_its_range(table) -> None:
    gained, lost, same = table
    size = gained + lost + same
    interval = tango(gained, lost, size)
    assert -1 <= interval.low <= (gained - lost) / size <= interval.high <= 1


@given(TABLES)
def test_it_leaves_out_zero_if_mcnemars_statistic_is_critical(table) -> None:
    gained, lost, same = table
    interval = tango(gained, lost, gained + lost + same)
    is_critical = abs(gained - lost) > Z * math.sqrt(gained + lost)
    assert is_critical == (not interval.low <= 0 <= interval.high)


@given(PAIRS)
def test_steps_exchanged_mirror_the_interval(pairs) -> None:
    before, after = zip(*pairs, strict=True)
    there = paired_interval(before, after, 4 * len(pairs), Z)
    back = paired_interval(after, before, 4 * len(pairs), Z)
    assert back == Interval(-there.high, -there.low)


@given(PAIRS)
def test_it_holds_the_mean_difference_and_has_a_width(pairs) -> None:
    before, after = zip(*pairs, strict=True)
    interval = paired_interval(before, after, 4 * len(pairs), Z)
    mean = (sum(after) - sum(before)) / len(pairs)
    assert -1 <= interval.low <= mean + 1e-12
    assert mean - 1e-12 <= interval.high <= 1
    assert interval.high - interval.low > 0


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_does_not_matter(pairs, order) -> None:
    first = paired_interval(*zip(*pairs, strict=True), 4 * len(pairs), Z)
    shuffled = order.sample(pairs, len(pairs))
    assert paired_interval(*zip(*shuffled, strict=True), 4 * len(pairs), Z) == first


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 2), min_size=1, max_size=40))
def test_questions_that_are_all_right_or_all_wrong_count_once(pairs) -> None:
    before, after = zip(*pairs, strict=True)
    expected = tango(pairs.count((0.0, 1.0)), pairs.count((1.0, 0.0)), len(pairs))
    assert paired_interval(before, after, 4 * len(pairs), Z) == expected


def test_the_spread_of_differences_sets_the_number_of_pairs() -> None:
    # The differences are 1/2 and -1/2, their variance 1/4.  A sample before and one after differ
    # by chance in half of all cases, so one pair would have the variance 1/2: two count as four.
    assert paired_interval([0.5, 0.5], [1.0, 0.0], 99, Z) == tango_interval(0.25, 0.25, 4, Z)


def test_equal_differences_count_as_all_their_samples_and_no_more() -> None:
    expected = tango_interval(0.25, 0.25, 40, Z)
    assert paired_interval([0.5] * 10, [0.5] * 10, 40, Z) == expected


@pytest.mark.parametrize("num_questions", [50, 200])
@pytest.mark.parametrize("before", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.01])
def test_the_truth_is_held_as_often_as_promised(
    num_questions: int, before: float, difference: float
) -> None:
    gained, lost = cells(before, difference)
    # Where fewer than three questions are expected to change sides, what they can show is so
    # little that any interval which never holds the truth too rarely holds it nearly always.
    num_changed = num_questions * (gained + lost)
    most = 0.999 if num_changed < 3 else 0.965
    assert 0.935 <= coverage(num_questions, gained, lost) <= most


def test_newcombes_interval_would_miss_a_small_gain_too_often() -> None:
    # Of 200 questions 1 % are gained, none lost, half of the others right both times.
    size, share = 200, 0.01
    missed = 0.0
    for gained in range(13):
        right = binom.pmf(range(size - gained + 1), size - gained, 0.5).tolist()
        missed += binom.pmf(gained, size, share) * sum(
            chance
            for both, chance in enumerate(right)
            if newcombe_high(both, gained, 0, size - gained - both) < share
        )
    assert 1 - missed < 0.88
    assert coverage(size, share, 0.0) > 0.98


@pytest.mark.parametrize("num_questions", [50, 200])
@pytest.mark.parametrize("truth", [0.05, 0.5, 0.97])
def test_with_several_samples_a_question_the_truth_is_held_as_often(
    num_questions: int, truth: float
) -> None:
    # Near 0 and 1 most of 50 questions show no difference at all, which makes it too careful.
    most = 0.975 if num_questions == 200 or truth == 0.5 else 0.999
    assert 0.935 <= clustered_coverage(num_questions, truth, 0.1, num_draws=1000) <= most
