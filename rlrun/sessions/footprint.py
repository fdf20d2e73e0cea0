"""How large a checkpoint will be, from the configuration and the model's shape alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rlrun
from rlrun.config.schema import RunConfig

_BYTES_A_PARAMETER = 12  # float32: the parameter, and AdamW's two moments of it
_BUILTIN = "builtin:"

Shape = Mapping[str, Any]


def estimate(config: RunConfig) -> int | None:
    """Return the bytes of a checkpoint, None if the model's shape is not known here."""
    shape = _shape_of(config.model.path)
    if shape is None:
        return None
    try:
        modules = _modules(shape)
        num_layers = int(shape["num_hidden_layers"])
        if config.model.lora is None:
            per_layer = sum(rows * columns for rows, columns in modules.values())
            return _BYTES_A_PARAMETER * (num_layers * per_layer + _embeddings(shape))
        sizes = [sum(modules[name]) for name in config.model.lora.target_modules if name in modules]
        return _BYTES_A_PARAMETER * num_layers * config.model.lora.rank * sum(sizes)
    except (KeyError, TypeError, ValueError):
        return None  # a model of another family


def _shape_of(path: str) -> Shape | None:
    folder = Path(path).expanduser()
    if path.startswith(_BUILTIN):
        folder = Path(rlrun.__file__).parent / "policy" / "builtin" / path.removeprefix(_BUILTIN)
    file = folder / "config.json"
    if not file.is_file():
        return None
    try:
        shape = json.loads(file.read_bytes())
    except ValueError:
        return None
    return shape if isinstance(shape, dict) else None


def _modules(shape: Shape) -> dict[str, tuple[int, int]]:
    """Return the rows and columns of each projection of a layer, as Llama and its kin name them."""
    hidden, inner = int(shape["hidden_size"]), int(shape["intermediate_size"])
    num_heads = int(shape["num_attention_heads"])
    head = int(shape.get("head_dim") or hidden // num_heads)
    queries = num_heads * head
    keys = int(shape.get("num_key_value_heads") or num_heads) * head
    return {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }


def _embeddings(shape: Shape) -> int:
    size = int(shape["vocab_size"]) * int(shape["hidden_size"])
    return size if shape.get("tie_word_embeddings", False) else 2 * size
