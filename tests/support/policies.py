"""Policies of the micro model, in the process of the test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlrun.config.schema import LoraConfig, ModelConfig
from rlrun.grpo.batch import MicroBatch, Row, build_micro_batch
from rlrun.policy.model import Policy, build_policy

CPU = torch.device("cpu")
LORA = LoraConfig(rank=2, alpha=8.0, target_modules=("v_proj", "q_proj", "down_proj"))


def make_policy(
    folder: Path,
    *,
    run_seed: int = 0,
    lora: LoraConfig | None = LORA,
    needs_reference: bool = False,
    **settings: Any,
) -> Policy:
    config = ModelConfig(path=str(folder), lora=lora, **settings)
    policy = build_policy(config, run_seed=run_seed, device=CPU, needs_reference=needs_reference)
    policy.model.eval()
    return policy


def disturb(policy: Policy, seed: int = 0) -> None:
    """Change every trained weight; a fresh adapter adds nothing to its model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def copy_of(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def are_equal(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    """Return whether both have the same names and the same bits."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def some_batch(pad_id: int = 0) -> MicroBatch:
    """Return two rows of unequal length."""
    rows = [
        Row((3, 4, 12, 5), (6, 7, 1), 1.0, True, (-1.0, -1.0, -1.0), None),
        Row((9, 15), (2, 3), -1.0, True, (-1.0, -1.0), None),
    ]
    return build_micro_batch(rows, pad_id=pad_id, device=CPU)


@torch.no_grad()
def scores(policy: Policy) -> torch.Tensor:
    """Return the policy's log-probabilities of `some_batch`, of its completions only."""
    batch = some_batch()
    logprobs, _ = policy.token_logprobs(batch, 1.0)
    return logprobs[batch.completion_mask]
