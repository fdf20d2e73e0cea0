"""Advantages: a reward relative to the rewards of its group."""

import math
from collections.abc import Sequence
from typing import Literal

Scaling = Literal["none", "group_std"]
_STD_FLOOR = 1e-4


def group_advantages(rewards: Sequence[float], scaling: Scaling) -> list[float]:
    """Return one advantage per reward of a group; equal rewards give exactly zero.

    Reward minus the group's mean (Liu et al. 2025, "Understanding R1-Zero-like training", eq. 4)
    and, with `group_std`, divided by the group's standard deviation (n - 1) plus 1e-4 (Shao et
    al. 2024, "DeepSeekMath", section 4.1.2).

    >>> group_advantages([1.0, 0.0, 0.0, 1.0], "none")
    [0.5, -0.5, -0.5, 0.5]
    >>> group_advantages([0.3, 0.3], "group_std")
    [0.0, 0.0]
    """
    if is_uniform(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if scaling == "none":
        return centred
    variance = math.fsum(value * value for value in centred) / (len(rewards) - 1)
    scale = math.sqrt(variance) + _STD_FLOOR
    return [value / scale for value in centred]


def is_uniform(rewards: Sequence[float]) -> bool:
    """Return whether all rewards are equal: then the group knows no better and no worse."""
    return all(reward == rewards[0] for reward in rewards)
