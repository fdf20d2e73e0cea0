"""PEFT adapters on disk, written with the standard library: no tensor is computed."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "someone/model",
    "r": 2,
    "lora_alpha": 8.0,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj", "v_proj"],
    "inference_mode": True,
}
"""The configuration of an adapter that every engine takes."""

Shapes = Mapping[str, tuple[int, ...]]


def factors(module: str, rows: int, columns: int, rank: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the two tensors of a module with a weight of [rows, columns]."""
    name = f"base_model.model.{module}"
    return {
        f"{name}.lora_A.weight": (rank, columns),
        f"{name}.lora_B.weight": (rows, rank),
    }


def two_modules(rank: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the tensors of an adapter for `two_weights`."""
    attention = "model.layers.0.self_attn"
    return factors(f"{attention}.q_proj", 8, 8, rank) | factors(f"{attention}.v_proj", 4, 8, rank)


def two_weights() -> dict[str, tuple[int, ...]]:
    """Return some tensors of a small model."""
    attention = "model.layers.0.self_attn"
    return {
        f"{attention}.q_proj.weight": (8, 8),
        f"{attention}.v_proj.weight": (4, 8),
        "model.norm.weight": (8,),
        "model.embed_tokens.weight": (10, 8),
    }


def write_tensors(path: Path, shapes: Shapes, value: float = 0.0) -> None:
    """Write a safetensors file whose every number is `value`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        start = len(data)
        data += struct.pack("<f", value) * count
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def write_adapter(
    folder: Path, shapes: Shapes | None = None, value: float = 0.0, **settings: Any
) -> Path:
    """Write a PEFT folder: `settings` over the plain ones; None for a setting leaves it out."""
    folder.mkdir(parents=True)
    config = {name: value for name, value in (PLAIN | settings).items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    write_tensors(folder / "adapter_model.safetensors", shapes or two_modules(), value)
    return folder


def write_model(folder: Path, shapes: Shapes | None = None) -> Path:
    """Write as much of a model's folder as is looked at without an engine."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_tensors(folder / "model.safetensors", shapes or two_weights())
    return folder
