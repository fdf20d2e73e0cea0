"""How a question is put to a model: one encoding for training and for every engine.

The tokenizer is transformers' own object in each case; nothing of it is imported here.
"""

from typing import Any


def encode_question(tokenizer: Any, question: str, instructions: str) -> tuple[int, ...]:
    """Return the token ids of a question, by the chat template where the tokenizer has one."""
    if not tokenizer.chat_template:
        text = f"{instructions}\n{question}" if instructions else question
        return tuple(tokenizer(text)["input_ids"])
    messages = [{"role": "user", "content": question}]
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
