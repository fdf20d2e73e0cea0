"""Proof that an engine applies an adapter, before anything that it writes with it counts."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rlrun.engines.adapters import CONFIG, WEIGHTS
from rlrun.engines.spec import EngineSpec
from rlrun.errors import AdapterError

SCALE = 1000
_NOISE = {"float32": 1e-3}
_HALF_PRECISION_NOISE = 0.1
"""How far two readings of one log-probability may be apart: an engine that has something else to do
at the same time may add in another order.  Seen were 4e-5 in float32 and 0.03 in bfloat16."""


class Scorer(Protocol):
    """What of an engine's client is needed here."""

    @property
    def spec(self) -> EngineSpec:
        """What the engine was started with."""
        ...

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load a PEFT folder."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget it."""
        ...

    def token_logprobs(self, adapter: str | None, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Return the log-probability of each token after the first."""
        ...


def prove_live(
    engine: Scorer,
    name: str,
    folder: Path,
    probe: Sequence[int],
    scratch: Path,
) -> None:
    """Raise AdapterError unless the engine applies what it has loaded from `folder` as `name`.

    The probe must read otherwise than with the base model, and again the same when the same files
    are loaded under another name.  An adapter that is too weak for that must show when it is
    scaled; the copy for it is the folder `scratch`, which is removed again.
    """
    noise = _NOISE.get(engine.spec.dtype, _HALF_PRECISION_NOISE)
    base = engine.token_logprobs(None, probe)
    found = engine.token_logprobs(name, probe)
    with _loaded(engine, f"{name}#again", folder) as again:
        difference = _distance(found, engine.token_logprobs(again, probe))
    if difference > noise:
        raise AdapterError(
            f"adapter {name}: loaded twice from {folder}, it differs from itself by "
            f"{difference:.2g} in a log-probability; the engine mixes up what it has loaded"
        )
    if _distance(found, base) > noise:
        return
    with (
        _scaled_copy(folder, scratch) as copy,
        _loaded(engine, f"{name}#scaled", copy) as scaled,
    ):
        if not _differs(engine, scaled, probe, base, noise):
            raise AdapterError(
                f"adapter {name}: the engine reads the same with it as without it, even "
                f"scaled by {SCALE}; it does not apply {folder}, or all its weights are zero"
            )


def _differs(
    engine: Scorer, name: str, token_ids: Sequence[int], base: Sequence[float], noise: float
) -> bool:
    try:
        return _distance(engine.token_logprobs(name, token_ids), base) > noise
    except AdapterError:  # no longer finite, which the base model is
        return True


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the largest difference."""
    return max(abs(one - other) for one, other in zip(left, right, strict=True))


@contextmanager
def _loaded(engine: Scorer, name: str, folder: Path) -> Iterator[str]:
    engine.load_adapter(name, folder)
    try:
        yield name
    except AdapterError:
        engine.unload_adapter(name)
        raise
    engine.unload_adapter(name)  # an engine that died has nothing to unload


@contextmanager
def _scaled_copy(folder: Path, scratch: Path) -> Iterator[Path]:
    config = json.loads((folder / CONFIG).read_bytes())
    patterns = config.get("alpha_pattern") or {}
    config["lora_alpha"] *= SCALE
    config["alpha_pattern"] = {name: SCALE * alpha for name, alpha in patterns.items()}
    shutil.rmtree(scratch, ignore_errors=True)  # of a proof that was killed
    scratch.mkdir(parents=True)
    try:
        (scratch / CONFIG).write_text(json.dumps(config))
        (scratch / WEIGHTS).symlink_to((folder / WEIGHTS).absolute())
        yield scratch
    finally:
        shutil.rmtree(scratch)
