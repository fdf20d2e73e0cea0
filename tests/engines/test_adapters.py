"""Adapters on disk: what is refused before any engine sees it, and what tells two of them apart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.peft_folders import factors, two_modules, two_weights, write_adapter, write_model

from rlrun.engines import adapters
from rlrun.errors import AdapterError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
ATTENTION = "model.layers.0.self_attn"


def test_what_it_is_shows_in_its_files(tmp_path: Path) -> None:
    assert adapters.kind_of(write_adapter(tmp_path / "a")) == "adapter"
    assert adapters.kind_of(write_model(tmp_path / "m")) == "model"
    with pytest.raises(AdapterError, match=r"neither a PEFT adapter \(adapter_config.json\) nor"):
        adapters.kind_of(tmp_path)


def test_rank_and_scaling_are_read(tmp_path: Path) -> None:
    adapter = adapters.read(write_adapter(tmp_path / "a", two_modules(rank=3), r=3, lora_alpha=6))
    assert (adapter.rank, adapter.alpha) == (3, 6.0)


def test_where_modules_have_ranks_of_their_own_the_largest_counts(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", rank_pattern={"v_proj": 32})
    assert adapters.read(folder).rank == 32


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peft_type": "IA3"}, "its type is IA3, not LORA"),
        ({"use_dora": True}, "it is a DoRA adapter"),
        ({"modules_to_save": ["lm_head"]}, "it brings whole modules"),
        ({"bias": "all"}, "it has biases"),
        ({"lora_bias": True}, "it has biases"),
        ({"init_lora_weights": "pissa"}, "it begins with pissa"),
        ({"layer_replication": [[0, 1]]}, "it repeats layers"),
        ({"trainable_token_indices": [5]}, "it trains single tokens"),
    ],
)
def test_what_engines_cannot_serve_is_refused(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AdapterError, match=reason):
        adapters.read(write_adapter(tmp_path / "a", **settings))


@pytest.mark.parametrize("init", [True, False, "gaussian", "orthogonal"])
def test_how_its_first_weights_were_drawn_does_not_matter(tmp_path: Path, init: Any) -> None:
    assert adapters.read(write_adapter(tmp_path / "a", init_lora_weights=init)).rank == 2


@pytest.mark.parametrize("end", ["lm_head", "model.embed_tokens"])
def test_an_adapter_of_the_models_ends_is_refused(tmp_path: Path, end: str) -> None:
    folder = write_adapter(tmp_path / "a", factors(end, 10, 8), target_modules="all-linear")
    with pytest.raises(AdapterError, match="cannot be served: it trains"):
        adapters.read(folder)


def without_partner(folder: Path) -> None:
    shapes = two_modules()
    del shapes[f"base_model.model.{ATTENTION}.q_proj.lora_B.weight"]
    rewrite(folder, shapes)


def with_magnitude(folder: Path) -> None:
    rewrite(folder, two_modules() | {f"base_model.model.{ATTENTION}.q_proj.magnitude.weight": (8,)})


def with_another_module(folder: Path) -> None:
    rewrite(folder, two_modules() | factors(f"{ATTENTION}.o_proj", 8, 8))


def rewrite(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    (folder / WEIGHTS).unlink()
    write_adapter(folder.parent / "other", shapes)
    (folder.parent / "other" / WEIGHTS).rename(folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_partner, "q_proj.lora_A.weight is no factor of a pair"),
        (with_magnitude, "magnitude.weight is no factor of a pair"),
        (with_another_module, "belongs to none of the target_modules"),
    ],
)
def test_tensors_that_would_be_passed_over_are_refused(
    tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    folder = write_adapter(tmp_path / "a")
    change(folder)
    with pytest.raises(AdapterError, match=reason):
        adapters.read(folder)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_file_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"has no {name}"):
        adapters.read(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10**5, "\x00"])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / CONFIG).write_text(text)
    with pytest.raises(AdapterError, match=r"adapter_config\.json cannot be read"):
        adapters.read(folder)


@pytest.mark.parametrize(
    "settings", [{"r": None}, {"r": 0}, {"r": True}, {"r": "two"}, {"lora_alpha": "much"}]
)
def test_no_rank_and_no_scaling_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(AdapterError, match="which are no rank and no scaling"):
        adapters.read(write_adapter(tmp_path / "a", **settings))


def test_every_cut_of_its_weights_is_damage(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    data = (folder / WEIGHTS).read_bytes()
    for size in range(len(data)):
        (folder / WEIGHTS).write_bytes(data[:size])
        with pytest.raises(AdapterError, match="is damaged"):
            adapters.read(folder)


@pytest.mark.parametrize(
    "data", [b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x0b" + bytes(7) + b'{"a": true}']
)
def test_weights_that_are_something_else_are_damage(tmp_path: Path, data: bytes) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(AdapterError, match="is damaged"):
        adapters.read(folder)


# Does it fit?


def fit(tmp_path: Path, shapes: dict[str, tuple[int, ...]], max_rank: int = 2) -> None:
    folder = write_adapter(tmp_path / "a", shapes, target_modules="all-linear")
    model = write_model(tmp_path / "m")
    adapters.require_fit(adapters.read(folder), folder, model, max_rank=max_rank)


def test_an_adapter_of_this_model_fits(tmp_path: Path) -> None:
    fit(tmp_path, two_modules())


def test_one_of_a_larger_rank_than_the_engine_has_room_for_does_not(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="has rank 2, and the engine was started for rank 1"):
        fit(tmp_path, two_modules(), max_rank=1)


@pytest.mark.parametrize(
    ("rows", "columns"), [(8, 4), (4, 8), (16, 8), (8, 16)], ids=["thin", "flat", "tall", "wide"]
)
def test_one_of_another_size_does_not(tmp_path: Path, rows: int, columns: int) -> None:
    with pytest.raises(AdapterError) as error:
        fit(tmp_path, factors(f"{ATTENTION}.q_proj", rows, columns))
    assert str(error.value).endswith(
        f"is of another model: its {ATTENTION}.q_proj is ({rows}, {columns}), and the model has "
        "(8, 8) there"
    )


def test_one_with_a_layer_more_does_not(tmp_path: Path) -> None:
    shapes = two_modules() | factors("model.layers.1.self_attn.q_proj", 8, 8)
    with pytest.raises(AdapterError, match="the model has no such module"):
        fit(tmp_path, shapes)


def test_what_is_stored_under_other_names_is_left_to_the_engine(tmp_path: Path) -> None:
    fit(tmp_path, factors("language_model.layers.0.q_proj", 3, 3))


def test_a_model_without_safetensors_is_left_to_the_engine(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    adapters.require_fit(adapters.read(folder), folder, tmp_path / "nowhere", max_rank=2)


def test_the_weights_of_a_model_in_several_files_are_all_looked_at(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    (write_model(tmp_path / "n", {"b.weight": (3, 5)}) / "model.safetensors").rename(
        model / "model-2.safetensors"
    )
    assert adapters.model_shapes(model) == two_weights() | {"b.weight": (3, 5)}


# What tells it from others.


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_same_files_elsewhere_have_the_same_hash(tmp_path: Path) -> None:
    here, there = write_adapter(tmp_path / "a"), write_adapter(tmp_path / "b")
    assert adapters.hash_of_folder(here) == adapters.hash_of_folder(there)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_one_bit_changes_the_hash(tmp_path: Path, name: str) -> None:
    folder = write_adapter(tmp_path / "a")
    before = adapters.hash_of_folder(folder)
    flip_last_byte(folder / name)
    assert adapters.hash_of_folder(folder) != before


def test_a_card_for_people_changes_no_hash(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    before = adapters.hash_of_folder(folder)
    (folder / "README.md").write_text("An adapter.")
    assert adapters.hash_of_folder(folder) == before


def test_every_file_of_a_model_changes_its_hash(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    hashes = {adapters.hash_of_folder(folder)}
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_text(json.dumps({}))
        hashes.add(adapters.hash_of_folder(folder))
    assert len(hashes) == 4


def test_a_missing_file_has_no_hash(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match="cannot be read"):
        adapters.hash_of_folder(folder)
