"""The optimizer: the learning rate's course by hand, and what a restored one is to the bit."""

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from rlrun.config.schema import GrpoConfig
from rlrun.policy.optimizer import (
    build_optimizer,
    build_scheduler,
    schedule_factor,
    set_hyperparameters,
)
from rlrun.policy.saved_form import bytes_to_state, state_to_bytes

Schedule = Literal["constant", "linear", "cosine"]
SCHEDULES: list[Schedule] = ["constant", "linear", "cosine"]
MAX_STEPS = 6


@pytest.mark.parametrize(
    ("schedule", "warmup_steps", "factors"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1]),
        ("constant", 2, [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", 0, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("linear", 2, [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", 2, [1 / 3, 2 / 3, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("linear", 6, [1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7]),
    ],
)
def test_the_course_of_the_learning_rate_by_hand(
    schedule: Schedule, warmup_steps: int, factors: list[float]
) -> None:
    config = GrpoConfig(schedule=schedule, warmup_steps=warmup_steps)
    found = [schedule_factor(updates, config, MAX_STEPS) for updates in range(MAX_STEPS)]
    assert found == pytest.approx(factors)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_decay_is_at_zero_from_the_horizon_on(schedule: Schedule) -> None:
    config = GrpoConfig(schedule=schedule)
    assert [schedule_factor(updates, config, 6) for updates in (6, 7, 60)] == [0, 0, 0]


@given(st.sampled_from(SCHEDULES), st.integers(0, 20), st.integers(1, 50), st.integers(0, 60))
def test_a_factor_is_between_zero_and_one(
    schedule: Schedule, warmup_steps: int, max_steps: int, updates: int
) -> None:
    config = GrpoConfig(schedule=schedule, warmup_steps=warmup_steps)
    factor = schedule_factor(updates, config, max_steps)
    assert 0 <= factor <= 1
    assert factor > 0 or updates >= max_steps


# The optimizer over two parameters, fed with gradients that are functions of the step.


Learner = tuple[list[torch.nn.Parameter], AdamW, LambdaLR]


def make_learner(config: GrpoConfig) -> Learner:
    generator = torch.Generator().manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(5, 3), (7,)]
    ]
    optimizer = build_optimizer(parameters, config)
    return parameters, optimizer, build_scheduler(optimizer, config, MAX_STEPS)


def update(parameters: list[torch.nn.Parameter], optimizer: AdamW, scheduler: LambdaLR) -> None:
    generator = torch.Generator().manual_seed(100 + scheduler.last_epoch)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()
    scheduler.step()


CONFIG = GrpoConfig(learning_rate=0.01, schedule="cosine", warmup_steps=2, weight_decay=0.1)


def test_an_update_is_adamws_by_hand() -> None:
    config = GrpoConfig(learning_rate=0.01, weight_decay=0.5)
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([parameter], config)
    parameter.grad = torch.tensor([3.0])
    optimizer.step()
    # Decay by 0.01 * 0.5; then the first step is the rate times the gradient's sign.
    assert parameter.item() == pytest.approx(2.0 * (1 - 0.005) - 0.01)


def test_the_schedule_is_applied_to_every_update() -> None:
    learner = make_learner(CONFIG)
    _, optimizer, _ = learner
    rates = []
    for _ in range(MAX_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        update(*learner)
    assert rates == [0.01 * schedule_factor(i, CONFIG, MAX_STEPS) for i in range(MAX_STEPS)]


def state_bytes(optimizer: AdamW, scheduler: LambdaLR) -> tuple[bytes, bytes]:
    states: list[dict[str, Any]] = [optimizer.state_dict(), scheduler.state_dict()]
    first, second = (bytes(state_to_bytes(state)) for state in states)
    return first, second


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_updates", [0, 1, 2, 5])
def test_setting_the_same_hyperparameters_changes_no_bit(
    schedule: Schedule, num_updates: int
) -> None:
    config = CONFIG.model_copy(update={"schedule": schedule})
    parameters, optimizer, scheduler = make_learner(config)
    for _ in range(num_updates):
        update(parameters, optimizer, scheduler)
    before = state_bytes(optimizer, scheduler)
    for _ in range(2):
        set_hyperparameters(optimizer, scheduler, config, MAX_STEPS)
        assert state_bytes(optimizer, scheduler) == before


def test_other_hyperparameters_are_in_force_from_the_next_update_on() -> None:
    parameters, optimizer, scheduler = make_learner(CONFIG)
    update(parameters, optimizer, scheduler)
    other = GrpoConfig(learning_rate=0.5, schedule="linear", weight_decay=0.25)
    set_hyperparameters(optimizer, scheduler, other, 10)
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.9
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    update(parameters, optimizer, scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.8


def test_a_change_there_and_back_is_no_change() -> None:
    parameters, optimizer, scheduler = make_learner(CONFIG)
    update(parameters, optimizer, scheduler)
    before = state_bytes(optimizer, scheduler)
    set_hyperparameters(optimizer, scheduler, GrpoConfig(learning_rate=0.5), 10)
    set_hyperparameters(optimizer, scheduler, CONFIG, MAX_STEPS)
    assert state_bytes(optimizer, scheduler) == before


def restored(config: GrpoConfig, original: Learner) -> Learner:
    """Return a new learner with the state of another, by way of bytes."""
    weights, optimizer, scheduler = original
    saved_optimizer, saved_scheduler = state_bytes(optimizer, scheduler)
    learner = make_learner(config)
    with torch.no_grad():
        for new, old in zip(learner[0], weights, strict=True):
            new.copy_(old)
    learner[1].load_state_dict(bytes_to_state(saved_optimizer))
    learner[2].load_state_dict(bytes_to_state(saved_scheduler))
    return learner


def test_restored_moments_are_single_precision_and_the_same_to_the_bit() -> None:
    parameters, optimizer, scheduler = make_learner(CONFIG)
    for _ in range(3):
        update(parameters, optimizer, scheduler)
    others, other_optimizer, _ = restored(CONFIG, (parameters, optimizer, scheduler))
    for old, new in zip(parameters, others, strict=True):
        for name in ("step", "exp_avg", "exp_avg_sq"):
            before, after = optimizer.state[old][name], other_optimizer.state[new][name]
            assert after.dtype == torch.float32
            assert torch.equal(after, before)


@pytest.mark.parametrize("num_updates", [0, 1, 3, 5])
def test_a_restored_learner_goes_on_to_the_same_bits(num_updates: int) -> None:
    learner = make_learner(CONFIG)
    for _ in range(num_updates):
        update(*learner)
    other = restored(CONFIG, learner)
    for _ in range(MAX_STEPS - num_updates):
        update(*learner)
        update(*other)
    assert state_bytes(*other[1:]) == state_bytes(*learner[1:])
    assert all(torch.equal(a, b) for a, b in zip(learner[0], other[0], strict=True))
