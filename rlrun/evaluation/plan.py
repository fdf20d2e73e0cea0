"""The plan of an evaluation: everything that makes two numbers comparable, and its hash."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from rlrun.errors import DamagedError
from rlrun.runs import canonical
from rlrun.seeds import derive_seed
from rlrun.types import Prompt

BASE_STEP = 0
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a plan before an engine runs."""

    dataset: str
    question_ids: tuple[str, ...]
    questions_hash: str  # of everything a question says, its gold answer included
    num_samples: int
    temperature: float
    max_prompt_tokens: int
    max_completion_tokens: int
    seed: int
    engine: str
    engine_version: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Found:
    """What an engine says of itself and its model."""

    prompts_hash: str  # of the questions as the model reads them: template, instructions, tokenizer
    weights_hash: str
    tokenizer_hash: str
    device: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Two numbers are comparable if and only if their plans have one hash."""

    asked: Asked
    found: Found
    model_path: str = field(default="", compare=False)  # of the base; the same may lie elsewhere

    @property
    def hash(self) -> str:
        """The SHA-256 of all of it, in hex."""
        return canonical.sha256_of(self._content())

    @property
    def short(self) -> str:
        """The first characters of the hash, for the names of folders."""
        return self.hash[:_SHORT]

    def _content(self) -> dict[str, Any]:
        return {"asked": asdict(self.asked), "found": asdict(self.found)}

    def to_data(self) -> dict[str, Any]:
        """Return the plan as it is written."""
        return {**self._content(), "model_path": self.model_path, "plan_hash": self.hash}


def from_data(data: Any, where: str) -> Plan:
    """Return a plan that was written; DamagedError if it is none, or not as it was written."""
    try:
        asked = {**data["asked"], "question_ids": tuple(data["asked"]["question_ids"])}
        plan = Plan(Asked(**asked), Found(**data["found"]), data["model_path"])
        is_whole = plan.hash == data["plan_hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(
            f"{where} holds no plan ({error}); move its folder aside, and evaluate again"
        ) from error
    if not is_whole:
        raise DamagedError(
            f"{where} does not match its own plan_hash; move its folder aside, and evaluate again"
        )
    return plan


def choose(
    prompts: Sequence[Prompt], *, share: float | None, max_questions: int | None
) -> tuple[Prompt, ...]:
    """Return the questions to ask, in the order of the data.

    They are the first of an order by hash, so a smaller choice is inside a larger one.
    """
    wanted = len(prompts) if max_questions is None else min(max_questions, len(prompts))
    if share is not None:
        wanted = ceil(share * len(prompts))
    by_hash = sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.id.encode()).digest())
    chosen = {prompt.id for prompt in by_hash[:wanted]}
    return tuple(prompt for prompt in prompts if prompt.id in chosen)


def questions_hash(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of the questions, their gold answers and instructions, in order."""
    return canonical.sha256_of({"prompts": [asdict(prompt) for prompt in prompts]})


def prompts_hash(token_ids: Mapping[str, Sequence[int]]) -> str:
    """Return the SHA-256 of encoded questions, by id."""
    return canonical.sha256_of({name: list(ids) for name, ids in token_ids.items()})


def completion_seed(asked: Asked, question_id: str, sample: int) -> int:
    """Return the seed of a completion: the same whichever step is asked."""
    return derive_seed(asked.seed, "evaluation", question_id, sample)
