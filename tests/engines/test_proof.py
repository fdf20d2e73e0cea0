"""Proof that an adapter is live: against engines that do not apply it, mix it up, or lose it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.peft_folders import write_adapter

from rlrun.engines.proof import prove_live
from rlrun.engines.spec import EngineSpec
from rlrun.errors import AdapterError

PROBE = (3, 1, 4, 1)
SPEC = EngineSpec("torch", "fake", "float32", "cpu", 16, 8, 16, 2, 4, None, 0.9)
BASE = -2.0


@dataclass
class ScriptedEngine:
    """Shifts what the base says by `effect` of an adapter's alpha and of how often it was asked."""

    effect: Callable[[float, int], float]
    spec: EngineSpec = SPEC
    alphas: dict[str, float] = field(default_factory=dict)
    num_asked: int = 0
    loaded: list[str] = field(default_factory=list)

    def load_adapter(self, name: str, folder: Path) -> None:
        assert name not in self.loaded
        self.loaded.append(name)
        assert (folder / "adapter_model.safetensors").is_file()
        self.alphas[name] = json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]

    def unload_adapter(self, name: str) -> None:
        del self.alphas[name]

    def token_logprobs(self, adapter: str | None, token_ids: Sequence[int]) -> tuple[float, ...]:
        assert token_ids == PROBE
        self.num_asked += 1
        shift = 0.0 if adapter is None else self.effect(self.alphas[adapter], self.num_asked)
        return (BASE, BASE, BASE + shift)


def prove(engine: ScriptedEngine, tmp_path: Path) -> ScriptedEngine:
    folder = write_adapter(tmp_path / "a", lora_alpha=8.0)
    engine.load_adapter("a", folder)
    try:
        prove_live(engine, "a", folder, PROBE, tmp_path / "scratch")
    finally:
        assert list(engine.alphas) == ["a"]  # what was loaded for the proof is gone
        assert not (tmp_path / "scratch").exists()
    return engine


def test_an_adapter_that_shows_is_live(tmp_path: Path) -> None:
    engine = prove(ScriptedEngine(lambda alpha, _: alpha / 100), tmp_path)
    assert len(engine.loaded) == 2  # itself, and again


def test_one_that_is_too_weak_to_show_is_live_if_it_shows_when_scaled(tmp_path: Path) -> None:
    engine = prove(ScriptedEngine(lambda alpha, _: alpha * 1e-6), tmp_path)
    assert len(engine.loaded) == 3


def test_one_that_is_not_applied_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as error:
        prove(ScriptedEngine(lambda *_: 0.0), tmp_path)
    assert str(error.value) == (
        "adapter a: the engine reads the same with it as without it, even scaled by 1000; it does "
        f"not apply {tmp_path / 'a'}, or all its weights are zero"
    )


def test_noise_is_no_sign_of_life(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="reads the same with it as without it"):
        prove(ScriptedEngine(lambda _, asked: 1e-4 * asked), tmp_path)


def test_half_precision_has_more_noise(tmp_path: Path) -> None:
    spec = EngineSpec("vllm", "fake", "bfloat16", "cpu", 16, 8, 16, 2, 4, None, 0.9)
    with pytest.raises(AdapterError, match="reads the same with it as without it"):
        prove(ScriptedEngine(lambda _, asked: 0.01 * asked, spec), tmp_path)


def test_one_that_differs_from_itself_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"loaded twice from .* it differs from itself by 0\.1 "):
        prove(ScriptedEngine(lambda _, asked: 0.1 * asked), tmp_path)


def test_one_that_is_out_of_bounds_when_scaled_is_live(tmp_path: Path) -> None:
    def overflow(alpha: float, _: int) -> float:
        if alpha > 1000:
            raise AdapterError("the model's probabilities are not finite")
        return 0.0

    prove(ScriptedEngine(overflow), tmp_path)


def test_modules_with_scalings_of_their_own_are_scaled_too(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []

    class Reader(ScriptedEngine):
        def load_adapter(self, name: str, folder: Path) -> None:
            super().load_adapter(name, folder)
            seen.append(json.loads((folder / "adapter_config.json").read_text())["alpha_pattern"])

    engine = Reader(lambda alpha, _: alpha * 1e-6)
    folder = write_adapter(tmp_path / "a", alpha_pattern={"v_proj": 2.0})
    engine.load_adapter("a", folder)
    prove_live(engine, "a", folder, PROBE, tmp_path / "scratch")
    assert seen == [{"v_proj": 2.0}, {"v_proj": 2.0}, {"v_proj": 2000.0}]


def test_what_an_earlier_proof_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "adapter_model.safetensors").symlink_to(tmp_path / "gone")
    prove(ScriptedEngine(lambda alpha, _: alpha * 1e-6), tmp_path)
    assert not (tmp_path / "gone").exists()  # nothing was written where the link led
