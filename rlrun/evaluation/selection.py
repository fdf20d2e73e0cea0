"""The best of many steps: which it is, what it is worth, and which others it cannot be told from.

The best score of many is partly luck: of twenty equal steps with an accuracy of 0.70, the best on
200 questions has 0.76 on average.  So its score is never given alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rlrun.evaluation.held_out import Points, held_out_accuracy
from rlrun.evaluation.paired import compare, holm
from rlrun.evaluation.scores import LEVEL, Estimate, Scores, accuracy, check


@dataclass(frozen=True, slots=True)
class Best:
    """The step with the highest accuracy on the questions that every step has."""

    step: int
    """Of equal ones the earliest."""
    estimate: Estimate
    """Its accuracy on the questions that chose it: too high, on average.  The interval is one of
    a family that holds for all steps at once, so it holds for whichever is chosen."""
    corrected: float
    """The accuracy to expect on new questions of a step chosen like this: `held_out_accuracy`."""
    p_values: Mapping[int, float]
    """For each of the others that of its comparison with this one, adjusted: see `choose_best`."""
    undecided: tuple[int, ...]
    """The others that cannot be told from it."""
    left_out: tuple[str, ...]
    """Questions that some step does not have."""


def choose_best(steps: Mapping[int, Scores], *, seed: int, level: float = LEVEL) -> Best:
    """Return the best of `steps` on the questions that all of them have.

    The best was chosen by the answers that it is then compared on: each of the m (m - 1) / 2 pairs
    could have been the one in question.  So p-values are multiplied by m / 2 before Holm's method
    is applied to the m - 1 of them.  The chance that any step as good as the named one is missing
    from `undecided` is then at most 1 - level.

    Raises ValueError if there is no step or no common question, a single one for several steps,
    or a step that cannot be compared with the best.
    """
    shared, left_out = _questions(steps)
    table = {step: {i: steps[step][i] for i in shared} for step in sorted(steps)}
    points = Points.of(table)
    best = points.best()
    others = [step for step in table if step != best]
    alone = [compare(table[best], table[step]).p_value for step in others]
    p_values = holm([min(1.0, p_value * len(table) / 2) for p_value in alone])
    return Best(
        step=best,
        estimate=accuracy(table[best], level, num_comparisons=len(table)),
        corrected=held_out_accuracy(points, seed=seed),
        p_values=dict(zip(others, p_values, strict=True)),
        undecided=tuple(s for s, p in zip(others, p_values, strict=True) if p > 1 - level),
        left_out=left_out,
    )


def _questions(steps: Mapping[int, Scores]) -> tuple[list[str], tuple[str, ...]]:
    """Return the questions that all steps have, and those that some have, by id."""
    if not steps:
        raise ValueError("there is no step to choose from; evaluate at least one")
    for scores in steps.values():
        check(scores)
    shared = set.intersection(*(set(scores) for scores in steps.values()))
    if not shared:
        raise ValueError("the steps have no question in common; evaluate them by the same plan")
    return sorted(shared), tuple(sorted(set().union(*steps.values()) - shared))
