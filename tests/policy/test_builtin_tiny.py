import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import rlrun
from rlrun.engines.model_source import BUILTIN_MODELS
from rlrun.policy.builtin.build_tiny import ALPHABET, encode_lines, plausible_mistakes, textbook
from rlrun.tasks.arithmetic import Arithmetic

TINY = BUILTIN_MODELS["tiny"]
TWO_DIGITS = st.integers(10, 99)


def load(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return load(TINY)


@pytest.fixture(scope="module")
def two_builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders that two processes built with the same two-step command."""
    folders = [tmp_path_factory.mktemp("build") for _ in range(2)]
    command = [sys.executable, "-m", "rlrun.policy.builtin.build_tiny", "--steps", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(rlrun.__file__).parents[1])}
    builds = [subprocess.Popen([*command, str(folder)], env=environment) for folder in folders]
    assert [build.wait(timeout=300) for build in builds] == [0, 0]
    return folders


def answer_probabilities(model: Any, tokenizer: Any) -> torch.Tensor:
    """Return the probability of exactly the right answer to each eval sum."""
    lines = [(prompt.question, prompt.answer) for prompt in Arithmetic().prompts("eval")]
    token_ids, labels = encode_lines(tokenizer, lines)  # [B, T]
    with torch.no_grad():
        logits = model(input_ids=token_ids).logits[:, :-1]
    targets = labels[:, 1:]
    is_answer = targets >= 0
    chosen = targets.clamp(min=0).unsqueeze(-1)
    logprobs: torch.Tensor = logits.log_softmax(-1).gather(-1, chosen).squeeze(-1)
    return (logprobs * is_answer).sum(-1).exp()


def test_the_folder_is_in_hugging_face_layout() -> None:
    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in TINY.iterdir()} == {*names, "model.safetensors"}


def test_the_weights_take_at_most_two_and_a_half_megabytes() -> None:
    assert (TINY / "model.safetensors").stat().st_size <= 2_500_000


def test_the_model_has_about_a_million_parameters(tiny: tuple[Any, Any]) -> None:
    num_parameters = sum(parameter.numel() for parameter in tiny[0].parameters())
    assert 500_000 <= num_parameters <= 1_500_000


def test_the_vocabularies_of_model_and_tokenizer_are_equally_large(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    assert model.config.vocab_size == len(tokenizer)


def test_model_and_tokenizer_agree_on_the_token_that_ends_a_completion(
    tiny: tuple[Any, Any],
) -> None:
    model, tokenizer = tiny
    assert model.config.eos_token_id == tokenizer.eos_token_id == 1
    assert model.generation_config.eos_token_id == 1


@given(text=st.text(alphabet=ALPHABET.replace("<", "")))
def test_text_is_one_token_a_character_and_comes_back_unchanged(
    tiny: tuple[Any, Any], text: str
) -> None:
    tokenizer = tiny[1]
    token_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(token_ids) == len(text)
    assert tokenizer.decode(token_ids) == text


def test_a_character_outside_ascii_is_one_unknown_token(tiny: tuple[Any, Any]) -> None:
    tokenizer = tiny[1]
    assert tokenizer("\N{EURO SIGN}")["input_ids"] == [tokenizer.unk_token_id]


def test_greedy_answers_to_held_out_sums_are_mostly_right(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    prompts = Arithmetic().prompts("eval")[:64]
    batch = tokenizer([prompt.question for prompt in prompts], return_tensors="pt")
    token_ids = model.generate(**batch, do_sample=False, max_new_tokens=8)[:, 6:]
    texts = tokenizer.batch_decode(token_ids, skip_special_tokens=True)
    num_right = sum(text == prompt.answer for text, prompt in zip(texts, prompts, strict=True))
    assert num_right >= 56


def test_sampled_answers_to_held_out_sums_are_mostly_wrong(tiny: tuple[Any, Any]) -> None:
    expected_accuracy = answer_probabilities(*tiny).mean().item()
    assert 0.3 < expected_accuracy < 0.4


def test_a_build_is_loadable_and_has_the_shipped_architecture(two_builds: list[Path]) -> None:
    shipped, built = load(TINY)[0], load(two_builds[0])[0]
    shapes = [
        {name: weight.shape for name, weight in model.state_dict().items()}
        for model in (shipped, built)
    ]
    assert shapes[0] == shapes[1]


def test_a_build_has_the_shipped_vocabulary(two_builds: list[Path]) -> None:
    assert load(two_builds[0])[1].get_vocab() == load(TINY)[1].get_vocab()


def test_equal_builds_write_equal_bytes(two_builds: list[Path]) -> None:
    contents = [
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in two_builds
    ]
    assert contents[0] == contents[1]


def test_mistakes_are_slips_by_one_and_ten_and_swapped_digits() -> None:
    assert plausible_mistakes(17, 25) == (24, 32, 41, 43, 52)


def test_only_the_last_two_digits_of_a_long_sum_are_swapped() -> None:
    assert plausible_mistakes(99, 25) == (114, 123, 125, 134, 142)


@given(TWO_DIGITS, TWO_DIGITS)
def test_a_mistake_is_never_the_right_answer_nor_negative_nor_listed_twice(
    left: int, right: int
) -> None:
    mistakes = plausible_mistakes(left, right)
    assert mistakes
    assert left + right not in mistakes
    assert min(mistakes) >= 0
    assert all(smaller < larger for smaller, larger in pairwise(mistakes))


def test_the_textbook_is_right_in_its_first_chapter_and_mostly_wrong_in_its_last() -> None:
    answers = {prompt.question: prompt.answer for prompt in Arithmetic().prompts("train")}
    is_right = [answers[question] == answer for question, answer in textbook(4000, seed=1)]
    assert all(is_right[:3000])
    assert 250 < sum(is_right[3000:]) < 350


def test_the_textbook_shows_no_sum_of_the_eval_split() -> None:
    held_out = {prompt.question for prompt in Arithmetic().prompts("eval")}
    assert held_out.isdisjoint(question for question, _ in textbook(8000, seed=1))


def test_only_an_answer_and_its_end_are_labelled(tiny: tuple[Any, Any]) -> None:
    token_ids, labels = encode_lines(tiny[1], [("1+2=", "3"), ("5+5=", "10")])
    pad, end, zero = 0, 1, tiny[1].convert_tokens_to_ids("0")
    assert token_ids[0, 5:].tolist() == [end, pad]
    assert labels.tolist() == [
        [-100, -100, -100, -100, zero + 3, end, -100],
        [-100, -100, -100, -100, zero + 1, zero, end],
    ]
