"""Where a model comes from: a built-in name, a folder, a GGUF file or a hub id.

Standard library only, but for hub ids: every engine's environment finds the same files.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlrun
from rlrun.errors import ConfigError

BUILTIN_MODELS: dict[str, Path] = {
    "tiny": Path(rlrun.__file__).parent / "policy" / "builtin" / "tiny",
}
"""A name after `builtin:` and the Hugging Face folder that it stands for."""

_BUILTIN_PREFIX = "builtin:"
_TOKENIZER_NAMES = ("token", "vocab", "merges", "special_tokens", "chat_template")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model's files on this machine, and the name that records give it."""

    name: str  # no path of this machine
    folder: Path
    gguf_file: str | None = None

    def weights_hash(self) -> str:
        """Return the SHA-256 over everything but the tokenizer that decides what the model is."""
        return _hash_of(self._files(tokenizer=False))

    def tokenizer_hash(self) -> str:
        """Return the SHA-256 over the tokenizer's files; a GGUF file holds both."""
        return _hash_of(self._files(tokenizer=True))

    def _files(self, *, tokenizer: bool) -> list[Path]:
        if self.gguf_file is not None:
            return [self.folder / self.gguf_file]
        kinds = (".safetensors", ".bin", ".json", ".model", ".jinja", ".txt")
        found = sorted(path for path in self.folder.iterdir() if path.suffix in kinds)
        return [path for path in found if path.name.startswith(_TOKENIZER_NAMES) == tokenizer]


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def find_model(path: str) -> ModelSource:
    """Return the files of a model; a hub id is downloaded, or taken from the hub's cache.

    Raises ConfigError if there is no such model.
    """
    return find_here(path) or _from_hub(path)


def find_here(path: str) -> ModelSource | None:
    """Return the files of a model of this machine; None for a text that can only be a hub id.

    Raises ConfigError if it is meant for this machine and is not there.
    """
    if path.startswith(_BUILTIN_PREFIX):
        return _builtin(path)
    local = Path(path).expanduser()
    if local.suffix == ".gguf":
        if not local.is_file():
            raise ConfigError(f"model.path={path}: there is no such file; give the path to a .gguf")
        return ModelSource(local.name, local.parent.absolute(), local.name)
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise ConfigError(
                f"model.path={path}: the folder has no config.json; give a Hugging Face model "
                "folder"
            )
        return ModelSource(local.absolute().name, local.absolute())
    return None


def _builtin(path: str) -> ModelSource:
    name = path.removeprefix(_BUILTIN_PREFIX)
    if name not in BUILTIN_MODELS:
        known = ", ".join(_BUILTIN_PREFIX + known for known in sorted(BUILTIN_MODELS))
        raise ConfigError(f"model.path={path}: there is no such built-in model; there is {known}")
    return ModelSource(path, BUILTIN_MODELS[name])


def _from_hub(path: str) -> ModelSource:
    # What generates has this package; the command line, which never comes here, need not.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return ModelSource(path, Path(snapshot_download(path)))
    except LocalEntryNotFoundError as error:
        raise ConfigError(
            f"model.path={path}: there is no such folder, the hub's cache here does not have it, "
            "and the hub cannot be reached; give a folder, a .gguf file, or builtin:tiny"
        ) from error
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise ConfigError(
            f"model.path={path}: neither a folder here nor a model that the hub gives "
            f"({type(error).__name__}); give a folder, a .gguf file, a hub id or builtin:tiny"
        ) from error


def stop_ids(folder: Path, eos_token_id: int | None) -> frozenset[int]:
    """Return the tokens that end a completion: those of the model's files, and the tokenizer's."""
    named = [_json(folder / name).get("eos_token_id") for name in _GENERATION_FILES]
    listed = next((tokens for tokens in named if tokens is not None), None)
    tokens = listed if isinstance(listed, list) else [listed]
    return frozenset(token for token in [*tokens, eos_token_id] if token is not None)


_GENERATION_FILES = ("generation_config.json", "config.json")


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}
