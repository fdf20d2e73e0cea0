"""A model of a GGUF file as a plain Hugging Face folder, for engines that read nothing else."""

from pathlib import Path

from rlrun.policy.model import load_model


def export(path: str, dtype: str, folder: Path) -> None:
    """Write weights, configuration and tokenizer of a model to an empty folder."""
    model, tokenizer, _ = load_model(path, dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
