"""A checkpoint's `model/` folder, looked at without an engine: adapter or model, and will it work.

What an engine would take in silence and not apply is refused here: vLLM copies a factor that is too
small into a corner of its own, peft passes over tensors that it does not expect.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlrun.errors import AdapterError

Kind = Literal["adapter", "model"]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_MODEL_CONFIG = "config.json"
_MODEL_SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".jinja", ".txt")
_PREFIX = "base_model.model."
_FACTORS = {"lora_A": "lora_B", "lora_B": "lora_A"}
_ENDS = ("embed_tokens", "lm_head")
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "lora_ga")  # others change the base model too
_WAY_OUT = "merge it into its model, and score the merged folder"

Shapes = Mapping[str, tuple[int, ...]]
"""The tensors of a safetensors file by name."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What there is to know of a PEFT folder."""

    rank: int  # the largest, where modules differ
    alpha: float
    shapes: Shapes


def kind_of(folder: Path) -> Kind:
    """Return what a folder holds; AdapterError if it is neither."""
    if (folder / CONFIG).is_file():
        return "adapter"
    if (folder / _MODEL_CONFIG).is_file():
        return "model"
    raise AdapterError(
        f"{folder} is neither a PEFT adapter ({CONFIG}) nor a Hugging Face model "
        f"({_MODEL_CONFIG}); give a checkpoint's model/ folder"
    )


def hash_of_folder(folder: Path) -> str:
    """Return the SHA-256 over all that decides what an adapter or a model writes.

    Its name does not enter, nor what is only for people to read.
    """
    paths = [folder / CONFIG, folder / WEIGHTS]
    if kind_of(folder) == "model":
        paths = sorted(path for path in folder.iterdir() if path.suffix in _MODEL_SUFFIXES)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0")
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise AdapterError(f"{path} cannot be read ({error.strerror}); save it anew") from error
    return digest.hexdigest()


def read(folder: Path) -> Adapter:
    """Return what a PEFT folder holds; AdapterError, with the reason, if no engine takes it."""
    config = _read_config(folder)
    for reason in _reasons_against(config):
        raise AdapterError(f"{folder} cannot be served: {reason}; {_WAY_OUT}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float):
        raise AdapterError(
            f"{folder / CONFIG} has r={rank!r} and lora_alpha={alpha!r}, which are no rank and no "
            "scaling; save it anew"
        )
    shapes = read_shapes(folder / WEIGHTS)
    _require_pairs(folder, shapes, config.get("target_modules"))
    ranks = (config.get("rank_pattern") or {}).values()
    return Adapter(max([rank, *ranks]), float(alpha), shapes)


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise AdapterError(f"{folder} has no {CONFIG}; give the model/ folder of a checkpoint")
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read ({error}); save it anew") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path} cannot be read (it holds no object); save it anew")
    return config


def _reasons_against(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("peft_type") != "LORA":
        yield f"its type is {config.get('peft_type')}, not LORA"
    if config.get("use_dora"):
        yield "it is a DoRA adapter"
    if config.get("modules_to_save"):
        yield f"it brings whole modules (modules_to_save={config['modules_to_save']})"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        yield "it has biases"
    if config.get("layer_replication"):
        yield "it repeats layers (layer_replication)"
    if config.get("trainable_token_indices"):
        yield "it trains single tokens (trainable_token_indices)"
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower() not in _PLAIN_INITS:
        yield f"it begins with {init}, which changes the base model too"


def read_shapes(path: Path) -> Shapes:
    """Return the shapes in a safetensors file, from its header; AdapterError if it is damaged."""
    if not path.is_file():
        raise AdapterError(f"{path.parent} has no {path.name}; save it as safetensors")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
        tensors = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        shapes = {name: tuple(entry["shape"]) for name, entry in tensors}
        end = max(entry["data_offsets"][1] for _, entry in tensors)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AdapterError(f"{path} is damaged ({error}); save it anew") from error
    if 8 + length + end != path.stat().st_size:
        raise AdapterError(f"{path} is damaged (it has another size than it says); save it anew")
    return shapes


def _require_pairs(folder: Path, shapes: Shapes, targets: object) -> None:
    """Raise AdapterError unless it is two factors for each of some target modules, and no more."""
    for name, shape in shapes.items():
        module, _, factor = name.removesuffix(".weight").rpartition(".")
        last = module.rpartition(".")[2]
        if last in _ENDS:
            raise AdapterError(f"{folder} cannot be served: it trains {last}; {_WAY_OUT}")
        partner = shapes.get(f"{module}.{_FACTORS.get(factor)}.weight", ())
        if len(shape) != 2 or len(partner) != 2:
            raise AdapterError(
                f"{folder} cannot be served: {name} is no factor of a pair; {_WAY_OUT}"
            )
        if isinstance(targets, list) and last not in {text.rpartition(".")[2] for text in targets}:
            raise AdapterError(
                f"{folder} cannot be served: {name} belongs to none of the target_modules in its "
                f"{CONFIG}; save it anew"
            )


def require_fit(adapter: Adapter, folder: Path, model: Path, *, max_rank: int) -> None:
    """Raise AdapterError if an adapter is not of this model, or is larger than the engine allows.

    Where the model's files name none of its modules, the engine is to judge: some models are
    stored under other names than they are used by.
    """
    if adapter.rank > max_rank:
        raise AdapterError(
            f"{folder} has rank {adapter.rank}, and the engine was started for rank {max_rank} at "
            "most; start one for the largest"
        )
    base = model_shapes(model)
    modules = sorted({name.removeprefix(_PREFIX).rsplit(".", 2)[0] for name in adapter.shapes})
    if not any(f"{module}.weight" in base for module in modules):
        return
    for module in modules:
        rows = adapter.shapes[f"{_PREFIX}{module}.lora_B.weight"][0]
        columns = adapter.shapes[f"{_PREFIX}{module}.lora_A.weight"][1]
        there = base.get(f"{module}.weight")
        if there != (rows, columns):
            what = "no such module" if there is None else f"{there} there"
            raise AdapterError(
                f"{folder} is of another model: its {module} is {(rows, columns)}, and the model "
                f"has {what}"
            )


def model_shapes(model: Path) -> Shapes:
    """Return the shapes in a model's safetensors files; none where it has no such files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(model.glob("*.safetensors")):
        shapes |= read_shapes(path)
    return shapes
