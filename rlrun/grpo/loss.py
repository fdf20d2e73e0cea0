"""The GRPO loss of a micro-batch, and what there is to know about it.

B rows, K positions.  All log-probabilities are at the sampling temperature and float32.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

_MAX_LOG_RATIO = 20.0  # exp(20) = 5e8: clipping below keeps the gradient; this keeps it finite


@dataclass(frozen=True, slots=True)
class ClipRange:
    """How far the ratio may move before the gradient stops: [1 - low, 1 + high]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """What several policies say of the same tokens; values outside the completions mean nothing."""

    policy: torch.Tensor  # [B, K] with gradient
    window: torch.Tensor  # [B, K]
    sampler: torch.Tensor  # [B, K]
    reference: torch.Tensor | None  # [B, K]; None: no KL term


@dataclass(frozen=True, slots=True)
class TokenSums:
    """Sums over the tokens of micro-batches; means are taken once, over the whole step."""

    loss: float = 0.0  # already divided by the step's denominator
    tokens: int = 0  # completion tokens that carry loss
    entropy: float = 0.0
    kl: float = 0.0
    clipped_low: int = 0
    clipped_high: int = 0
    ratio: float = 0.0
    ratio_min: float = math.inf
    ratio_max: float = -math.inf
    mismatch: float = 0.0  # |policy - sampler| log-probability
    mismatch_max: float = 0.0
    mismatch_kl: float = 0.0  # k3 estimate of KL(sampler || policy)
    weight: float = 0.0  # policy / sampler probability
    weight_squared: float = 0.0

    def plus(self, other: "TokenSums") -> "TokenSums":
        """Return the sums over both."""
        reducers = {"ratio_min": min, "ratio_max": max, "mismatch_max": max}
        merged: dict[str, Any] = {
            f.name: reducers.get(f.name, _add)(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
        }
        return TokenSums(**merged)


def _add(left: float, right: float) -> float:
    return left + right


def k3(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return the k3 estimate of KL(p || q) per token from log q - log p; never negative.

    Schulman 2020, "Approximating KL divergence": r - 1 - log r with r = q / p, drawn from p.
    """
    return torch.expm1(log_ratio) - log_ratio


def token_losses(
    policy_logprobs: torch.Tensor,
    window_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip: ClipRange,
) -> torch.Tensor:
    """Return minus the clipped surrogate per token, [B, K], from [B, K], [B, K] and [B].

    Schulman et al. 2017, "PPO", eq. 7, with separate bounds as in Yu et al. 2025, "DAPO", eq. 10.
    """
    ratio = _ratio(policy_logprobs, window_logprobs)  # [B, K]
    clipped = ratio.clamp(1 - clip.low, 1 + clip.high)  # [B, K]
    return -torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None])


def _ratio(policy_logprobs: torch.Tensor, window_logprobs: torch.Tensor) -> torch.Tensor:
    difference = policy_logprobs - window_logprobs
    return difference.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()


def grpo_loss(
    logprobs: TokenLogprobs,
    advantages: torch.Tensor,  # [B]
    loss_mask: torch.Tensor,  # [B, K] bool
    *,
    clip: ClipRange,
    kl_weight: float,
    denominator: int,
) -> torch.Tensor:
    """Return the micro-batch's share of the step's loss, a scalar.

    The shares of all micro-batches add up to the step's loss, for `denominator` is the step's: the
    number of its completion tokens that carry loss.
    """
    # Masked before the exponentials too: an infinite one times a gradient of 0 is not a number.
    policy = torch.where(loss_mask, logprobs.policy, 0.0)  # [B, K]
    window = torch.where(loss_mask, logprobs.window, 0.0)  # [B, K]
    per_token = token_losses(policy, window, advantages, clip)  # [B, K]
    if logprobs.reference is not None:
        reference = torch.where(loss_mask, logprobs.reference, 0.0)  # [B, K]
        per_token = per_token + kl_weight * k3(reference - policy)
    return torch.where(loss_mask, per_token, 0.0).sum() / denominator


@torch.no_grad()
def token_sums(
    loss: torch.Tensor,  # scalar
    logprobs: TokenLogprobs,
    entropy: torch.Tensor,  # [B, K]
    advantages: torch.Tensor,  # [B]
    loss_mask: torch.Tensor,  # [B, K] bool
    clip: ClipRange,
) -> TokenSums:
    """Return the sums of a micro-batch over its tokens that carry loss."""
    if not bool(loss_mask.any()):
        return TokenSums(loss=loss.item())
    policy = logprobs.policy[loss_mask].double()  # [N]
    ratio = _ratio(policy, logprobs.window[loss_mask].double())  # [N]
    signs = advantages[:, None].expand_as(loss_mask)[loss_mask]  # [N]
    mismatch = policy - logprobs.sampler[loss_mask].double()  # [N]
    weight = mismatch.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()  # [N]
    kl = 0.0
    if logprobs.reference is not None:
        kl = k3(logprobs.reference[loss_mask].double() - policy).sum().item()
    return TokenSums(
        loss=loss.item(),
        tokens=policy.numel(),
        entropy=entropy[loss_mask].double().sum().item(),
        kl=kl,
        clipped_low=int(((ratio < 1 - clip.low) & (signs < 0)).sum().item()),
        clipped_high=int(((ratio > 1 + clip.high) & (signs > 0)).sum().item()),
        ratio=ratio.sum().item(),
        ratio_min=ratio.min().item(),
        ratio_max=ratio.max().item(),
        mismatch=mismatch.abs().sum().item(),
        mismatch_max=mismatch.abs().max().item(),
        mismatch_kl=k3(mismatch).sum().item(),
        weight=weight.sum().item(),
        weight_squared=(weight * weight).sum().item(),
    )
