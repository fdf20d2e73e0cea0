"""The size of a checkpoint, by hand and against one that was written."""

import json
from pathlib import Path

import pytest
from support import jobs
from support.jobs import Job
from support.runs import make_run, micro_config

from rlrun.config.load import load_config
from rlrun.runs import checkpoints
from rlrun.sessions.footprint import estimate

SHAPE = {
    "hidden_size": 8,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 10,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    return tmp_path


def size_of(model: object, *overrides: str) -> int | None:
    return estimate(load_config("tiny", [f"model.path={model}", *overrides]).config)


def test_adapters_have_two_factors_for_each_target(model: Path) -> None:
    targets = "model.lora.target_modules=[q_proj, k_proj, down_proj]"
    rows_and_columns = (8 + 8) + (4 + 8) + (8 + 20)  # k has two heads of two
    expected = 12 * 3 * 5 * rows_and_columns
    assert size_of(model, "model.lora.rank=5", targets) == expected


def test_a_full_model_has_its_projections_and_its_embeddings(model: Path) -> None:
    per_layer = 8 * 8 + 4 * 8 + 4 * 8 + 8 * 8 + 3 * 20 * 8
    assert size_of(model, "model.lora=null") == 12 * (3 * per_layer + 2 * 10 * 8)
    (model / "config.json").write_text(json.dumps({**SHAPE, "tie_word_embeddings": True}))
    assert size_of(model, "model.lora=null") == 12 * (3 * per_layer + 10 * 8)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hidden_size": "wide"}'])
def test_what_is_no_known_model_has_no_size(text: str, model: Path) -> None:
    (model / "config.json").write_text(text)
    assert size_of(model) is None


def test_a_model_that_is_not_here_has_no_size(tmp_path: Path) -> None:
    assert size_of(tmp_path) is None
    assert size_of("Qwen/Qwen2.5-0.5B-Instruct") is None


def test_the_built_in_model_has_one() -> None:
    assert (size_of("builtin:tiny") or 0) > 100_000


def test_the_estimate_is_near_what_is_written(tmp_path: Path, micro_model: Path) -> None:
    overrides = ["model.lora.rank=64", "train.max_steps=1"]
    run = make_run(tmp_path, "run", micro_model, overrides)
    assert jobs.run(Job(run.path)) == 0
    weights = ("adapter_model.safetensors", "optimizer.pt")
    files = [path for path in run.step(1).rglob("*") if path.name in weights]
    written = sum(path.stat().st_size for path in files)
    guess = estimate(micro_config(micro_model, overrides))
    assert guess is not None
    assert guess <= written <= checkpoints.num_bytes(run.step(1))
    assert written < 1.5 * guess + 20_000  # names and headers
