"""Two steps on the same questions: what was gained and lost, how much, and could it be chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlrun.evaluation.differences import paired_interval
from rlrun.evaluation.intervals import Interval, critical_value
from rlrun.evaluation.scores import LEVEL, Scores, check, effective_limit
from rlrun.evaluation.sign_flips import sign_flip_p_value


@dataclass(frozen=True, slots=True)
class Comparison:
    """A step against an earlier one; every compared question is gained, lost, both or neither."""

    difference: float
    """Accuracy after minus accuracy before, on the questions compared."""
    interval: Interval
    p_value: float
    discordance: float
    """Mean square of a question's difference; with one sample, the share that changed sides."""
    gained: tuple[str, ...]
    """Questions with more right samples after than before, in order of their ids."""
    lost: tuple[str, ...]
    num_both: int
    """Questions with as many right samples after as before, and at least one."""
    num_neither: int
    left_out: tuple[str, ...]
    """Questions without as many samples after as before: no exact test takes them."""

    @property
    def num_questions(self) -> int:
        """How many questions were compared."""
        return len(self.gained) + len(self.lost) + self.num_both + self.num_neither


def compare(
    before: Scores, after: Scores, level: float = LEVEL, num_comparisons: int = 1
) -> Comparison:
    """Return how `after` differs from `before`, question by question.

    The p-value is two-sided and exact: of the sign-flip test on the differences in right samples,
    with one sample a question McNemar's.  It is not adjusted: see `holm`; `num_comparisons` widens
    the interval, by Bonferroni.  The interval is a large-sample one: if it leaves out zero while
    the p-value is large, the p-value is right.  Raises ValueError if no question can be compared.
    """
    check(before)
    check(after)
    ids = sorted({*before, *after})
    compared = [i for i in ids if i in before and i in after and before[i][1] == after[i][1]]
    if not compared:
        raise ValueError("no question has as many samples at both steps; evaluate the same plan")
    sizes = [before[i][1] for i in compared]
    changes = {i: after[i][0] - before[i][0] for i in compared}
    differences = [change / size for change, size in zip(changes.values(), sizes, strict=True)]
    same = [before[i][0] for i, change in changes.items() if change == 0]
    return Comparison(
        difference=math.fsum(differences) / len(compared),
        interval=paired_interval(
            [before[i][0] / before[i][1] for i in compared],
            [after[i][0] / after[i][1] for i in compared],
            effective_limit(sizes),
            critical_value(level, num_comparisons),
        ),
        p_value=sign_flip_p_value(changes.values()),
        discordance=math.fsum(value * value for value in differences) / len(compared),
        gained=tuple(i for i, change in changes.items() if change > 0),
        lost=tuple(i for i, change in changes.items() if change < 0),
        num_both=sum(right > 0 for right in same),
        num_neither=sum(right == 0 for right in same),
        left_out=tuple(i for i in ids if i not in changes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for being a family, in their order (Holm 1979).

    The chance that any true null hypothesis has an adjusted p-value of at most q is at most q.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
