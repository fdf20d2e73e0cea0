"""What an evaluation can find before it is run: the smallest difference, and the questions needed.

The discordance is the mean square of a question's difference between the two steps: with one
sample a question, the share of questions that change sides.  After a first comparison it is known
(`Comparison.discordance`); before, `expected_discordance` says what is assumed.
"""

import math
from statistics import NormalDist

from rlrun.evaluation.intervals import critical_value
from rlrun.evaluation.roots import crossing
from rlrun.evaluation.scores import LEVEL

POWER = 0.8


def expected_discordance(num_samples: int, single: float = 0.2, noise_share: float = 0.5) -> float:
    """Return the discordance with `num_samples` samples a question at each step.

    `single` is that with one sample.  Of it `noise_share` comes from sampling and shrinks as
    1 / num_samples; the rest are questions that became easier or harder, and stays.  The defaults
    are assumptions: two steps with an accuracy of 0.7 whose verdicts have a correlation of 0.5,
    the middle of what Miller (2024, "Adding error bars to evals") reports of models; and half.
    """
    return single * (noise_share / num_samples + 1 - noise_share)


def smallest_difference(
    num_questions: int,
    discordance: float,
    *,
    num_samples: int = 1,
    num_comparisons: int = 1,
    power: float = POWER,
    level: float = LEVEL,
) -> float | None:
    """Return the smallest difference in accuracy found with this power, or None if not even 1 is.

    The d that solves d sqrt(n) = z_alpha sqrt(psi) + z_beta sqrt(psi - d^2), for n questions and
    discordance psi (Connor 1987, "Sample size for testing differences in proportions for the
    paired-sample design", after Miettinen 1968); two-sided, alpha divided by the comparisons.
    The exact test rejects a little less often than the formula has it.
    """
    z_alpha, z_beta = critical_value(level, num_comparisons), NormalDist().inv_cdf(power)

    def lack(difference: float) -> float:
        psi = _possible(discordance, difference, num_samples)
        return _distance(psi, difference, z_alpha, z_beta) - difference * math.sqrt(num_questions)

    return None if lack(1.0) > 0 else crossing(lack, 0.0, 1.0)


def questions_needed(
    difference: float,
    discordance: float,
    *,
    num_samples: int = 1,
    num_comparisons: int = 1,
    power: float = POWER,
    level: float = LEVEL,
) -> int:
    """Return how many questions `smallest_difference` needs to come down to `difference`.

    Raises ValueError unless 0 < difference <= 1.
    """
    if not 0 < difference <= 1:
        raise ValueError(
            f"no number of questions finds a difference of {difference}; ask in (0, 1]"
        )
    z_alpha, z_beta = critical_value(level, num_comparisons), NormalDist().inv_cdf(power)
    psi = _possible(discordance, difference, num_samples)
    return math.ceil((_distance(psi, difference, z_alpha, z_beta) / difference) ** 2)


def _distance(psi: float, difference: float, z_alpha: float, z_beta: float) -> float:
    """Return how far from zero a sum must be expected, in units of sqrt(n)."""
    return z_alpha * math.sqrt(psi) + z_beta * math.sqrt(psi - difference * difference)


def _possible(discordance: float, difference: float, num_samples: int) -> float:
    """Return the discordance, or the least that goes with so large a difference.

    Differences are multiples of 1 / num_samples, so their mean square is no less than their mean
    divided by num_samples; nor is it less than the square of their mean.
    """
    return max(discordance, difference / num_samples, difference * difference)
