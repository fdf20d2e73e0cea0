"""What the samples of one step say: verdicts by question, and the accuracy with its interval."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rlrun.evaluation.intervals import Interval, clustered_interval, critical_value

Scores: TypeAlias = Mapping[str, tuple[int, int]]
"""For each question's id (num_correct, num_samples), of the samples that have a final verdict."""

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number in [0, 1] with its interval, and what it rests on."""

    value: float
    interval: Interval
    num_questions: int
    num_samples: int


def accuracy(scores: Scores, level: float = LEVEL, num_comparisons: int = 1) -> Estimate:
    """Return the mean over questions of the share of right samples.

    With `num_comparisons` the interval is one of so many that hold together (Bonferroni).  Raises
    ValueError if there is no question, or a question without a sample.
    """
    check(scores)
    return estimate_mean(
        [right / size for right, size in scores.values()],
        [size for _, size in scores.values()],
        num_samples=sum(size for _, size in scores.values()),
        z=critical_value(level, num_comparisons),
    )


def check(scores: Scores) -> None:
    """Raise ValueError unless there is a question and each has samples, none right twice."""
    if not scores:
        raise ValueError("there is no question to score; evaluate at least one")
    for question, (right, size) in scores.items():
        if not 0 <= right <= size or size == 0:
            raise ValueError(
                f"question {question!r} has {right} right of {size} samples; "
                "give only questions with a final verdict"
            )


def estimate_mean(
    means: Collection[float], trials: Collection[float], *, num_samples: int, z: float
) -> Estimate:
    """Return the mean of what each question got.

    `trials` are the independent tries that each of `means` is of, at most.
    """
    values = list(means)
    interval = clustered_interval(values, effective_limit(trials), z)
    return Estimate(math.fsum(values) / len(values), interval, len(values), num_samples)


def effective_limit(trials: Collection[float]) -> float:
    """Return how many tries count if those of one question are as good as of several.

    The variance of the mean of means is then p (1 - p) sum(1 / trials) / n^2.
    """
    return len(trials) ** 2 / math.fsum(1 / size for size in trials)
