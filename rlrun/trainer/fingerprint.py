"""What decides the bits of a run, and what is promised when some of it changed."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from rlrun import __version__
from rlrun.engines.model_source import ModelSource
from rlrun.engines.protocol import Engine
from rlrun.errors import InexactError
from rlrun.runs import canonical
from rlrun.runs.ledger import Promise
from rlrun.types import EncodedPrompt

_IDENTITY_KEYS = ("base_model", "tokenizer", "prompts", "reward_code", "initial_adapter")
"""What the run is about: another one of these is another run, not another machine."""


_DRIVER = Path("/proc/driver/nvidia/version")
_CPU = Path("/proc/cpuinfo")


def _first_line(path: Path) -> str:
    return path.read_text().splitlines()[0] if path.exists() else "unknown"


def _cpu_model() -> str:
    """Return the processor's model: a library may choose other instructions for another maker."""
    lines = _CPU.read_text().splitlines() if _CPU.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else platform.processor()}"


def machine_fingerprint(device: torch.device, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions, device and deterministic settings."""
    is_cuda = device.type == "cuda"
    return {
        "rlrun": __version__,
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "peft": version("peft"),
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "driver": _first_line(_DRIVER) if is_cuda else None,
        "cuda": torch.version.cuda if is_cuda else None,
        "cpu": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **settings,
    }


def identity_fingerprint(
    source: ModelSource,
    prompts: Sequence[EncodedPrompt],
    reward_code: str,
    initial_adapter: bytes | None,
) -> dict[str, Any]:
    """Return the hashes of model, tokenizer, prompts and reward."""
    digest = hashlib.sha256()
    for prompt in prompts:
        record = {"id": prompt.prompt.id, "answer": prompt.prompt.answer}
        digest.update(canonical.dumps({**record, "tokens": prompt.token_ids}).encode())
    return {
        "base_model": source.weights_hash(),
        "tokenizer": source.tokenizer_hash(),
        "prompts": digest.hexdigest(),
        "reward_code": reward_code,
        "initial_adapter": initial_adapter and hashlib.sha256(initial_adapter).hexdigest(),
    }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a session promises, and why not more."""

    promise: Promise
    differences: tuple[str, ...]


def compare(
    before: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    changes: Sequence[str],
    engine: Engine,
    *,
    allow_inexact: bool,
) -> Verdict:
    """Return what a session promises that has the fingerprint `now`.

    `before` are the fingerprints of all that made what it goes on from, the latest last;
    `changes` are other reasons for inexactness.  Raises InexactError if the run is about
    something else now than in its latest session and `allow_inexact` is not given.
    """
    latest = _differing(before[-1], now) if before else {}
    refused = [sentence for key, sentence in latest.items() if key in _IDENTITY_KEYS]
    if refused and not allow_inexact:
        raise InexactError(
            f"this run was made with something else ({'; '.join(refused)}); give the same again, "
            "or continue without the promise of exactness with --allow-inexact"
        )
    found = [sentence for past in before for sentence in _differing(past, now).values()]
    differences = tuple(dict.fromkeys([*changes, *found]))
    if not now["deterministic"]:
        differences = (*differences, "train.deterministic is off")
    if differences:
        return Verdict("best effort", differences)
    return Verdict("bitwise" if engine.is_pure else "replay-exact", ())


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each key that differs."""
    return {
        key: f"{key}: {_short(before.get(key))} -> {_short(now.get(key))}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
