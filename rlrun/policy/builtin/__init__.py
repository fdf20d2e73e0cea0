"""Models that come with the package; knows where they are and loads nothing."""

from pathlib import Path

BUILTIN_MODELS: dict[str, Path] = {"tiny": Path(__file__).parent / "tiny"}
"""A name after `builtin:` and the Hugging Face folder that it stands for."""
