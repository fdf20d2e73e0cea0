"""Completions of small random models, and the ways to deal the same requests into batches."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from rlrun.engines.protocol import SampleKey, SampleRequest
from rlrun.policy import attention
from rlrun.rollouts.torch_engine import TorchEngine
from rlrun.types import Completion, Sampling
from support.micro_model import make_model, make_tokenizer

EOS = 1
MAX_COMPLETION_TOKENS = 8
SAMPLING = Sampling(1.0, 1.0, 0, MAX_COMPLETION_TOKENS)


def never() -> bool:
    return False


def make_requests(
    max_prompt_tokens: int, sampling: Sampling = SAMPLING, samples: int = 4
) -> list[SampleRequest]:
    """Return samples of six prompts, from one token to as many as there may be."""
    draws = random.Random(max_prompt_tokens)
    longest = max_prompt_tokens
    lengths = (1, 2, longest // 3, longest // 2, longest - 1, longest)
    prompts = [tuple(draws.randrange(2, 16) for _ in range(length)) for length in lengths]
    return [
        SampleRequest(prompt, sampling, SampleKey(7, 1, f"prompt {place}", sample))
        for place, prompt in enumerate(prompts)
        for sample in range(samples)
    ]


def engine_of(
    model: Any, *, num_rows: int = 8, max_prompt_tokens: int = 12, stop_ids: Sequence[int] = (EOS,)
) -> TorchEngine:
    return TorchEngine(
        model,
        make_tokenizer(),
        stop_ids=frozenset(stop_ids),
        num_rows=num_rows,
        max_prompt_tokens=max_prompt_tokens,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
    )


def complete(engine: TorchEngine, requests: Sequence[SampleRequest]) -> list[Completion]:
    """Return the completions in the order of the requests; each must come exactly once."""
    pairs = list(engine.generate(requests, never))
    assert sorted(index for index, _ in pairs) == list(range(len(requests)))
    return [completion for _, completion in sorted(pairs, key=lambda pair: pair[0])]


def plain_model(hidden: int = 32) -> Any:
    attention.register()
    model = make_model(hidden=hidden)
    model.set_attn_implementation(attention.NAME)
    return model


def random_partitions(size: int, count: int, seed: int) -> Iterator[list[list[int]]]:
    """Yield ways to deal the numbers below `size` into non-empty parts, each in some order."""
    draws = random.Random(seed)
    for _ in range(count):
        order = draws.sample(range(size), size)
        cuts = sorted(draws.sample(range(1, size), draws.randrange(size // 3)))
        starts, ends = [0, *cuts], [*cuts, size]
        yield [order[start:end] for start, end in zip(starts, ends, strict=True)]
