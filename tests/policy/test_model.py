"""The policy: what is trained, its reference, and the states that it takes or refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.policies import (
    CPU,
    LORA,
    are_equal,
    copy_of,
    disturb,
    make_policy,
    scores,
    some_batch,
)
from transformers import AutoModelForCausalLM

from rlrun.config.schema import LoraConfig, ModelConfig
from rlrun.errors import ConfigError, DamagedError
from rlrun.grpo.logprobs import logprobs_and_entropy
from rlrun.policy import attention, saved_form
from rlrun.policy.model import Policy, build_policy, read_adapter


@pytest.fixture
def lora(micro_model: Path) -> Policy:
    return make_policy(micro_model)


@pytest.fixture
def full(micro_model: Path) -> Policy:
    return make_policy(micro_model, lora=None, needs_reference=True)


@torch.no_grad()
def base_scores(folder: Path) -> torch.Tensor:
    """Return what the model on disk says of `some_batch`, by transformers alone."""
    batch = some_batch()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    logits = model(input_ids=batch.input_ids).logits[:, -batch.num_logits :]
    return logprobs_and_entropy(logits, batch.targets, 1.0)[0][batch.completion_mask]


def write_adapter(policy: Policy, folder: Path) -> Path:
    """Write the policy's adapter as a checkpoint's model/ folder has it."""
    folder.mkdir()
    for name, data in saved_form.static_files(policy).items():
        (folder / name).write_bytes(data)
    weights = saved_form.tensors_to_bytes(copy_of(policy.parameters()))
    (folder / saved_form.weights_name(policy)).write_bytes(weights)
    return folder


# What is trained.


def test_only_the_adapter_is_trained_under_pefts_names(lora: Policy) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in lora.parameters().items()}
    places = {"self_attn.q_proj": (32, 32), "self_attn.v_proj": (32, 16), "mlp.down_proj": (64, 32)}
    assert shapes == {
        f"base_model.model.model.layers.{layer}.{place}.lora_{half}.weight": (
            (2, width_in) if half == "A" else (width_out, 2)
        )
        for layer in (0, 1)
        for place, (width_in, width_out) in places.items()
        for half in "AB"
    }


def test_without_an_adapter_everything_is_trained_under_transformers_names(
    full: Policy, micro_model: Path
) -> None:
    on_disk = safetensors.torch.load_file(micro_model / "model.safetensors")
    assert are_equal(full.parameters(), on_disk)


def test_gradients_reach_what_is_trained_and_nothing_else(lora: Policy) -> None:
    disturb(lora)
    logprobs, _ = lora.token_logprobs(some_batch(), 1.0)
    logprobs.sum().backward()
    assert all(parameter.grad is not None for parameter in lora.parameters().values())
    frozen = [p for p in lora.model.parameters() if not p.requires_grad]
    assert frozen
    assert all(parameter.grad is None for parameter in frozen)


def test_an_adapter_on_half_precision_weights_is_trained_in_single_precision(
    micro_model: Path,
) -> None:
    policy = make_policy(micro_model, dtype="bfloat16")
    assert {p.dtype for p in policy.parameters().values()} == {torch.float32}
    assert {p.dtype for p in policy.model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_unknown_target_modules_are_a_configuration_error(micro_model: Path) -> None:
    wrong = LORA.model_copy(update={"target_modules": ("nothing_proj",)})
    with pytest.raises(ConfigError, match=r"model\.lora\.target_modules: .*nothing_proj"):
        make_policy(micro_model, lora=wrong)


def test_checkpointing_changes_no_score_and_no_gradient(micro_model: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        policy = make_policy(micro_model, gradient_checkpointing=checkpointing)
        disturb(policy)
        policy.model.train()
        logprobs, _ = policy.token_logprobs(some_batch(), 1.0)
        logprobs.sum().backward()
        gradients.append({name: p.grad for name, p in policy.parameters().items()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


# Scores.


def test_a_fresh_policy_scores_as_the_model_on_disk(
    lora: Policy, full: Policy, micro_model: Path
) -> None:
    expected = base_scores(micro_model)
    torch.testing.assert_close(scores(lora), expected)
    torch.testing.assert_close(scores(full), expected)


def test_the_padding_token_does_not_matter(lora: Policy) -> None:
    with torch.no_grad():
        batches = [some_batch(pad_id) for pad_id in (0, 9)]
        first, second = (
            lora.token_logprobs(batch, 1.0)[0][batch.completion_mask] for batch in batches
        )
    assert torch.equal(first, second)


# Where the adapter begins.


def test_a_fresh_adapter_is_a_function_of_the_seed(micro_model: Path) -> None:
    torch.manual_seed(1)
    first = copy_of(make_policy(micro_model, run_seed=5).parameters())
    torch.manual_seed(2)
    again = make_policy(micro_model, run_seed=5).parameters()
    other = make_policy(micro_model, run_seed=6).parameters()
    assert are_equal(first, again)
    assert not are_equal(first, other)


def test_an_initial_adapter_is_where_the_policy_begins(
    lora: Policy, micro_model: Path, tmp_path: Path
) -> None:
    disturb(lora)
    folder = write_adapter(lora, tmp_path / "adapter")
    policy = make_policy(micro_model, run_seed=9, initial_adapter=str(folder))
    assert are_equal(policy.parameters(), lora.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rank": 4}, "has r=2, but model.lora says 4"),
     ({"alpha": 9.0}, "has lora_alpha=8.0, but model.lora says 9.0")],
)  # fmt: skip
def test_an_initial_adapter_of_other_settings_is_refused(
    lora: Policy, tmp_path: Path, settings: dict[str, float], message: str
) -> None:
    folder = write_adapter(lora, tmp_path / "adapter")
    with pytest.raises(ConfigError, match=message):
        read_adapter(folder, LORA.model_copy(update=settings))


@pytest.mark.parametrize(("key", "value"), [("use_rslora", True), ("alpha_pattern", {"q_proj": 2})])
def test_an_initial_adapter_with_another_scaling_is_refused(
    lora: Policy, tmp_path: Path, key: str, value: object
) -> None:
    folder = write_adapter(lora, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_bytes())
    (folder / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ConfigError, match=key):
        read_adapter(folder, LORA)


def test_an_initial_adapter_of_other_modules_is_refused(
    lora: Policy, micro_model: Path, tmp_path: Path
) -> None:
    folder = write_adapter(lora, tmp_path / "adapter")
    fewer = LORA.model_copy(update={"target_modules": ("q_proj",)})
    with pytest.raises(ConfigError, match="does not fit this model"):
        make_policy(micro_model, lora=fewer, initial_adapter=str(folder))


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a PEFT folder"):
        read_adapter(tmp_path, LoraConfig())


# The reference policy.


def test_the_reference_of_a_fresh_adapter_is_the_model_without_it(
    lora: Policy, micro_model: Path
) -> None:
    disturb(lora)
    trained, state = scores(lora), copy_of(lora.parameters())
    with lora.as_reference():
        torch.testing.assert_close(scores(lora), base_scores(micro_model))
    assert torch.equal(scores(lora), trained)
    assert not torch.allclose(trained, base_scores(micro_model))
    assert are_equal(lora.parameters(), state)


def test_the_reference_of_full_fine_tuning_is_the_weights_of_step_0(full: Policy) -> None:
    before = scores(full)
    disturb(full)
    trained, state = scores(full), copy_of(full.parameters())
    with full.as_reference():
        assert torch.equal(scores(full), before)
    assert torch.equal(scores(full), trained)
    assert are_equal(full.parameters(), state)


def test_the_reference_of_a_continued_adapter_is_that_adapter(
    lora: Policy, micro_model: Path, tmp_path: Path
) -> None:
    disturb(lora)
    folder = write_adapter(lora, tmp_path / "adapter")
    policy = make_policy(micro_model, needs_reference=True, initial_adapter=str(folder))
    disturb(policy, seed=1)
    with policy.as_reference():
        assert torch.equal(scores(policy), scores(lora))
    assert not torch.equal(scores(policy), scores(lora))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_failure_under_the_reference_brings_the_policy_back(
    kind: str, request: pytest.FixtureRequest
) -> None:
    policy: Policy = request.getfixturevalue(kind)
    disturb(policy)
    trained, state = scores(policy), copy_of(policy.parameters())
    with pytest.raises(MemoryError), policy.as_reference():
        raise MemoryError
    assert torch.equal(scores(policy), trained)
    assert are_equal(policy.parameters(), state)


# States.


def test_a_loaded_state_is_there_to_the_bit(micro_model: Path) -> None:
    source, target = make_policy(micro_model), make_policy(micro_model, run_seed=1)
    disturb(source)
    target.load_state(copy_of(source.parameters()), "here")
    assert are_equal(target.parameters(), source.parameters())
    assert torch.equal(scores(target), scores(source))


State = dict[str, torch.Tensor]
FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"


def narrower(state: State) -> State:
    return {**state, FIRST: state[FIRST][:, 1:]}


def halved(state: State) -> State:
    return {**state, FIRST: state[FIRST].bfloat16()}


def without(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != FIRST}


def with_another(state: State) -> State:
    return {**without(state), "other": state[FIRST]}


def with_one_more(state: State) -> State:
    return {**state, "other": state[FIRST]}


@pytest.mark.parametrize("change", [narrower, halved, without, with_another, with_one_more])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(
    lora: Policy, change: Callable[[State], State]
) -> None:
    state = copy_of(lora.parameters())
    disturbed = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.raises(DamagedError, match=r"step_4 does not fit this model: '.*' differs in name"):
        lora.load_state(change(disturbed), "step_4")
    assert are_equal(lora.parameters(), state)


def test_the_refusal_names_the_tensor(lora: Policy) -> None:
    with pytest.raises(DamagedError, match=FIRST):
        lora.load_state(narrower(copy_of(lora.parameters())), "step_4")


# Tokens that mean something.


def test_every_token_that_the_model_or_the_tokenizer_ends_with_is_a_stop(lora: Policy) -> None:
    lora.model.generation_config.eos_token_id = [5, 7]
    assert lora.stop_ids == {1, 5, 7}
    lora.model.generation_config.eos_token_id = None
    assert lora.stop_ids == {1}


def test_a_tokenizer_without_padding_pads_with_a_stop_token(lora: Policy) -> None:
    assert lora.pad_id == 0
    lora.tokenizer.pad_token = None
    assert lora.pad_id == 1


def test_the_policy_attends_by_the_projects_own_attention(micro_model: Path) -> None:
    config = ModelConfig(path=str(micro_model))
    policy = build_policy(config, run_seed=0, device=CPU, needs_reference=False)
    assert policy.model.config._attn_implementation == attention.NAME
    assert policy.device == CPU
