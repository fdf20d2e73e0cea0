"""Questions that are in two splits: what was trained on is no test."""

import hashlib
import re
from collections.abc import Sequence

from rlrun.errors import ConfigError, first_few
from rlrun.types import Prompt

_NAMED = 5

# A question is its words, its numbers, and the signs that calculate with a number: other
# punctuation, and how it is spaced, is layout.  So "12+34=" and "12-34=" are two questions.
_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)?|[^\W\d_]+|[^\W_]|[-+*/^<>=](?=\s*[0-9])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


def content_hash(question: str) -> str:
    """Return what questions have in common that differ in case, white space and punctuation."""
    tokens = _TOKEN.findall(_THOUSANDS.sub("", question.casefold()))
    return hashlib.sha256(" ".join(tokens).encode("utf-8", "surrogatepass")).hexdigest()


def require_disjoint(train: Sequence[Prompt], held_out: Sequence[Prompt]) -> None:
    """Raise ConfigError naming the held-out questions that are training questions too."""
    trained: dict[str, str] = {}
    for prompt in train:
        trained.setdefault(content_hash(prompt.question), prompt.id)
    found = [(prompt.id, trained.get(content_hash(prompt.question))) for prompt in held_out]
    pairs = [f"{held} is {known}" for held, known in found if known is not None]
    if pairs:
        raise ConfigError(
            f"{len(pairs)} of {len(held_out)} held-out questions are training questions "
            f"({'; '.join(first_few(pairs, _NAMED))}); remove them from one of the two"
        )
