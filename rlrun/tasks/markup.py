"""A text without what only lays it out: LaTeX spacing and fonts, markdown, tags, odd characters.

What stays means the same, to a reader of numbers and to a reader of formulas.
"""

import re
import unicodedata
from collections.abc import Callable
from itertools import chain

_THIN = "\u2009"  # a space that separates thousands where there are thousands

_SIGNS = dict.fromkeys(map(ord, "\u2212\u2013\ufe63\uff0d"), "-")
_VULGAR_FRACTIONS = {
    code: " " + unicodedata.normalize("NFKC", chr(code)).replace("\u2044", "/")
    for code in chain(range(0xBC, 0xBF), range(0x2150, 0x215F))
}
_CHARACTERS = _SIGNS | _VULGAR_FRACTIONS
_SUPERSCRIPTS = dict(
    zip(map(ord, "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b"),
        "0123456789-", strict=True)
)  # fmt: skip

_FONTS = r"\\(?:text(?:bf|it|rm)?|math(?:bf|it|rm)|mbox)(?![A-Za-z])"

_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=[0-9)])[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+",
         lambda power: "^" + power[0].translate(_SUPERSCRIPTS)),
        (r"\\!", ""),
        (r"\\,|[\u00a0\u202f]", _THIN),
        (rf"(?<![0-9.,])[1-9][0-9]{{0,2}}(?:{_THIN}[0-9]{{3}})+(?![0-9])",
         lambda number: number[0].replace(_THIN, "")),
        (r"\\[;:> ()\[\]]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\\(?:left|right|displaystyle|boxed|fbox)(?![A-Za-z])", ""),
        (rf"{_FONTS} *\{{([^{{}}]*)\}}", r"\1"),
        (_FONTS, ""),
        (r"\\([$%#&])", r"\1"),
        (r"</?\|?[A-Za-z_]{1,30}\|?>", " "),  # tags and end-of-text tokens
        (r"(?<![A-Za-z])([A-Za-z)])\*\*(?=[0-9(])", r"\1^"),  # a power, as in x**2
        (r"(?<![0-9])\*\*|\*\*(?![0-9])", " "),  # bold
        (r"(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])", r"\1"),  # italics
        (r"\$", " "),  # of a formula or of money
        (r"[^\S\n]+", " "),
    )
)  # fmt: skip


def without_markup(text: str) -> str:
    """Return `text` without its layout; dollar signs are layout, other currencies are not."""
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.strip()
