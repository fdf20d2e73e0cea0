"""One optimizer update from one batch."""

from dataclasses import dataclass
from math import isfinite

import torch

from rlrun.errors import NotFiniteError
from rlrun.grpo.batch import MicroBatch
from rlrun.grpo.loss import ClipRange, TokenLogprobs, TokenSums, grpo_loss, token_sums
from rlrun.policy.model import Policy
from rlrun.seeds import derive_seed
from rlrun.trainer.batches import Batch
from rlrun.trainer.checkpoint import Learner


@dataclass(frozen=True, slots=True)
class Update:
    """What an update was."""

    sums: TokenSums
    grad_norm: float  # before clipping
    learning_rate: float


def take_step(learner: Learner, batch: Batch, step: int) -> Update:
    """Update the learner once; raises NotFiniteError, before any change, if it would spoil it."""
    config, policy = batch.config, learner.policy
    parameters = list(policy.parameters().values())
    for parameter in parameters:
        # A batch without gradient is still an update: momentum and decay go on.
        parameter.grad = torch.zeros_like(parameter)
    sums = TokenSums()
    for index, rows in enumerate(batch.record.micro_batches):
        torch.manual_seed(derive_seed(config.seed, "dropout", step, index))
        sums = sums.plus(_backward(policy, batch, index, batch.micro_batch(rows, policy)))
        if not isfinite(sums.loss):
            raise _not_finite("loss", step, policy)
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.grpo.max_grad_norm, foreach=False)
    if not bool(norm.isfinite()):
        raise _not_finite("gradient", step, policy)
    learning_rate = learner.optimizer.param_groups[0]["lr"]
    learner.optimizer.step()
    learner.scheduler.step()
    learner.optimizer.zero_grad(set_to_none=True)
    return Update(sums, norm.item(), learning_rate)


def _backward(policy: Policy, batch: Batch, index: int, micro: MicroBatch) -> TokenSums:
    """Add a micro-batch's gradient; return its sums."""
    grpo = batch.config.grpo
    clip = ClipRange(grpo.clip_low, grpo.clip_high)
    reference = None
    if grpo.kl_weight > 0:
        if index not in batch.references:
            batch.references[index] = _reference_logprobs(policy, batch, micro)
        reference = batch.references[index]
    policy.model.train()
    scored, entropy = policy.token_logprobs(micro, batch.temperature)  # [B, K], [B, K]
    window = scored.detach() if micro.window_logprobs is None else micro.window_logprobs
    logprobs = TokenLogprobs(scored, window, micro.sampler_logprobs, reference)
    loss = grpo_loss(
        logprobs,
        micro.advantages,
        micro.loss_mask,
        clip=clip,
        kl_weight=grpo.kl_weight,
        denominator=batch.denominator,
    )
    loss.backward()
    return token_sums(loss.detach(), logprobs, entropy, micro.advantages, micro.loss_mask, clip)


def _reference_logprobs(policy: Policy, batch: Batch, micro: MicroBatch) -> torch.Tensor:
    policy.model.eval()
    with torch.no_grad(), policy.as_reference():
        logprobs, _ = policy.token_logprobs(micro, batch.temperature)
    return logprobs


def _not_finite(what: str, step: int, policy: Policy) -> NotFiniteError:
    policy.model.zero_grad(set_to_none=True)
    return NotFiniteError(f"the {what} of step {step} is not finite; {NotFiniteError.remedy}")
