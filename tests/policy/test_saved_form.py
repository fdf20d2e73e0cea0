"""The saved form: equal states are equal bytes, no machine shows through, and others read it."""

import copy
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from support.policies import LORA, are_equal, copy_of, disturb, make_policy, scores, some_batch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlrun.config.schema import GrpoConfig, LoraConfig
from rlrun.policy.model import Policy
from rlrun.policy.optimizer import build_optimizer, build_scheduler
from rlrun.policy.saved_form import (
    bytes_to_state,
    bytes_to_tensors,
    state_to_bytes,
    static_files,
    tensors_to_bytes,
    weights_name,
)


@pytest.fixture(params=["lora", "full"])
def policy(request: pytest.FixtureRequest, micro_model: Path) -> Policy:
    policy = make_policy(micro_model, lora=LORA if request.param == "lora" else None)
    disturb(policy)
    return policy


def write(policy: Policy, folder: Path) -> Path:
    """Write the files of a checkpoint's model/."""
    folder.mkdir()
    weights = tensors_to_bytes(copy_of(policy.parameters()))
    for name, data in {**static_files(policy), weights_name(policy): weights}.items():
        (folder / name).write_bytes(data)
    return folder


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=some_batch().input_ids).logits


# Others can read it.


def test_peft_loads_an_adapter_folder(micro_model: Path, tmp_path: Path) -> None:
    policy = make_policy(micro_model)
    disturb(policy)
    folder = write(policy, tmp_path / "model")
    base = AutoModelForCausalLM.from_pretrained(micro_model, dtype=torch.float32)
    before = logits(base)
    loaded = PeftModel.from_pretrained(base, folder)
    torch.testing.assert_close(logits(loaded), logits(policy.model))
    assert not torch.allclose(logits(loaded), before)


