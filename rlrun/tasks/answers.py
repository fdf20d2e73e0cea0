r"""The one grader of written answers: what a text answers, and whether that is the gold answer.

Rewards and evaluation both ask `is_correct`, so they can never differ.
The answer of a text is, by precedence and whatever the order in the text:

    1. the last complete `\boxed{...}`           a box that was cut off is no box
    2. the last `#### x`, up to the line's end   exactly four hashes
    3. the last "the answer is x", up to the sentence's end
    4. the last number

An empty mark is passed over.  Two answers agree if both are the same number, exactly (fractions,
never floats), or, if neither is a number, the same words.  A number may carry words, a currency, a
unit or a percent sign, which are ignored ("$18.00 a day" is 18, and "50%" is 50); "5 million" and
"10k" are multiplied out.  What says two numbers is none: "1,2", "18 or 20", "1 = 2", "1e5", "3:30".
So neither a hedge nor a chain of equations is ever right.

Every function here takes any string, never raises, and takes time linear in the text.
"""

import re
from fractions import Fraction
from itertools import islice

MAX_NUMBER_CHARS = 100
"""Longer numbers are compared as words: exact arithmetic on them has no bound in time."""

_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip

_MAGNITUDE = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+"
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9])
    (?P<sign>(?<!\))[-+])?
    (?:(?P<whole>[0-9]+)[ ](?=[0-9]+/[0-9]))?     # of a mixed number: 1 1/2
    (?P<top>{_MAGNITUDE})
    (?:[ ]?/[ ]?(?P<bottom>{_MAGNITUDE}))?
    (?:(?P<kilo>k(?![a-z0-9]))|[ ]?(?P<scale>{"|".join(_SCALES)})s?(?![a-z0-9-]))?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# What makes a number part of a formula; before it, = and * are harmless, as in "x = 5".
_OPERATORS = r"0-9\\+<>^_\u00b1\u221a\u2260\u2264\u2265"
_ALGEBRA_BEFORE = re.compile(rf"[{_OPERATORS}]|[-/]\Z")
_ALGEBRA_AFTER = re.compile(rf"[{_OPERATORS}*=]|\A ?(?:[xyzni]|pi|\u03c0)(?![A-Za-z])")

_MINUS_SIGNS = dict.fromkeys(map(ord, "\u2212\u2013\ufe63\uff0d"), "-")
_CURRENCY = "[$\u20ac\u00a3\u00a5\u20b9]"
_CLEANING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[,!]", ""),  # thin spaces, as in 1\,234
        (r"\\[;: ()\[\]]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\\(?:left|right|boxed|text(?:bf|it|rm)?|math(?:bf|it|rm)|mbox)(?![A-Za-z])", ""),
        (r"\\([$%#&])", r"\1"),
        (r"</?\|?[A-Za-z_]{1,30}\|?>", " "),  # tags and end-of-text tokens
        (r"[^\S\n]+", " "),
        (r"(?<=[0-9])(?=\\[cdt]?frac(?![A-Za-z]))", " "),  # 1\frac{1}{2} is not 11/2
        (r"\\[cdt]?frac *\{ *([-+]?[0-9.,]+) *\} *\{ *([0-9.,]+) *\}", r"\1/\2"),
        (r"\^?\{?\\circ(?![A-Za-z])\}?", "\u00b0"),
        (r"([A-Za-z]\}?)\^(?:[0-9]|\{[0-9]\})", r"\1"),  # the power of a unit, as in m^2
        (r"\{,\}", ","),
        (r"[{}]", " "),
        (r"(?<![0-9])\*\*|\*\*(?![0-9])", ""),  # bold
        (rf"(?<![A-Za-z0-9])-{_CURRENCY}", " -"),
        (_CURRENCY, " "),
        (r"(?i)\b(?:minus|negative) +(?=[0-9.])", "-"),
    )
)
_LEADING_MINUS = re.compile(r"\A- +(?=[0-9.])")  # in a longer text this would be a bullet
_EDGES = " \t\r\n.*_`\"'"

_BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_HASHES = re.compile(r"(?<!#)####(?!#)(?P<answer>(?:(?!####)[^\n])*)")
_SENTENCE = re.compile(r"\bthe\s+(?:final\s+)?answer\s+is\b\s*:?\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")


def is_correct(text: str, gold: str) -> bool:
    """Return whether the answer of `text` is `gold`, a bare answer such as "1,080"."""
    answer = extract_answer(text)
    return answer is not None and _canonical(answer) == _canonical(gold)


def extract_answer(text: str) -> str | None:
    """Return the answer of `text` as it is written there, or None if it has none."""
    marked = _marked_answer(text)
    return _last_number(text) if marked is None else marked


def has_marked_answer(text: str) -> bool:
    """Return whether `text` says which of its words are the answer (rules 1 to 3)."""
    return _marked_answer(text) is not None


def read_number(text: str) -> Fraction | None:
    """Return the value of the only number in `text`, or None if there is none or more than one."""
    plain = _LEADING_MINUS.sub("-", _plain(text))
    found = list(islice(_NUMBER.finditer(plain), 2))
    if len(found) != 1:
        return None
    before, after = plain[: found[0].start()], plain[found[0].end() :]
    if _ALGEBRA_BEFORE.search(before) or _ALGEBRA_AFTER.search(after):
        return None
    return _value(found[0])


def _marked_answer(text: str) -> str | None:
    for rule in (_last_box, _last_hashes, _last_sentence):
        answer = rule(text)
        if answer is not None:
            return answer
    return None


def _last_box(text: str) -> str | None:
    """Return what is in the complete box that opens last, its braces matched."""
    opened: list[int | None] = []  # for each open brace, where its box's content starts
    best: tuple[int, int] | None = None
    for token in _BRACES.finditer(text):
        if token["box"] or token["open"]:
            opened.append(token.end() if token["box"] else None)
        elif token["close"] and opened:
            start = opened.pop()
            is_later = start is not None and (best is None or start > best[0])
            if start is not None and is_later and text[start : token.start()].strip():
                best = start, token.start()
    return None if best is None else text[best[0] : best[1]].strip()


def _last_hashes(text: str) -> str | None:
    answers = [found["answer"].strip() for found in _HASHES.finditer(text)]
    return next(filter(_says_something, reversed(answers)), None)


def _last_sentence(text: str) -> str | None:
    for found in reversed(list(_SENTENCE.finditer(text))):
        end = _SENTENCE_END.search(text, found.end())
        answer = text[found.end() : end.start() if end else len(text)].strip()
        if _says_something(answer):
            return answer
    return None


def _last_number(text: str) -> str | None:
    last = None
    for found in _NUMBER.finditer(_plain(text)):
        last = found
    return None if last is None else last[0]


def _canonical(answer: str) -> Fraction | str:
    """Return what two equal answers have in common: their value, or else their words."""
    number = read_number(answer)
    return " ".join(_plain(answer).casefold().split()).strip(_EDGES) if number is None else number


def _says_something(answer: str) -> bool:
    return _plain(answer).strip(_EDGES) != ""


def _plain(text: str) -> str:
    """Return `text` without the LaTeX, markdown and currency that may surround a number."""
    text = text.translate(_MINUS_SIGNS)
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text.strip(_EDGES.replace(".", ""))


def _value(number: re.Match[str]) -> Fraction | None:
    if len(number[0]) > MAX_NUMBER_CHARS:
        return None
    top, bottom = _fraction(number["top"]), _fraction(number["bottom"] or "1")
    if bottom == 0:
        return None
    scale = "thousand" if number["kilo"] else number["scale"]
    value = _fraction(number["whole"] or "0") + top / bottom
    value *= _SCALES[scale.lower()] if scale else 1
    return -value if number["sign"] == "-" else value


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
