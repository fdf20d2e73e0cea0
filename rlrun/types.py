"""The nouns of a training step in flow order: what each stage hands to the next.

A type per stage: an unscored group cannot reach the loss, because the types do not allow it.
Nothing here knows torch; token ids are plain integers and log-probabilities plain floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]
"""`stop`: the end-of-sequence token was drawn (it is the last token); `length`: cut off."""

Split = Literal["train", "eval"]

Verdict = Literal["correct", "wrong", "no_answer", "truncated", "checker_timeout", "engine_error"]
"""`truncated`: cut off before it marked an answer; `checker_timeout`: undecided within limits."""

FINAL_VERDICTS: tuple[Verdict, ...] = ("correct", "wrong", "no_answer", "truncated")
"""Those that count in an accuracy; the others say nothing about the model and are tried again."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question of a task.

    Example: `Prompt("gsm8k/train/0", "Natalia sold clips to 48 ...", "72", "Reason step by step.")`
    """

    id: str  # unique in its task, stable across machines
    question: str
    answer: str  # the gold answer, never shown to the model
    instructions: str = ""  # system message, or text before the question without a chat template


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model reads it."""

    prompt: Prompt
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote after a prompt."""

    token_ids: tuple[int, ...]
    text: str
    sampler_logprobs: tuple[float, ...]  # one a token: log p at the sampling temperature, float32
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Grade:
    """What a completion answers, and how that was judged."""

    verdict: Verdict
    answer: str | None  # as it is written in the completion; None if it has none


@dataclass(frozen=True, slots=True)
class Reward:
    """What a completion is worth to its task; `total` is what the advantage is made of."""

    total: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn; equal settings and an equal policy mean equal completions."""

    temperature: float
    top_p: float
    top_k: int  # 0: no limit
    max_completion_tokens: int


@dataclass(frozen=True, slots=True)
class Group:
    """All completions of one prompt under one policy."""

    prompt: EncodedPrompt
    completions: tuple[Completion, ...]  # `group_size` of them, in sample order
    sampling: Sampling
    policy_step: int  # the step whose update made the policy; 0 is the untouched policy


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with a reward for each of its completions."""

    group: Group
    rewards: tuple[Reward, ...]


class Task(Protocol):
    """Prompts, and what a completion is worth: strings in, numbers out.

    `is_truncated` says that the completion was cut off: its finish reason is `length`.
    """

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        """Return every prompt of the split, in an order that never changes."""
        ...

    def grade(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Grade:
        """Return the verdict on one completion; never `engine_error`, which is not a task's."""
        ...

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        """Return the reward of one completion, made of its grade; its parts are always the same.

        Like the grade it is a function of its arguments, the limits of a checker aside.
        """
        ...
