r"""What a text answers: the words that it marks as its answer, or else its last number.

By precedence, whatever the order in the text:

    1. the last complete `\boxed{...}`           a box that was cut off is no box
    2. the last `#### x`, up to the line's end   exactly four hashes
    3. the last "the answer is x", up to the sentence's end
    4. the last number

An empty mark is passed over.  Of several marks of one kind the last one counts, so who corrects
himself is taken at his last word, and who sprays answers has given one.

In a text that was cut off, a line or a sentence that its end cuts is no mark (of "#### 7" nobody
knows whether it was to be 72), and there is no rule 4: what stands last is no result.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from rlrun.tasks.markup import without_markup
from rlrun.tasks.numbers import last_number

_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_HASHES = re.compile(r"(?<!#)####(?!#)(?P<answer>(?:(?!####)[^\n])*)")
_SENTENCE = re.compile(
    r"\bthe\s+(?:(?:final|correct)\s+)?answer\s+is\b\s*:?\s*", re.IGNORECASE | re.ASCII
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
_EDGES = " \t\r\n.*_`\"'"


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer of a text as it is written there."""

    answer: str
    is_marked: bool  # whether the text itself says that this is its answer: rules 1 to 3


def extract(text: str, *, is_truncated: bool = False) -> Extracted | None:
    """Return the answer of `text`, or None if it has none."""
    for answers in (_boxes(text), _hashes(text, is_truncated), _sentences(text, is_truncated)):
        for answer in answers:
            if without_markup(answer).strip(_EDGES):
                return Extracted(answer.strip(), is_marked=True)
    number = None if is_truncated else last_number(text)
    return None if number is None else Extracted(number, is_marked=False)


# Each of these yields what is marked, the last mark first, and no sooner than it is asked for: to
# cut out all that nested boxes hold would take time quadratic in the text.


def _boxes(text: str) -> Iterator[str]:
    """Yield what is in each complete box, its braces matched; the box that opens last is first."""
    opened: list[int | None] = []  # for each open brace, where its box's content starts
    boxes: list[tuple[int, int]] = []
    for token in _BRACES.finditer(text):
        if token["box"] or token["open"]:
            opened.append(token.end() if token["box"] else None)
        elif token["close"] and opened:
            start = opened.pop()
            if start is not None:
                boxes.append((start, token.start()))
    for start, end in sorted(boxes, reverse=True):
        yield text[start:end]


def _hashes(text: str, is_truncated: bool) -> Iterator[str]:
    for mark in reversed(list(_HASHES.finditer(text))):
        if mark.end() < len(text) or not is_truncated:
            yield mark["answer"]


def _sentences(text: str, is_truncated: bool) -> Iterator[str]:
    ends = [end.span() for end in _SENTENCE_END.finditer(text)]
    for mark in reversed(list(_SENTENCE.finditer(text))):
        index = bisect_left(ends, (mark.end(), 0))
        if index < len(ends):
            start, end = ends[index]
            # The full stop that a text is cut at may have been a decimal point.
            is_whole = end < len(text) or text[start] == "\n"
        else:
            start, is_whole = len(text), False
        if is_whole or not is_truncated:
            yield text[mark.end() : start]
