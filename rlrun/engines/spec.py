"""What an engine's process is started with, what it says of itself, and what it is asked.

Everything here is plain data that JSON can hold: it crosses between two interpreters.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

EngineName = Literal["vllm", "torch"]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine on one model: what decides its memory and what its completions are."""

    engine: EngineName
    model_path: str  # built-in name, folder, .gguf file, or hub id
    dtype: str
    device: str  # `auto`, `cpu`, `cuda` or `cuda:N`
    max_prompt_tokens: int
    max_completion_tokens: int
    max_rank: int  # the largest rank of an adapter; 0: no adapters
    max_adapters: int  # in use at the same time
    batch_rows: int  # completions at the same time
    num_threads: int | None  # of the CPU; None: the engine's own choice
    gpu_memory_share: float  # of the whole GPU, for weights and cache

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What has been started: what a completion depends on besides its request."""

    engine: EngineName
    version: str  # of the engine's package
    device: str  # `cpu`, or the GPU's name
    versions: Mapping[str, str]  # of the packages that compute, by name
    weights_hash: str
    tokenizer_hash: str
    is_pure: bool  # a completion is a function of its request, bit for bit, whatever else is asked

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One completion, please; greedy at temperature 0, otherwise drawn with `seed` alone."""

    id: str
    adapter: str | None  # the name it was loaded under; None: the base model
    token_ids: tuple[int, ...]
    seed: int
    temperature: float
    max_completion_tokens: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "GenerateRequest":
        """Return the request that was written as `fields`."""
        return cls(**{**fields, "token_ids": tuple(fields["token_ids"])})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no completion: the engine's reason, not the model's mistake."""

    reason: str
