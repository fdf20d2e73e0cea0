"""The protocol of an engine: prompts in, completions out, in whatever order they finish."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlrun.types import Completion, Sampling


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What a completion's random numbers are a function of, its position aside."""

    run_seed: int
    step: int
    prompt_id: str
    sample: int


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion, please."""

    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    key: SampleKey


class Interrupted(Exception):
    """Generation was asked to stop; what had finished was yielded before."""


class Engine(Protocol):
    """Something that completes prompts."""

    @property
    def is_pure(self) -> bool:
        """Whether a completion is a function of its request and the policy alone, bit for bit."""
        ...

    def generate(
        self, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (index of the request, completion) as completions finish.

        Asks `should_stop` before each token and raises Interrupted when it says so.
        """
        ...
