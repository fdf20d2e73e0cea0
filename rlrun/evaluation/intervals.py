"""Confidence intervals of the mean over questions: Wilson's score interval, questions as clusters.

Two samples of one question are not two questions: an easy question is easy both times.  So what
counts is an effective number of samples, between the number of questions and that of all samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a number lies, at a confidence level stated elsewhere."""

    low: float
    high: float


def critical_value(level: float, num_comparisons: int = 1) -> float:
    """Return the two-sided normal quantile, by Bonferroni if there are several comparisons.

    Raises ValueError unless 0 < level < 1 and there is a comparison.
    """
    if not 0 < level < 1 or num_comparisons < 1:
        raise ValueError(
            f"level {level} of {num_comparisons} comparisons has no critical value; "
            "give a level between 0 and 1 and at least one comparison"
        )
    return -NormalDist().inv_cdf((1 - level) / (2 * num_comparisons))


def wilson_interval(share: float, num_samples: float, z: float) -> Interval:
    """Return the score interval (Wilson 1927) of a share in [0, 1] of independent samples.

    `num_samples` is positive and need not be whole.
    """
    scale = 1 + z * z / num_samples
    centre = (share + z * z / (2 * num_samples)) / scale
    variance = share * (1 - share) / num_samples + z * z / (4 * num_samples**2)
    half = z * math.sqrt(variance) / scale
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def clustered_interval(means: Sequence[float], max_effective: float, z: float) -> Interval:
    """Return Wilson's interval of the mean of `means`, one in [0, 1] for each of n questions.

    The number of samples in it is n / r, at most `max_effective` (Rao and Scott 1992, "A simple
    method for the analysis of clustered binary data"): r is the variance between questions as a
    share of p (1 - p), what it would be were each question all right or all wrong.  So with one
    sample a question r is 1, and this is Wilson's interval to the bit.

    A variance that few questions show is estimated too low: near 0 and 1 the plain ratio covers
    as little as 85 % where 95 % is asked.  Therefore r is taken over two questions more, one all
    right and one all wrong (Laplace's rule of succession), which leaves nothing for Student's
    quantile to make up; with all samples right, r is 1 again.
    """
    num_questions, total = len(means), math.fsum(means)
    centre = (total + 1) ** 2 / (num_questions + 2)
    between = math.fsum(mean * mean for mean in means) + 1 - centre
    most = total + 1 - centre
    effective = min(num_questions * (most / between), max_effective)
    return wilson_interval(total / num_questions, effective, z)