def test_transformers_loads_a_full_folder(micro_model: Path, tmp_path: Path) -> None:
    policy = make_policy(micro_model, lora=None)
    disturb(policy)
    folder = write(policy, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(logits(loaded), logits(policy.model))
    assert AutoTokenizer.from_pretrained(folder)("1+2=")["input_ids"] == [3, 12, 4, 14]
    assert loaded.generation_config.eos_token_id == 1


def test_a_full_folder_is_a_model_to_train_on_from(micro_model: Path, tmp_path: Path) -> None:
    policy = make_policy(micro_model, lora=None)
    disturb(policy)
    other = make_policy(write(policy, tmp_path / "model"), lora=None)
    assert are_equal(other.parameters(), policy.parameters())
    assert torch.equal(scores(other), scores(policy))


# No machine shows through.


def test_no_file_holds_a_path_of_this_machine(policy: Policy, micro_model: Path) -> None:
    for data in static_files(policy).values():
        for folder in (*micro_model.parents[:-1], Path(__file__).parents[2], Path.home()):
            if folder != Path("/"):
                assert f"{folder}/".encode() not in data


def test_the_adapter_names_its_base_model_without_its_place(micro_model: Path) -> None:
    config = json.loads(static_files(make_policy(micro_model))["adapter_config.json"])
    assert config["base_model_name_or_path"] == micro_model.name
    assert config["inference_mode"] is True


def test_a_model_in_another_place_has_the_same_static_files(
    policy: Policy, micro_model: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "far" / "away" / micro_model.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.symlink_to(micro_model)
    other = make_policy(elsewhere, lora=LORA if policy.is_lora else None)
    assert static_files(other) == static_files(policy)


def test_training_does_not_change_the_static_files(policy: Policy) -> None:
    before = static_files(policy)
    disturb(policy, seed=1)
    assert static_files(policy) == before


def test_target_modules_are_sorted(micro_model: Path) -> None:
    # Seven names, which a set hardly ever holds in order by chance.
    policy = make_policy(micro_model, lora=LoraConfig())
    config = json.loads(static_files(policy)["adapter_config.json"])
    assert config["target_modules"] == sorted(LoraConfig().target_modules)


def test_the_configuration_is_sorted_by_key(policy: Policy) -> None:
    name = "adapter_config.json" if policy.is_lora else "config.json"
    content = json.loads(static_files(policy)[name])
    assert list(content) == sorted(content)


# Tensors.


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: a length in 8 bytes, then JSON."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def test_weights_come_back_to_the_bit(policy: Policy) -> None:
    state = copy_of(policy.parameters())
    loaded = bytes_to_tensors(tensors_to_bytes(state))
    assert are_equal(loaded, state)
    assert tensors_to_bytes(loaded) == tensors_to_bytes(state)


def test_the_order_of_weights_does_not_show(policy: Policy) -> None:
    state = copy_of(policy.parameters())
    backwards = dict(reversed(state.items()))
    assert tensors_to_bytes(backwards) == tensors_to_bytes(state)


def test_weights_have_one_key_of_metadata(policy: Policy) -> None:
    # Several would be written in an order that differs between processes.
    assert metadata_of(tensors_to_bytes(copy_of(policy.parameters()))) == {"format": "pt"}


def test_a_policy_names_the_file_of_its_weights_as_others_do(micro_model: Path) -> None:
    assert weights_name(make_policy(micro_model)) == "adapter_model.safetensors"
    assert weights_name(make_policy(micro_model, lora=None)) == "model.safetensors"


# Nested states.


def unshared(value: Any) -> Any:
    """Return an equal value in which no two strings are one object."""
    if isinstance(value, str):
        return "".join(list(value)) if len(value) > 1 else value
    if isinstance(value, dict):
        return {unshared(key): unshared(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unshared(inner) for inner in value)
    return copy.deepcopy(value)


KEYS = st.text(max_size=4) | st.integers()
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["lr", "betas", "eps", "a longer name with spaces"])
    | st.text(max_size=4)
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)
STATES = st.dictionaries(KEYS, NESTED, max_size=4)


@settings(deadline=None, max_examples=100)
@given(STATES)
def test_a_state_comes_back_equal_and_is_written_the_same_again(state: dict[Any, Any]) -> None:
    written = bytes(state_to_bytes(state))
    loaded = bytes_to_state(written)
    assert loaded == state
    assert bytes(state_to_bytes(loaded)) == written


@settings(deadline=None, max_examples=100)
@given(STATES)
def test_which_objects_are_shared_does_not_show(state: dict[Any, Any]) -> None:
    written = bytes(state_to_bytes(state))
    assert bytes(state_to_bytes(unshared(state))) == written
    assert bytes(state_to_bytes(copy.deepcopy(state))) == written


def test_a_string_that_is_used_twice_may_be_one_object_or_two() -> None:
    name = "exp_avg"
    other = "".join(["exp", "_avg"])
    assert other is not name
    shared = {"a": {name: 1}, "b": {name: 2}}
    apart = {"a": {name: 1}, "b": {other: 2}}
    assert bytes(state_to_bytes(apart)) == bytes(state_to_bytes(shared))


def test_tuples_stay_tuples_and_lists_lists() -> None:
    state = {"betas": (0.9, 0.999), "params": [0, 1]}
    loaded = bytes_to_state(bytes(state_to_bytes(state)))
    assert [type(value) for value in loaded.values()] == [tuple, list]


@pytest.mark.parametrize("num_updates", [0, 1, 3])
def test_a_training_state_is_written_the_same_after_it_was_loaded(
    policy: Policy, num_updates: int, micro_model: Path
) -> None:
    optimizer, scheduler = trained(policy, num_updates)
    other = make_policy(micro_model, lora=LORA if policy.is_lora else None)
    other.load_state(bytes_to_tensors(tensors_to_bytes(copy_of(policy.parameters()))), "the test")
    other_optimizer, other_scheduler = trained(other, 0)
    for source, target in ((optimizer, other_optimizer), (scheduler, other_scheduler)):
        written = bytes(state_to_bytes(source.state_dict()))
        target.load_state_dict(bytes_to_state(written))
        assert bytes(state_to_bytes(target.state_dict())) == written
        assert bytes(state_to_bytes(bytes_to_state(written))) == written


def trained(policy: Policy, num_updates: int) -> tuple[Any, Any]:
    """Return the policy's optimizer and scheduler after some updates."""
    config = GrpoConfig(learning_rate=0.01, schedule="linear", weight_decay=0.1)
    optimizer = build_optimizer(policy.parameters().values(), config)
    scheduler = build_scheduler(optimizer, config, 6)
    for _ in range(num_updates):
        optimizer.zero_grad()
        policy.token_logprobs(some_batch(), 1.0)[0].mean().backward()
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


class Intruder:
    """Would run when it is loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("code of a checkpoint was executed",))


def test_nothing_in_a_state_is_executed(tmp_path: Path) -> None:
    torch.save({"state": Intruder()}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        bytes_to_state((tmp_path / "state.pt").read_bytes())
