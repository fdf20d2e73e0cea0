"""What several samples of a question are worth together: pass@k and the majority's answer."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

from rlrun.evaluation.intervals import critical_value
from rlrun.evaluation.scores import LEVEL, Estimate, Scores, check, estimate_mean

Votes: TypeAlias = Mapping[str, Sequence[tuple[Hashable, bool]]]
"""For each question's id its samples: the canonical answer, None if there is none, and whether
it is right."""


def pass_at(scores: Scores, k: int, level: float = LEVEL) -> Estimate:
    """Return the chance that one of k samples is right, a mean over the questions with k samples.

    1 - C(n - c, k) / C(n, k) for c right of n samples, which is unbiased (Chen et al. 2021,
    "Evaluating large language models trained on code", eq. 1).  Questions with fewer samples are
    not counted in `num_questions` either.  Raises ValueError if no question has k samples.
    """
    check(scores)
    if k < 1:
        raise ValueError(f"pass@{k} is not defined; ask for a k of at least 1")
    counted = [(right, size) for right, size in scores.values() if size >= k]
    if not counted:
        raise ValueError(f"no question has {k} samples for pass@{k}; ask for a smaller k")
    return estimate_mean(
        [1 - math.comb(size - right, k) / math.comb(size, k) for right, size in counted],
        [size / k for _, size in counted],
        num_samples=sum(size for _, size in counted),
        z=critical_value(level),
    )


def majority(votes: Votes, level: float = LEVEL) -> Estimate:
    """Return the share of questions whose most frequent answer is right: maj@k for k votes each.

    A tie counts as the share of tied answers that are right.  A sample without an answer has no
    vote; a question without a vote counts as wrong.  Raises ValueError if there is no question, or
    if an answer is both right and wrong.
    """
    if not votes:
        raise ValueError("there is no question to vote on; evaluate at least one")
    shares = [_majority_share(question, samples) for question, samples in votes.items()]
    num_samples = sum(map(len, votes.values()))
    one_each = [1.0] * len(shares)  # however many vote, a question has one outcome
    return estimate_mean(shares, one_each, num_samples=num_samples, z=critical_value(level))


def _majority_share(question: str, samples: Sequence[tuple[Hashable, bool]]) -> float:
    counts = Counter(answer for answer, _ in samples if answer is not None)
    if not counts:
        return 0.0
    verdicts = dict(samples)
    for answer, is_right in samples:
        if answer is not None and verdicts[answer] != is_right:
            raise ValueError(
                f"answer {answer!r} to question {question!r} is both right and wrong; "
                "score its samples again"
            )
    most = max(counts.values())
    tied = [answer for answer, count in counts.items() if count == most]
    return sum(verdicts[answer] for answer in tied) / len(tied)
