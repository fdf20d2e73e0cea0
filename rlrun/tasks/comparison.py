"""Whether two formulas are equal: math-verify, and what it takes too lightly looked at again.

Only the checker's process imports this module: math-verify takes seconds to import, and for some
formulas for ever to answer.
"""

from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy.core.relational import Relational

_EXTRACTION = LatexExtractionConfig(
    boxed_match_priority=0,
    normalization_config=NormalizationConfig(
        basic_latex=True,
        units=False,  # they would take the t of 2t for tons
        malformed_operators=True,
        nits=True,
        boxed="last",
    ),
)


def is_equal(answer: str, gold: str) -> bool:
    """Return whether two formulas in LaTeX are equal; what cannot be read is equal to nothing."""
    left, right = _parsed(gold), _parsed(answer)
    if left is None or right is None:
        return False
    if left == right:
        return True
    if not verify(left, right, allow_set_relation_comp=True, timeout_seconds=None):
        return False
    if isinstance(left, Relational) and isinstance(right, Relational):
        return _is_same_relation(left, right)
    if all(isinstance(side, sympy.Expr) and not side.free_symbols for side in (left, right)):
        return _is_same_number(left, right)
    return True


def _parsed(formula: str) -> Any:
    """Return the formula with its decimals as fractions: 0.7071 is not half the root of 2."""
    found = parse(
        rf"\boxed{{{formula}}}",
        [_EXTRACTION],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    if len(found) != 1:
        return None
    decimals = found[0].atoms(sympy.Float)
    exact = {decimal: sympy.Rational(str(decimal)) for decimal in decimals}
    return found[0].xreplace(exact) if exact else found[0]


def _is_same_relation(left: Any, right: Any) -> bool:
    """Return whether two relations are multiples of each other, not only solved by the same.

    By their solutions, x^2 = -1 and x^2 = -2 are one: neither has any.
    """
    ratio = sympy.simplify((left.lhs - left.rhs) / (right.lhs - right.rhs))
    return bool(ratio.is_number and ratio.is_finite and ratio != 0)


def _is_same_number(left: Any, right: Any) -> bool:
    """Return whether two numbers are the same to 15 digits, however small they are.

    By their difference, which is near to 0, 1e-30 is 2e-30.
    """
    left, right = sympy.N(left, 30), sympy.N(right, 30)
    return bool(abs(left - right) <= abs(right) * sympy.Rational(1, 10**15))
