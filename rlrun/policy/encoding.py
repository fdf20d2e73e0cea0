"""Prompts as the model reads them."""

from collections.abc import Sequence
from typing import Any

from rlrun.engines.chat import encode_question
from rlrun.errors import ConfigError
from rlrun.types import EncodedPrompt, Prompt


def encode_prompts(
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_prompt_tokens: int,
) -> tuple[EncodedPrompt, ...]:
    """Return the prompts with their token ids; ConfigError if some do not fit."""
    encoded = tuple(
        EncodedPrompt(prompt, encode_question(tokenizer, prompt.question, prompt.instructions))
        for prompt in prompts
    )
    too_long = [prompt for prompt in encoded if len(prompt.token_ids) > max_prompt_tokens]
    if too_long:
        longest = max(too_long, key=lambda prompt: len(prompt.token_ids))
        raise ConfigError(
            f"sampling.max_prompt_tokens={max_prompt_tokens}: {len(too_long)} of {len(encoded)} "
            f"prompts are longer; the longest, {longest.prompt.id}, needs {len(longest.token_ids)}"
        )
    return encoded
