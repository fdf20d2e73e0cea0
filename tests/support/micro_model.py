"""A random character model of two layers: training on it means nothing and takes milliseconds.

Run as a script (`python -m support.micro_model FOLDER [HIDDEN]`) it leaves the caller's process
without having computed anything.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

CHARACTERS = "0123456789+-= "


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokens = ["<pad>", "<eos>", *CHARACTERS]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>"
    )


def make_model(seed: int = 0, hidden: int = 32, num_layers: int = 2) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def write(folder: Path, num_layers: int = 2, hidden: int = 32) -> None:
    """Write the model to a folder, in a process that computes on one thread."""
    torch.set_num_threads(1)
    disable_progress_bar()
    make_model(hidden=hidden, num_layers=num_layers).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]), hidden=int(sys.argv[2]) if sys.argv[2:] else 32)
