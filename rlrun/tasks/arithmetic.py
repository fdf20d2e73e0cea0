"""Sums of two two-digit numbers: the smallest task with a verifiable reward, and no download."""

import hashlib
from functools import cache

from rlrun.types import Prompt, Reward, Split

SMALLEST, LARGEST = 10, 99
EVAL_SHARE = 0.1


class Arithmetic:
    """Questions such as "12+34=" with the answer "46".

    `num_questions` keeps the first that many training questions; the eval split is always whole.
    """

    def __init__(self, num_questions: int | None = None, instructions: str | None = None) -> None:
        self._num_questions = num_questions
        self._instructions = instructions or ""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        """Return every prompt of the split, shuffled once and for all by a hash of the sum."""
        sums = [pair for pair in _shuffled_pairs() if _split_of(*pair) == split]
        kept = sums[: self._num_questions] if split == "train" else sums
        return tuple(self._prompt(split, left, right) for left, right in kept)

    def reward(self, prompt: Prompt, completion_text: str) -> Reward:
        """Return 1 for exactly the answer, white space around it aside, and 0 for all else."""
        correct = float(completion_text.strip() == prompt.answer)
        return Reward(total=correct, parts={"correct": correct})

    def _prompt(self, split: Split, left: int, right: int) -> Prompt:
        return Prompt(
            id=f"arithmetic/{split}/{left}+{right}",
            question=f"{left}+{right}=",
            answer=str(left + right),
            instructions=self._instructions,
        )


@cache
def _shuffled_pairs() -> tuple[tuple[int, int], ...]:
    """Return all ordered pairs, in an order that is the same on every machine."""
    numbers = range(SMALLEST, LARGEST + 1)
    pairs = [(left, right) for left in numbers for right in numbers]
    return tuple(sorted(pairs, key=lambda pair: _digest(f"{pair[0]}+{pair[1]}")))


def _split_of(left: int, right: int) -> Split:
    """Return the split of a sum; both orders of its terms are in the same one, so none leaks."""
    first, second = sorted((left, right))
    draw = int.from_bytes(_digest(f"split {first}+{second}")[:8], "big") / 2**64
    return "eval" if draw < EVAL_SHARE else "train"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
