"""Prompts as the model reads them."""

from collections.abc import Sequence
from typing import Any

from rlrun.errors import ConfigError
from rlrun.types import EncodedPrompt, Prompt


def encode_prompts(
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_prompt_tokens: int,
) -> tuple[EncodedPrompt, ...]:
    """Return the prompts with their token ids; ConfigError if some do not fit."""
    encoded = tuple(EncodedPrompt(prompt, _encode(tokenizer, prompt)) for prompt in prompts)
    too_long = [prompt for prompt in encoded if len(prompt.token_ids) > max_prompt_tokens]
    if too_long:
        longest = max(too_long, key=lambda prompt: len(prompt.token_ids))
        raise ConfigError(
            f"sampling.max_prompt_tokens={max_prompt_tokens}: {len(too_long)} of {len(encoded)} "
            f"prompts are longer; the longest, {longest.prompt.id}, needs {len(longest.token_ids)}"
        )
    return encoded


def _encode(tokenizer: Any, prompt: Prompt) -> tuple[int, ...]:
    if not tokenizer.chat_template:
        text = (
            f"{prompt.instructions}\n{prompt.question}" if prompt.instructions else prompt.question
        )
        return tuple(tokenizer(text)["input_ids"])
    messages = [{"role": "user", "content": prompt.question}]
    if prompt.instructions:
        messages.insert(0, {"role": "system", "content": prompt.instructions})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
