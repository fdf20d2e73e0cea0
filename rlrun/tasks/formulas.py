r"""Answers that are formulas: when a text is one, and which pairs are fit for the checker.

The checker (math-verify in a process of its own) calls some pairs equal that are not, and some
keep it busy for ever.  Those are decided here, before it is asked, and they are wrong:

    a number in another base (`110_2`), unless it is written in the same way
    a chain of equations (`1 = 2 = 3 = 4`), whatever its last side is
    as many equations as the gold answer has not (`2, 1` for `x = 1, y = 2`)
    powers of powers of numbers, huge exponents and factorials, what is long or deeply nested
    prose
"""

import re

from rlrun.tasks.markup import without_markup

MAX_FORMULA_CHARS = 300
MAX_NESTING = 20

_WORD = re.compile(
    r"(?<![\\A-Za-z0-9])"
    r"(?!(?:and|sin|cos|tan|cot|sec|csc|log|exp|sqrt|arcsin|arccos|arctan|min|max|gcd|lcm|mod|det)"
    r"(?![A-Za-z]))[A-Za-z]{3,}"
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end|operatorname) ?\{[A-Za-z]{1,20}\*?\}")
_UNIT = re.compile(r"(?<=[^\s\\])\s*\\(?:text|textrm|mathrm|mbox)\s*\{[^{}]*\}[\s.]*\Z")

_FEATURES = re.compile(
    r"""
    \\[A-Za-z]
    | [\^=<>|\u00b1\u221a\u2260\u2264\u2265\u221e\u03c0\u00d7\u00f7]
    | [A-Za-z0-9)]_[A-Za-z0-9{]
    | [A-Za-z0-9)]\ ?[+*]\ ?[A-Za-z0-9(\\]
    | [0-9)]\ ?[-/]\ ?[a-z](?![A-Za-z])
    | (?<![A-Za-z])[a-z]\ ?[-/]\ ?(?:[0-9(]|[a-z](?![A-Za-z]))
    | (?:(?<![A-Za-z])[A-Za-z]|sin|cos|tan|log|ln|exp|sqrt)\(
    | [(\[{]\ ?[-0-9.]
    | [0-9]\ ?[a-z](?![A-Za-z']|\.[A-Za-z])
    | [0-9]!
    | [0-9]\ ?[,;]\ ?-?[0-9.]
    """,
    re.VERBOSE,
)

_WRITTEN_ALIKE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[cdt]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac ?([0-9]) ?([0-9])(?![0-9])", r"\\frac{\1}{\2}"),
        (r"\\sqrt ?([0-9A-Za-z])(?![0-9A-Za-z])", r"\\sqrt{\1}"),
        (r"([_^]) ?(-?[0-9]+|[A-Za-z])", r"\1{\2}"),
        (r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])", ""),
        (r"\s+", " "),
    )
)

_EQUALS = re.compile(r"(?<![<>!:\\=])=(?!=)")
_NAME_BEFORE = re.compile(r"\A[A-Za-z\\](?:[_^] ?\{?-?[0-9](?![0-9])\}?|[^=0-9])*+=")  # f^{-1}(x) =
_BASE = re.compile(r"[0-9)}]\s*_\s*\{?\s*[0-9]")
_LARGE = re.compile(
    r"\^\s*\{?\s*-?[0-9]{5}"  # an exponent of five digits
    r"|\^\s*[{(]*\s*-?[0-9.]+\s*\^"  # an exponent that is a power of a number
    r"|[0-9]{5}\s*!|!\s*!"
)
_NESTING = re.compile(r"\\.|([({\[])|([)}\]])", re.DOTALL)


def is_formula(text: str) -> bool:
    """Return whether `text`, which is no number, is mathematics and not words."""
    plain = _formula(text)
    return not _is_prose(plain) and _FEATURES.search(plain) is not None


def canonical_formula(text: str) -> str:
    r"""Return `text` in one of the ways in which it could be written: `x^{2}` for `x ^2`.

    Layout goes, and so does a unit behind it.
    """
    plain = _formula(text)
    for pattern, replacement in _WRITTEN_ALIKE:
        plain = pattern.sub(replacement, plain)
    return plain


def pair_for_checker(answer: str, gold: str) -> tuple[str, str] | None:
    """Return what the checker is to compare, or None where the answer is wrong without it.

    Both are given in their canonical form.
    """
    if not (_is_fit(answer) and _is_fit(gold)):
        return None
    num_equations, num_wanted = len(_EQUALS.findall(answer)), len(_EQUALS.findall(gold))
    if num_wanted == 0 and num_equations == 1:
        named = _NAME_BEFORE.match(answer)
        return (answer[named.end() :], gold) if named else None
    if num_equations == num_wanted or (num_equations, num_wanted) == (0, 1):
        return answer, gold
    return None


def _formula(text: str) -> str:
    return without_markup(_UNIT.sub("", text.strip())).strip(" .")


def _is_fit(formula: str) -> bool:
    if not formula or len(formula) > MAX_FORMULA_CHARS:
        return False
    if _is_prose(formula) or _BASE.search(formula) or _LARGE.search(formula):
        return False
    return _is_balanced(formula)


def _is_prose(text: str) -> bool:
    return _WORD.search(_ENVIRONMENT.sub("", text)) is not None


def _is_balanced(formula: str) -> bool:
    """Return whether brackets match in number, kinds aside: (1, 2] is an interval."""
    depth = 0
    for token in _NESTING.finditer(formula):
        depth += bool(token[1]) - bool(token[2])
        if not 0 <= depth <= MAX_NESTING:
            return False
    return depth == 0
