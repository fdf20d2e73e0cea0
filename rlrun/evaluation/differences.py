"""The interval of a difference between two steps on the same questions: Tango's score interval."""

import math
from collections.abc import Sequence

from rlrun.evaluation.intervals import Interval
from rlrun.evaluation.roots import crossing


def tango_interval(gained: float, lost: float, num_pairs: float, z: float) -> Interval:
    """Return the score interval of `gained` - `lost`, shares of independent pairs (Tango 1998).

    "Equivalence test and confidence interval for the difference in proportions for the paired-
    sample design".  Chosen over Newcombe's (1998, method 10): where one question in a hundred is
    gained and none is lost, that one covers 88 % at 200 questions, and this one 98 %.
    """
    low = _lower_end(gained, lost, num_pairs, z)
    return Interval(low, -_lower_end(lost, gained, num_pairs, z))


def _lower_end(gained: float, lost: float, num_pairs: float, z: float) -> float:
    observed = gained - lost

    def excess(difference: float) -> float:
        """Return how far the observed difference is above what `difference` lets expect."""
        # The likeliest share of lost pairs, if the true difference is this: a quadratic's root.
        linear = (2 - observed) * difference - gained - lost
        constant = lost * difference * (1 - difference)
        likeliest = (math.sqrt(max(0.0, linear**2 + 8 * constant)) - linear) / 4
        variance = max(0.0, 2 * likeliest + difference * (1 - difference)) / num_pairs
        return observed - difference - z * math.sqrt(variance)

    return crossing(excess, -1.0, observed)


def paired_interval(
    before: Sequence[float], after: Sequence[float], max_effective: float, z: float
) -> Interval:
    """Return the interval of the mean of after - before, means in [0, 1] of the same n questions.

    Tango's interval with n / r pairs, at most `max_effective` (Rao and Scott 1992): r is the
    variance of a question's difference as a share of what it is for one sample before and one
    after.  With one sample a question r is 1, and this is Tango's interval to the bit.

    In simulations it covers 93 to 97 % where 95 % is asked, with 30 questions and 16 samples too.
    It covers less, 78 % at worst, if the samples of a question hardly ever differ and a handful of
    whole questions change sides: then the samples say little that one would not.
    """
    pairs = list(zip(before, after, strict=True))
    num_questions = len(pairs)
    gained = math.fsum(right * (1 - was_right) for was_right, right in pairs)
    lost = math.fsum(was_right * (1 - right) for was_right, right in pairs)
    squares = math.fsum((right - was_right) ** 2 for was_right, right in pairs)
    centre = (gained - lost) ** 2 / num_questions
    between, most = squares - centre, gained + lost - centre
    effective = float(num_questions)
    if between < most:
        effective = max_effective
        if between * max_effective > num_questions * most:
            effective = num_questions * (most / between)
    return tango_interval(gained / num_questions, lost / num_questions, effective, z)
