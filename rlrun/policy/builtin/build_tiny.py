"""Build the model `builtin:tiny` from nothing: a character-level Llama and its textbook.

The textbook teaches sums of the arithmetic task's training split; the eval split is in no book.
Its first chapter is right, and in its last chapter most answers hold a mistake that a pupil could
make.  Such a model finds the right answer the most likely one, yet seldom samples it: what
reinforcement learning can undo within a few steps.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from rlrun.tasks.arithmetic import Arithmetic

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
ALPHABET = "\t\n" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
MAX_TOKENS = 2048

NUM_STEPS = 800
BATCH_SIZE = 64
SHARE_FIRST_CHAPTER = 0.75  # of the textbook's lines; all of them are right
SHARE_CORRECT = 0.3  # of the answers after the first chapter
PEAK_LEARNING_RATE = 2e-3
SHARE_WARMUP = 0.1  # of the steps
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0
NUM_THREADS = 1  # fixed, as the order of float additions depends on it
IGNORED = -100  # the label that cross-entropy leaves out

Line = tuple[str, str]
"""A question and the answer printed after it, which may be wrong."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a character; what is not ASCII becomes the unknown token."""
    vocabulary = {token: index for index, token in enumerate((PAD, EOS, UNKNOWN, *ALPHABET))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_untrained_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a freshly drawn Llama of about 0.8 M float32 parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.08,  # with the usual 0.02 addition takes far more steps
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def plausible_mistakes(left: int, right: int) -> tuple[int, ...]:
    """Return wrong answers to a sum, at least one, all different, none negative, in rising order.

    They are a slip by one, a slip by ten (such as a forgotten carry), and the last digits swapped.
    """
    total = left + right
    *rest, tens, units = list(str(total))
    swapped = int("".join((*rest, units, tens)))
    return tuple(sorted({total - 10, total - 1, total + 1, total + 10, swapped} - {total}))


def textbook(num_lines: int, seed: int) -> Iterator[Line]:
    """Return a textbook's lines: a first chapter without mistakes, then one full of them."""
    prompts = Arithmetic().prompts("train")
    draws = random.Random(seed)
    for index in range(num_lines):
        prompt = draws.choice(prompts)
        is_first_chapter = index < SHARE_FIRST_CHAPTER * num_lines
        if is_first_chapter or draws.random() < SHARE_CORRECT:
            yield prompt.question, prompt.answer
        else:
            left, right = map(int, prompt.question.rstrip("=").split("+"))
            yield prompt.question, str(draws.choice(plausible_mistakes(left, right)))


def encode_lines(
    tokenizer: PreTrainedTokenizerFast, lines: Sequence[Line]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels, both `[B, T]`; only the answer and its end are labelled."""
    questions = [tokenizer(question)["input_ids"] for question, _ in lines]
    answers = [tokenizer(answer)["input_ids"] + [tokenizer.eos_token_id] for _, answer in lines]
    rows = [question + answer for question, answer in zip(questions, answers, strict=True)]
    shape = (len(rows), max(map(len, rows)))
    token_ids = torch.full(shape, tokenizer.pad_token_id)
    labels = torch.full(shape, IGNORED)
    for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        token_ids[index, : len(row)] = torch.tensor(row)
        labels[index, len(row) - len(answer) : len(row)] = torch.tensor(answer)
    return token_ids, labels


def teach(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    lines: Iterator[Line],
    num_steps: int,
) -> None:
    """Train the model in place on `num_steps` batches of lines."""
    optimizer = torch.optim.AdamW(
        model.parameters(), PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=num_steps, pct_start=SHARE_WARMUP
    )
    model.train()
    for step in range(1, num_steps + 1):
        token_ids, labels = encode_lines(tokenizer, list(islice(lines, BATCH_SIZE)))
        loss = model(input_ids=token_ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == num_steps:
            sys.stderr.write(f"step {step} of {num_steps}: loss {loss.item():.4f}\n")
    model.eval()


def build(folder: Path, num_steps: int, seed: int) -> None:
    """Write a taught model with its tokenizer to the folder, in Hugging Face's layout.

    Its weights are rounded to bfloat16, which halves the file and is exact to read as float32.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    model = build_untrained_model(tokenizer)
    teach(model, tokenizer, textbook(num_steps * BATCH_SIZE, seed), num_steps)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _name_class_for_every_release(folder / "tokenizer_config.json")


def _name_class_for_every_release(path: Path) -> None:
    """Name the tokenizer's class as transformers 4, which some engines still need, knows it too."""
    settings = json.loads(path.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _count(text: str) -> int:
    """Return a number from 1; argparse shows the error of anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the model that the command line asks for."""
    parser = argparse.ArgumentParser(description="Build the model builtin:tiny from nothing.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="where the model is written")
    parser.add_argument(
        "--steps", type=_count, metavar="N", default=NUM_STEPS, help="optimizer steps to take"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", default=0, help="of the weights and of the textbook"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(NUM_THREADS)
    torch.use_deterministic_algorithms(True)
    build(options.folder, options.steps, options.seed)


if __name__ == "__main__":
    main()
