"""Adapters with weights, as a checkpoint's `model/` folder holds them."""

from pathlib import Path

import torch

from rlrun.config.schema import LoraConfig
from rlrun.policy import saved_form
from rlrun.policy.model import Policy
from support.policies import LORA, disturb, make_policy


def save_adapter(model: Path, folder: Path, seed: int, lora: LoraConfig = LORA) -> Policy:
    """Write an adapter of random weights and return the policy that has them."""
    policy = make_policy(model, lora=lora)
    disturb(policy, seed)
    write_policy(policy, folder)
    return policy


def write_policy(policy: Policy, folder: Path) -> None:
    """Write what is trained as a checkpoint does."""
    folder.mkdir(parents=True)
    for name, data in saved_form.static_files(policy).items():
        (folder / name).write_bytes(data)
    tensors = {name: tensor.detach() for name, tensor in policy.parameters().items()}
    weights = saved_form.tensors_to_bytes(tensors)
    (folder / saved_form.weights_name(policy)).write_bytes(weights)


def scale_weights(policy: Policy, scale: float, part: str) -> None:
    """Multiply the factors `lora_A` or `lora_B` of an adapter."""
    with torch.no_grad():
        for name, parameter in policy.parameters().items():
            if part in name:
                parameter *= scale
