"""Prompts as token ids: with and without a chat template, and what is too long."""

import pytest
from support.micro_model import CHARACTERS, make_tokenizer
from transformers import PreTrainedTokenizerFast

from rlrun.errors import ConfigError
from rlrun.policy.encoding import encode_prompts
from rlrun.types import Prompt

TEMPLATE = (
    "{% for message in messages %}{{ message['role'][0] }}-{{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}={% endif %}"
)
OFFSET = 2  # the padding and the end come before the characters


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(CHARACTERS.index(character) + OFFSET for character in text)


def encode(
    question: str, instructions: str = "", *, template: str | None = None, limit: int = 50
) -> tuple[int, ...]:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    prompt = Prompt("a", question, "gold", instructions)
    [encoded] = encode_prompts(tokenizer, [prompt], max_prompt_tokens=limit)
    assert encoded.prompt is prompt
    return encoded.token_ids


def test_without_a_template_the_question_is_the_prompt() -> None:
    assert encode("12+3=") == ids_of("12+3=")


def test_without_a_template_instructions_are_the_line_before() -> None:
    unknown = (0,)  # the micro model's alphabet has no line break
    assert encode("1+1=", "0 1 2") == ids_of("0 1 2") + unknown + ids_of("1+1=")


def test_with_a_template_the_question_is_what_the_user_says() -> None:
    [user, *rest] = encode("1+1=", template=TEMPLATE)
    assert user == 0  # the "u" of "user" is not in the alphabet
    assert tuple(rest) == ids_of("-1+1= =")


def test_with_a_template_instructions_are_what_the_system_says_first() -> None:
    assert encode("1", "2", template=TEMPLATE) == (
        0, *ids_of("-2 "), 0, *ids_of("-1 ="),
    )  # fmt: skip


class TokenizerWithStart(PreTrainedTokenizerFast):
    """Puts a token in front of every text that may have special tokens."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = list(ids_of(text))
        return {"input_ids": [1, *ids] if add_special_tokens else ids}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, (1, *ids_of("5"))),
        ("{{ messages[0]['content'] }}", ids_of("5")),  # a template writes its own special tokens
    ],
)
def test_special_tokens_are_added_by_the_tokenizer_or_by_the_template(
    template: str | None, expected: tuple[int, ...]
) -> None:
    tokenizer = TokenizerWithStart(tokenizer_object=make_tokenizer().backend_tokenizer)
    tokenizer.chat_template = template
    [encoded] = encode_prompts(tokenizer, [Prompt("a", "5", "5")], max_prompt_tokens=9)
    assert encoded.token_ids == expected


def test_prompts_keep_their_order() -> None:
    prompts = [Prompt(str(number), str(number), "") for number in (3, 1, 2)]
    encoded = encode_prompts(make_tokenizer(), prompts, max_prompt_tokens=1)
    assert [one.prompt.id for one in encoded] == ["3", "1", "2"]


def test_a_prompt_may_fill_the_limit_exactly() -> None:
    assert len(encode("12345", limit=5)) == 5


def test_prompts_over_the_limit_are_counted_and_the_longest_is_named() -> None:
    prompts = [Prompt(name, "1" * size, "") for name, size in [("a", 2), ("b", 7), ("c", 4)]]
    with pytest.raises(ConfigError) as error:
        encode_prompts(make_tokenizer(), prompts, max_prompt_tokens=3)
    assert str(error.value) == (
        "sampling.max_prompt_tokens=3: 2 of 3 prompts are longer; the longest, b, needs 7"
    )
