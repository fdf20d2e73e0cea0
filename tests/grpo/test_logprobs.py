"""Log-probabilities and entropy against torch's own, and by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrun.grpo.logprobs import logprobs_and_entropy

TEMPERATURES = st.floats(0.25, 4)


def random_logits(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn((2, 3, 5), generator=generator)).to(dtype)


TARGETS = torch.tensor([[0, 4, 2], [1, 1, 3]])


def test_two_tokens_by_hand() -> None:
    # Odds of 3 to 1: probabilities 3/4 and 1/4.
    logits = torch.tensor([[[math.log(3.0), 0.0], [math.log(3.0), 0.0]]])
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([[0, 1]]), 1.0)
    assert logprobs.tolist()[0] == pytest.approx([math.log(0.75), math.log(0.25)], rel=1e-6)
    expected = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert entropy.tolist()[0] == pytest.approx([expected, expected], rel=1e-6)


def test_a_temperature_of_one_half_squares_the_odds() -> None:
    logits = torch.tensor([[[math.log(3.0), 0.0]]])
    logprobs, _ = logprobs_and_entropy(logits, torch.tensor([[0]]), 0.5)
    assert logprobs.item() == pytest.approx(math.log(9 / 10), rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 999), TEMPERATURES)
def test_they_are_those_of_a_softmax_at_the_temperature(seed: int, temperature: float) -> None:
    logits = random_logits(seed)
    logprobs, entropy = logprobs_and_entropy(logits, TARGETS, temperature)
    softmax = torch.log_softmax(logits.double() / temperature, dim=-1)
    torch.testing.assert_close(
        logprobs.double(), softmax.gather(-1, TARGETS[..., None])[..., 0], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        entropy.double(), -(softmax.exp() * softmax).sum(-1), rtol=0, atol=1e-4
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 999), TEMPERATURES)
def test_the_gradient_is_one_at_the_target_minus_the_probabilities(
    seed: int, temperature: float
) -> None:
    logits = random_logits(seed).requires_grad_()
    logprobs, _ = logprobs_and_entropy(logits, TARGETS, temperature)
    logprobs.sum().backward()
    chosen = torch.nn.functional.one_hot(TARGETS, 5)
    expected = (chosen - (logits / temperature).softmax(-1)) / temperature
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_entropy_carries_no_gradient() -> None:
    _, entropy = logprobs_and_entropy(random_logits(0).requires_grad_(), TARGETS, 1.0)
    assert not entropy.requires_grad


def test_equal_logits_have_the_largest_entropy() -> None:
    _, entropy = logprobs_and_entropy(torch.zeros((2, 3, 5)), TARGETS, 0.7)
    torch.testing.assert_close(entropy, torch.full((2, 3), math.log(5)))


def test_half_precision_logits_are_scored_in_single_precision() -> None:
    logits = random_logits(1, torch.bfloat16)
    halves = logprobs_and_entropy(logits, TARGETS, 0.7)
    singles = logprobs_and_entropy(logits.float(), TARGETS, 0.7)
    assert all(torch.equal(half, single) for half, single in zip(halves, singles, strict=True))
    assert {values.dtype for values in halves} == {torch.float32}


def test_logits_far_apart_stay_finite() -> None:
    logits = torch.tensor([[[1e4, 0.0, -1e4]]])
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([[2]]), 1.0)
    assert logprobs.item() == -2e4
    assert entropy.item() == 0.0
