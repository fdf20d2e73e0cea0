"""Power: the published formula by hand, its inverse, and what the exact test really finds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from rlrun.evaluation.paired import compare
from rlrun.evaluation.power import expected_discordance, questions_needed, smallest_difference
from rlrun.evaluation.sign_flips import sign_flip_p_value

DISCORDANCES = st.floats(0.001, 1)
SIZES = st.integers(30, 5000)
Z_BETA = norm.ppf(0.8)


def exact_power(num_questions: int, discordance: float, difference: float) -> float:
    """Return how often McNemar's exact test rejects at 5 %: every outcome, by its chance."""
    share_gained = (discordance + difference) / (2 * discordance)
    power = 0.0
    for changed in range(num_questions + 1):
        chance = binom.pmf(changed, num_questions, discordance)
        if chance > 1e-6:
            gained = binom.pmf(range(changed + 1), changed, share_gained)
            power += chance * sum(
                gained[ups]
                for ups in range(changed + 1)
                if sign_flip_p_value([1] * ups + [-1] * (changed - ups)) <= 0.05
            )
    return power


def test_connors_formula_by_hand() -> None:
    # (1.95996 * sqrt(0.2) + 0.84162 * sqrt(0.2 - 0.01))^2 / 0.01 = 1.24339^2 / 0.01 = 154.6
    assert questions_needed(0.1, 0.2) == 155
    assert smallest_difference(155, 0.2) == pytest.approx(0.1, abs=2e-4)


def test_several_comparisons_share_the_level() -> None:
    z_alpha = norm.ppf(1 - 0.05 / 40)
    expected = (z_alpha * math.sqrt(0.2) + Z_BETA * math.sqrt(0.2 - 0.01)) ** 2 / 0.01
    assert questions_needed(0.1, 0.2, num_comparisons=20) == math.ceil(expected)


@pytest.mark.parametrize(
    ("num_questions", "discordance"), [(100, 0.2), (200, 0.1), (200, 0.3), (500, 0.1)]
)
def test_the_exact_test_finds_the_difference_nearly_as_often_as_promised(
    num_questions: int, discordance: float
) -> None:
    difference = smallest_difference(num_questions, discordance)
    assert difference is not None
    assert 0.75 <= exact_power(num_questions, discordance, difference) <= 0.8


def test_with_four_samples_a_question_the_difference_is_found_as_often_as_promised() -> None:
    # After, each question is 20 % of the way to being always right: 0.7 becomes 0.76.
    rng = np.random.default_rng(9)
    before = rng.beta(1.4, 0.6, 400_000)
    rights = [rng.binomial(4, chance) for chance in (before, before + 0.2 * (1 - before))]
    discordance = float(np.mean(((rights[1] - rights[0]) / 4) ** 2))
    size = questions_needed(0.06, discordance, num_samples=4)
    num_draws = 1000
    found = 0
    for draw in range(num_draws):
        drawn = slice(draw * size, (draw + 1) * size)
        first, second = (
            {str(i): (right, 4) for i, right in enumerate(step[drawn].tolist())} for step in rights
        )
        found += compare(first, second).p_value <= 0.05
    # The share has a standard deviation of 0.013.
    assert found / num_draws == pytest.approx(0.8, abs=0.04)


@given(SIZES, DISCORDANCES, st.integers(1, 16), st.integers(1, 40))
def test_the_smallest_difference_needs_as_many_questions(
    num_questions: int, discordance: float, num_samples: int, num_comparisons: int
) -> None:
    options = {"num_samples": num_samples, "num_comparisons": num_comparisons}
    difference = smallest_difference(num_questions, discordance, **options)
    assert difference is not None
    needed = questions_needed(difference, discordance, **options)
    assert needed in (num_questions, num_questions + 1)  # the root is known to a double's precision


@given(SIZES, DISCORDANCES)
def test_more_questions_find_a_smaller_difference(size: int, discordance: float) -> None:
    assert smallest_difference(size + 1, discordance) < smallest_difference(size, discordance)


@given(SIZES, DISCORDANCES, st.integers(1, 40))
def test_more_comparisons_more_power_and_more_discordance_cost(
    size: int, discordance: float, num_comparisons: int
) -> None:
    plain = smallest_difference(size, discordance, num_comparisons=num_comparisons)
    assert plain < smallest_difference(size, discordance, num_comparisons=num_comparisons + 1)
    assert plain < smallest_difference(
        size, discordance, num_comparisons=num_comparisons, power=0.9
    )
    assert plain <= smallest_difference(size, 1.1 * discordance, num_comparisons=num_comparisons)


@given(st.floats(0.01, 1))
def test_no_difference_is_larger_than_the_share_that_changes_sides(difference: float) -> None:
    # All changes are then gains: as many are needed as if that were the discordance.
    assert questions_needed(difference, 0.0) == questions_needed(difference, difference)


def test_so_few_questions_find_no_difference_at_all() -> None:
    # Even if all are gained, sqrt(n) must be at least 1.96.
    assert smallest_difference(3, 0.2) is None
    assert smallest_difference(4, 0.2) is not None


@pytest.mark.parametrize("difference", [0.0, -0.1, 1.1])
def test_a_difference_that_cannot_be_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="no number of questions finds a difference"):
        questions_needed(difference, 0.2)


def test_more_samples_shrink_the_part_of_the_discordance_that_is_sampling() -> None:
    assert expected_discordance(1, single=0.2) == 0.2
    assert expected_discordance(4, single=0.2, noise_share=1.0) == pytest.approx(0.05)
    assert expected_discordance(4, single=0.2, noise_share=0.0) == 0.2
    assert expected_discordance(4, single=0.2, noise_share=0.5) == pytest.approx(0.125)
