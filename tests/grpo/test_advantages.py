"""Advantages: what the groups' invariants are, and a few numbers by hand."""

import doctest
import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlrun.grpo import advantages
from rlrun.grpo.advantages import Scaling, group_advantages, is_uniform

REWARDS = st.lists(st.floats(-10, 10), min_size=2, max_size=16)
SCALINGS: st.SearchStrategy[Scaling] = st.sampled_from(["none", "group_std"])
FLOOR = 1e-4


def deviation(rewards: list[float]) -> float:
    mean = math.fsum(rewards) / len(rewards)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in rewards) / (len(rewards) - 1))


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(advantages) == (0, 2)


def test_the_advantage_is_the_reward_minus_the_mean() -> None:
    assert group_advantages([4.0, 1.0, 1.0], "none") == [2.0, -1.0, -1.0]


def test_scaled_advantages_are_divided_by_the_standard_deviation_of_a_sample() -> None:
    # The deviations are 2, -1, -1: the variance is (4 + 1 + 1) / (3 - 1) = 3.
    scale = math.sqrt(3) + FLOOR
    assert group_advantages([4.0, 1.0, 1.0], "group_std") == [2 / scale, -1 / scale, -1 / scale]


@given(st.floats(-1e6, 1e6), st.integers(1, 16), SCALINGS)
def test_equal_rewards_give_exactly_zero(reward: float, size: int, scaling: Scaling) -> None:
    assert group_advantages([reward] * size, scaling) == [0.0] * size


@given(REWARDS, SCALINGS)
def test_the_advantages_of_a_group_sum_to_zero(rewards: list[float], scaling: Scaling) -> None:
    result = group_advantages(rewards, scaling)
    assert math.fsum(result) == pytest.approx(0, abs=1e-10)


@given(REWARDS, st.floats(-10, 10), SCALINGS)
def test_adding_a_number_to_all_rewards_changes_nothing(
    rewards: list[float], shift: float, scaling: Scaling
) -> None:
    shifted = group_advantages([reward + shift for reward in rewards], scaling)
    assert shifted == pytest.approx(group_advantages(rewards, scaling), abs=1e-9)


@given(REWARDS, st.floats(0.1, 100))
def test_unscaled_advantages_grow_with_the_rewards(rewards: list[float], factor: float) -> None:
    scaled = group_advantages([factor * reward for reward in rewards], "none")
    expected = [factor * value for value in group_advantages(rewards, "none")]
    assert scaled == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(REWARDS, st.floats(1, 100))
def test_scaled_advantages_do_not_depend_on_the_unit_of_the_reward(
    rewards: list[float], factor: float
) -> None:
    spread = deviation(rewards)
    assume(spread > 0.01)
    before = group_advantages(rewards, "group_std")
    after = group_advantages([factor * reward for reward in rewards], "group_std")
    # Only the floor knows the unit: (s + floor) / (s + floor / factor) is between 1 and this.
    largest = 1 + FLOOR / spread
    for small, large in zip(before, after, strict=True):
        assert abs(small) * (1 - 1e-9) - 1e-9 <= abs(large) <= abs(small) * largest + 1e-9


@given(REWARDS)
def test_scaled_advantages_have_a_deviation_just_below_one(rewards: list[float]) -> None:
    spread = deviation(rewards)
    assume(spread > 1e-6)
    scaled = group_advantages(rewards, "group_std")
    assert deviation(scaled) == pytest.approx(spread / (spread + FLOOR), rel=1e-6)


@given(REWARDS, SCALINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter_to_the_bit(
    rewards: list[float], scaling: Scaling, order: random.Random
) -> None:
    places = order.sample(range(len(rewards)), len(rewards))
    result = group_advantages(rewards, scaling)
    permuted = group_advantages([rewards[place] for place in places], scaling)
    assert permuted == [result[place] for place in places]


@given(REWARDS, SCALINGS)
def test_a_higher_reward_never_has_a_lower_advantage(
    rewards: list[float], scaling: Scaling
) -> None:
    by_reward = sorted(zip(rewards, group_advantages(rewards, scaling), strict=True))
    values = [advantage for _, advantage in by_reward]
    assert values == sorted(values)


@given(REWARDS)
def test_a_group_is_uniform_if_it_has_one_value(rewards: list[float]) -> None:
    assert is_uniform(rewards) == (len(set(rewards)) == 1)
