"""Sums of two two-digit numbers: the smallest task with a verifiable reward, and no download."""

import hashlib
import re
from functools import cache

from rlrun.types import Grade, Prompt, Reward, Split

SMALLEST, LARGEST = 10, 99
EVAL_SHARE = 0.1

_BARE = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


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

    def grade(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Grade:
        """Return the verdict on the whole text, white space around it aside: it is the answer.

        Only a bare number is an answer, written as the gold answers are ("46", not "046" or "46.").
        No mark is asked for, so a text that is the gold answer is correct even if it was cut off
        there; any other that was cut off is truncated: it might have gone on to be the answer.
        """
        answer = completion_text.strip()
        if answer == prompt.answer:
            return Grade("correct", answer)
        if is_truncated:
            return Grade("truncated", None)
        return Grade("wrong", answer) if _BARE.fullmatch(answer) else Grade("no_answer", None)

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        """Return 1 for a correct completion, and 0 for all else."""
        grade = self.grade(prompt, completion_text, is_truncated=is_truncated)
        correct = float(grade.verdict == "correct")
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
