"""Adapters in one process: switching between them leaves no trace, and what does not fit is out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.policies import LORA, some_batch
from support.trained_adapters import save_adapter

from rlrun.engines.serve import Refused
from rlrun.policy.model import load_model
from rlrun.serving.adapters import Adapters

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")


@pytest.fixture(scope="module")
def folders(micro_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of different modules and ranks."""
    made = tmp_path_factory.mktemp("adapters")
    loras = {
        "first": LORA,
        "second": LORA.model_copy(update={"rank": 3, "target_modules": ("k_proj", "up_proj")}),
        "third": LORA,
    }
    for seed, (name, lora) in enumerate(loras.items()):
        save_adapter(micro_model, made / name, seed, lora)
    return {name: made / name for name in loras}


def make_adapters(micro_model: Path) -> Adapters:
    def load() -> Any:
        model, _, _ = load_model(str(micro_model), "float32")
        return model

    return Adapters(load(), load)


@pytest.fixture
def adapters(micro_model: Path) -> Adapters:
    return make_adapters(micro_model)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    result: torch.Tensor = model(input_ids=some_batch().input_ids).logits
    return result


def alone(micro_model: Path, folder: Path) -> torch.Tensor:
    """Return what a model computes that never had another adapter."""
    adapters = make_adapters(micro_model)
    adapters.load("it", folder)
    return logits(adapters.activate("it"))


def test_each_adapter_computes_what_it_would_alone(
    adapters: Adapters, folders: dict[str, Path], micro_model: Path
) -> None:
    base = logits(adapters.activate(None))
    for name, folder in folders.items():
        adapters.load(name, folder)
    expected = {name: alone(micro_model, folder) for name, folder in folders.items()}
    for name in ["first", "second", "first", "third", "second"]:
        assert torch.equal(logits(adapters.activate(name)), expected[name])
        assert torch.equal(logits(adapters.activate(None)), base)
    assert not torch.equal(expected["first"], expected["third"])
    assert not torch.equal(expected["first"], base)


def test_loading_and_unloading_others_changes_nothing(
    adapters: Adapters, folders: dict[str, Path]
) -> None:
    base = logits(adapters.activate(None))
    adapters.load("first", folders["first"])
    expected = logits(adapters.activate("first"))
    adapters.load("second", folders["second"])
    assert torch.equal(logits(adapters.activate("first")), expected)
    adapters.unload("second")
    assert torch.equal(logits(adapters.activate("first")), expected)
    adapters.unload("first")
    assert torch.equal(logits(adapters.activate(None)), base)
    adapters.load("first again", folders["first"])
    assert torch.equal(logits(adapters.activate("first again")), expected)


def test_the_active_one_may_be_unloaded(adapters: Adapters, folders: dict[str, Path]) -> None:
    base = logits(adapters.activate(None))
    for name in ("first", "second"):
        adapters.load(name, folders[name])
    adapters.activate("first")
    adapters.unload("first")
    assert torch.equal(logits(adapters.activate(None)), base)
    with pytest.raises(Refused, match="there is no adapter named 'first'"):
        adapters.known("first")


def of_another_rank(config: dict[str, Any]) -> None:
    config["r"] = 4


def of_modules_that_are_not_there(config: dict[str, Any]) -> None:
    config["target_modules"] = ["query"]


def of_modules_that_are_no_matrices(config: dict[str, Any]) -> None:
    config["target_modules"] = ["k_proj", "norm"]


@pytest.mark.parametrize(
    "change", [of_another_rank, of_modules_that_are_not_there, of_modules_that_are_no_matrices]
)
@pytest.mark.parametrize("num_before", [0, 1])
def test_what_peft_refuses_leaves_nothing_behind(
    adapters: Adapters,
    folders: dict[str, Path],
    tmp_path: Path,
    num_before: int,
    change: Callable[[dict[str, Any]], None],
) -> None:
    if num_before:
        adapters.load("first", folders["first"])
    base = logits(adapters.activate(None))
    broken = shutil.copytree(folders["second"], tmp_path / "broken")
    config = json.loads((broken / "adapter_config.json").read_text())
    change(config)
    (broken / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(Refused, match="peft does not take it"):
        adapters.load("broken", broken)
    assert torch.equal(logits(adapters.activate(None)), base)
    adapters.load("second", folders["second"])
    assert not torch.equal(logits(adapters.activate("second")), base)


def test_nothing_in_a_served_model_is_trained(adapters: Adapters, folders: dict[str, Path]) -> None:
    adapters.load("first", folders["first"])
    model = adapters.activate("first")
    assert not any(
        name for name, p in model.named_parameters() if "lora" in name and p.requires_grad
    )
    assert not model.training
