"""What choosing the best step is worth: chosen on most of the questions, scored on the others."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rlrun.evaluation.scores import Scores
from rlrun.seeds import uniforms

NUM_FOLDS = 10
NUM_REPETITIONS = 100


@dataclass(frozen=True, slots=True)
class Points:
    """The scores of steps on the same questions, in whole points, laid out to be added up fast.

    A question is worth as many points as all numbers of samples divide, so shares are exact.  Bit
    i of plane b is bit b of question i's points: a sum over questions is a few population counts.
    """

    questions: tuple[str, ...]
    points_per_question: int
    planes: Mapping[int, tuple[int, ...]]
    """By step, the earliest first."""

    @classmethod
    def of(cls, steps: Mapping[int, Scores]) -> "Points":
        """Return the points of steps that have the same questions, and samples for each."""
        questions = tuple(sorted(next(iter(steps.values()))))
        unit = math.lcm(*(size for scores in steps.values() for _, size in scores.values()))
        planes = {}
        for step in sorted(steps):
            answers = (steps[step][question] for question in questions)
            planes[step] = _planes([right * unit // size for right, size in answers], unit)
        return cls(questions, unit, planes)

    def of_fold(self, fold: int) -> dict[int, int]:
        """Return each step's points on the questions whose bits are set in `fold`."""
        return {
            step: sum((plane & fold).bit_count() << b for b, plane in enumerate(planes))
            for step, planes in self.planes.items()
        }

    def totals(self) -> dict[int, int]:
        """Return each step's points on all questions."""
        return self.of_fold((1 << len(self.questions)) - 1)

    def best(self) -> int:
        """Return the step with the most points, of equal ones the earliest."""
        totals = self.totals()
        return max(totals, key=totals.__getitem__)


def _planes(points: list[int], most: int) -> tuple[int, ...]:
    last_first = points[::-1]
    return tuple(
        int("".join("1" if value >> b & 1 else "0" for value in last_first), 2)
        for b in range(most.bit_length())
    )


def held_out_accuracy(
    points: Points,
    *,
    seed: int,
    num_folds: int = NUM_FOLDS,
    num_repetitions: int = NUM_REPETITIONS,
) -> float:
    """Return the accuracy of the best step on questions that did not choose it.

    Cross-validation of the choice: the questions are cut into folds; for each fold the step that
    is best on all others is scored on it.  This is repeated with other folds and averaged.

    It estimates, without bias, the expected accuracy on new questions of the step that the same
    rule picks from (1 - 1 / num_folds) as many questions: it rates the way of choosing, and the
    named step only as its outcome.  It is never above the best step's own score; with a single
    step it is that score.  Among steps that are alike its standard error is half as large again as
    that of one step's accuracy.  Raises ValueError if several steps have but one question.
    """
    totals = points.totals()
    num_questions = len(points.questions)
    if len(totals) > 1 and num_questions == 1:
        raise ValueError("one question cannot both choose a step and score it; evaluate more")
    held_out = 0
    for fold in _folds(points.questions, seed, num_folds, num_repetitions):
        here = points.of_fold(fold)
        chosen = max(totals, key=lambda step: totals[step] - here[step])
        held_out += here[chosen]
    return held_out / (num_repetitions * num_questions * points.points_per_question)


def _folds(
    questions: tuple[str, ...], seed: int, num_folds: int, num_repetitions: int
) -> Iterator[int]:
    """Yield folds as sets of bits: in each repetition every question is in one of `num_folds`.

    Questions are dealt out in the order of a hash of their ids, so folds are of one size, give or
    take a question, and the order in which questions come has no part in it.
    """
    draws = [uniforms(seed, "folds", question, count=num_repetitions) for question in questions]
    for repetition in range(num_repetitions):
        order = sorted(range(len(questions)), key=lambda i: draws[i][repetition])
        for first in range(min(num_folds, len(questions))):
            yield sum(1 << i for i in order[first::num_folds])
