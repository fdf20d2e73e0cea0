"""The exact sign-flip test: how often chance alone makes differences add up to as much.

If two steps are alike, each question's difference is as likely to have the other sign.  With one
sample a question the differences are -1, 0 and 1, and this is McNemar's exact test.
"""

import math
from collections.abc import Iterable


def sign_flip_p_value(differences: Iterable[int]) -> float:
    """Return the share of all choices of signs whose sum is as far from zero, or farther.

    Of m differences that are not zero, the subsets to be flipped are counted by their sum, up to
    the sum that leaves the observed one: the coefficients of the product of (1 + x^|d|).  The
    polynomial is one integer with m + 1 bits a coefficient, which none of them can outgrow, so a
    factor costs a shift and an addition.
    """
    signed = [difference for difference in differences if difference]
    if not (observed := abs(sum(signed))):
        return 1.0
    unit = math.gcd(*signed)
    sizes = sorted(abs(difference) // unit for difference in signed)
    most = (sum(sizes) - observed // unit) // 2  # flipping more than this passes zero
    width = len(sizes) + 1
    kept = (1 << width * (most + 1)) - 1
    polynomial = 1
    for size in sizes:
        if size > most:
            break
        polynomial += (polynomial << width * size) & kept
    num_subsets = polynomial % ((1 << width) - 1)  # the sum of the coefficients: 2^width is 1
    return 2 * num_subsets / (1 << len(sizes))
