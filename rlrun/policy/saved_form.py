"""The policy's training state as bytes: equal states give equal bytes, on every machine.

torch and safetensors write into memory, never into a path, which would put the file's name into
the file.
"""

import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from rlrun.policy.model import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Policy

FULL_WEIGHTS = "model.safetensors"


def weights_name(policy: Policy) -> str:
    """Return the file of `model/` that holds the trained tensors."""
    return ADAPTER_WEIGHTS if policy.is_lora else FULL_WEIGHTS


def static_files(policy: Policy) -> dict[str, bytes]:
    """Return the files of `model/` that training does not change."""
    if policy.is_lora:
        config = policy.model.peft_config["default"].to_dict()
        return {ADAPTER_CONFIG: _json_bytes({**config, "inference_mode": True})}
    with tempfile.TemporaryDirectory() as folder:
        policy.model.config.save_pretrained(folder)
        policy.model.generation_config.save_pretrained(folder)
        policy.tokenizer.save_pretrained(folder)
        found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        written = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    return {name: _without_paths(name, data) for name, data in written.items()}


def _without_paths(name: str, data: bytes) -> bytes:
    """Return a transformers file without the machine's paths that it may hold."""
    if name not in ("config.json", "tokenizer_config.json"):
        return data
    content = json.loads(data)
    for key in ("_name_or_path", "name_or_path"):
        content.pop(key, None)
    return _json_bytes(content)


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    plain = {key: _plain(value) for key, value in content.items()}
    return (json.dumps(plain, sort_keys=True, indent=2) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def tensors_to_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return a safetensors file; its only metadata is the key that transformers asks for."""
    return safetensors.torch.save(dict(tensors), metadata={"format": "pt"})


def bytes_to_tensors(data: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file."""
    return safetensors.torch.load(data)


def state_to_bytes(state: Mapping[str, Any]) -> memoryview:
    """Return a torch file of nested containers, tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(_fresh(state), buffer)
    return buffer.getbuffer()


def bytes_to_state(data: bytes) -> dict[str, Any]:
    """Return the contents of a torch file; nothing in it is executed."""
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def _fresh(value: Any) -> Any:
    """Return an equal value whose containers are new and whose strings are shared.

    A pickle refers back to objects it has seen, by identity: without this, a state that was
    loaded would be written with other bytes than the same state that was computed.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {_fresh(key): _fresh(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fresh(inner) for inner in value)
    return value
