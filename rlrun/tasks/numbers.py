r"""What a written answer is as a number, exactly: fractions, never floats.

    72   1,080   -5   18.50   3/4   \frac{3}{4}   1 3/4   1.2e5   1.2 \times 10^5   5 million   10k

A number may carry words, a currency, a unit or a percent sign, which say nothing here ("$18.00 a
day" is 18, and "50%" is 50, not 0.5), or follow an equals sign, as in "x = 18".  What is more than
one number is none: "18 or 20", "1 = 2", "5 + 13 = 18", "3:30".  So neither a hedge nor a chain of
equations is ever right.  Nor is a formula a number: "2x", "\sqrt{18}", "110_2", "5!", "> 18".

Two things could be read in two ways.  A comma separates thousands where it can, and lists
elsewhere: "0,5" is two numbers, as pairs are more common in answers than decimal commas.  And
"1.2e5" is 120000: powers of ten are the one operation that is carried out.
"""

import re
from fractions import Fraction
from itertools import islice

from rlrun.tasks.markup import without_markup

MAX_NUMBER_CHARS = 100
"""Longer numbers are compared as words: exact arithmetic on them has no bound in time."""

_SCALES = {
    "k": 10**3, "m": 10**6, "b": 10**9, "hundred": 10**2,
    "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip

_MAGNITUDE = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+"
_TIMES = r"[ ]?(?:\\times|\\cdot|[*x\u00d7\u00b7])[ ]?"
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9])
    (?P<sign>(?<!\))[-+])?
    (?:
        (?:(?P<mantissa>{_MAGNITUDE}){_TIMES})?10[ ]?\^[ ]?(?P<power>[-+]?[0-9]{{1,3}})(?![0-9])
    |
        (?P<base>{_MAGNITUDE})e(?P<exponent>[-+]?[0-9]{{1,3}})(?![A-Za-z0-9]|\.[0-9])
    |
        (?:(?P<whole>[0-9]+)[ ](?=[0-9]+/[0-9]))?     # of a mixed number: 1 1/2
        (?P<top>{_MAGNITUDE})
        (?:[ ]?/[ ]?(?P<bottom>[-+]?(?:{_MAGNITUDE})))?
        (?:
            (?P<suffix>[kK]|(?-i:[MB]))(?![A-Za-z0-9])
        |
            [ ]?(?P<scale>hundred|thousand|million|billion|trillion)s?(?![A-Za-z0-9-])
        )?
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

# What makes a number part of a formula; before it, = and * are harmless, as in "x = 5".  A letter
# after it is a variable unless it is a unit ("5 m", "5C") or a word ("5 a day", "5 p.m.").
_OPERATORS = r"0-9\\+<>^_|\u00b1\u221a\u2260\u2264\u2265"
_VARIABLE = r"(?:[befijnopqruvwxyz]|pi|\u03c0)(?![A-Za-z']|\.[A-Za-z])"
_FORMULA_BEFORE = re.compile(rf"[{_OPERATORS}]|!=|[-/] *[(\[]* *\Z|(?i:\bnot\b|n't\b)")
_FORMULA_AFTER = re.compile(
    rf"[{_OPERATORS}*=]|\A!|\A ?/? ?\(?{_VARIABLE}|\A[atDEG-IO-UXYZ](?![A-Za-z'])"
)

_FRACTION_PART = r"(?:\{ *([-+]?[0-9.,]+) *\}|([0-9]))"
_OTHER_CURRENCIES = "[\u20ac\u00a3\u00a5\u20b9\u00a2]"
_CLEANING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=[0-9])(?=\\[cdt]?frac(?![A-Za-z]))", " "),  # 1\frac{1}{2} is not 11/2
        (rf"\\[cdt]?frac *{_FRACTION_PART} *{_FRACTION_PART}(?! ?[0-9])", r"\1\2/\3\4"),
        (r"\\(?:approx|sim)(?![A-Za-z])", "="),
        (r"\^? ?\{?\\(?:circ|degree)(?![A-Za-z])\}?", "\u00b0"),
        # the power of a unit, as in m^2
        (r"(?:(?<=[A-Za-z][a-z])|(?<=[ 0-9][ms]))\^(?:[23](?![0-9])|\{[23]\})", ""),
        (r"\{,\}", ","),
        (r"[{}]", " "),
        (rf"{_OTHER_CURRENCIES}|\\(?:pounds|euro|yen)(?![A-Za-z])", " "),
        (r"(?i)\b(?:minus|negative) +(?=[0-9.])", "-"),
    )
)
_MONEY_OWED = re.compile(rf"(?<![A-Za-z0-9])-(?:\\?\$|{_OTHER_CURRENCIES})")
_LOOSE_MINUS = re.compile(r"(\A|=) *- +(?=[0-9.])")  # elsewhere this would be a bullet
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)  # what most answers are: no need to look closer
_EDGES = " \t\r\n*_`\"'"


def read_number(text: str) -> Fraction | None:
    """Return the value of the only number in `text`, or None if there is none or more than one."""
    if _INTEGER.fullmatch(text):
        return Fraction(text)
    plain = _LOOSE_MINUS.sub(r"\1-", _plain(text).strip(_EDGES))
    found = list(islice(_NUMBER.finditer(plain), 2))
    if len(found) != 1:
        return None
    before, after = plain[: found[0].start()], plain[found[0].end() :]
    if _FORMULA_BEFORE.search(before) or _FORMULA_AFTER.search(after):
        return None
    return _value(found[0])


def last_number(text: str) -> str | None:
    """Return the last number of `text` as it is written there, its markup aside."""
    last = None
    for found in _NUMBER.finditer(_plain(text)):
        last = found
    return None if last is None else last[0]


def _plain(text: str) -> str:
    text = without_markup(_MONEY_OWED.sub(" -", text))
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text


def _value(number: re.Match[str]) -> Fraction | None:
    if len(number[0]) > MAX_NUMBER_CHARS:
        return None
    exponent = number["power"] or number["exponent"]
    if exponent is not None:
        value = _fraction(number["mantissa"] or number["base"] or "1")
        value *= Fraction(10) ** int(exponent)
    else:
        top, bottom = _fraction(number["top"]), _fraction(number["bottom"] or "1")
        if bottom == 0:
            return None
        value = _fraction(number["whole"] or "0") + top / bottom
        scale = number["suffix"] or number["scale"]
        value *= _SCALES[scale.lower()] if scale else 1
    return -value if number["sign"] == "-" else value


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
