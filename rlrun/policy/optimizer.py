"""AdamW and the learning rate's course over the run."""

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR

from rlrun.config.schema import GrpoConfig


def schedule_factor(num_updates: int, config: GrpoConfig, max_steps: int) -> float:
    """Return what multiplies the learning rate of the update after `num_updates` others.

    A linear warm-up, then constant, linear to 0, or a half cosine to 0, ending at `max_steps`, the
    horizon of the run.
    """
    if num_updates < config.warmup_steps:
        return (num_updates + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    decay_steps = max(1, max_steps - config.warmup_steps)
    progress = min(1.0, (num_updates - config.warmup_steps) / decay_steps)
    if config.schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: GrpoConfig
) -> torch.optim.AdamW:
    """Return the optimizer, with a plain loop over parameters: other forms are other numerics."""
    return torch.optim.AdamW(
        list(parameters),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        foreach=False,
        fused=False,
    )


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: GrpoConfig, max_steps: int
) -> LambdaLR:
    """Return the scheduler that applies `schedule_factor`."""
    return LambdaLR(optimizer, lambda updates: schedule_factor(updates, config, max_steps))


def set_hyperparameters(
    optimizer: torch.optim.Optimizer, scheduler: LambdaLR, config: GrpoConfig, max_steps: int
) -> None:
    """Put another configuration's rate, decay and schedule in force for the next update."""
    factor = schedule_factor(scheduler.last_epoch, config, max_steps)
    scheduler.base_lrs = [config.learning_rate for _ in scheduler.base_lrs]
    scheduler.lr_lambdas = [lambda updates: schedule_factor(updates, config, max_steps)]
    for group in optimizer.param_groups:
        group["initial_lr"] = config.learning_rate
        group["lr"] = config.learning_rate * factor
        group["weight_decay"] = config.weight_decay
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
