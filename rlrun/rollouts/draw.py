"""One draw a row from a row of logits, by inversion of an exact cumulative distribution.

R rows, V tokens.  Probabilities are rounded to multiples of 2^-52 and added as integers: integer
addition has no rounding, so the draw depends neither on the order of a parallel sum nor on the
device.
"""

import torch

from rlrun.types import Sampling

_SCALE = 2.0**52


def draw_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens [R], their log-probabilities [R] float32) from `logits` [R, V].

    `uniforms` [R] are float64 in (0, 1).  The log-probability is that of the distribution at the
    sampling temperature, before top-k and top-p.  At temperature 0 the likeliest token comes, the
    lowest of several, with its log-probability at temperature 1.
    """
    if sampling.temperature == 0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)  # [R, V]
        tokens = logits.float().argmax(dim=-1)  # [R] the first of several
        return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)
    logprobs = torch.log_softmax(logits.float() / sampling.temperature, dim=-1)  # [R, V]
    masses = (logprobs.double().exp() * _SCALE).round().long()  # [R, V]
    if sampling.top_k > 0 or sampling.top_p < 1.0:
        masses = _truncate(masses, sampling)
    cumulative = masses.cumsum(dim=-1)  # [R, V]
    total = cumulative[:, -1]  # [R]
    targets = (uniforms * total.double()).long().clamp(max=total - 1)  # [R]
    tokens = torch.searchsorted(cumulative, targets[:, None], right=True).squeeze(-1)  # [R]
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)


def _truncate(masses: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return the masses with all but the likeliest tokens at zero; ties go to the lower token."""
    ordered, tokens = masses.sort(dim=-1, descending=True, stable=True)  # [R, V]
    keep = torch.ones_like(ordered, dtype=torch.bool)  # [R, V]
    if sampling.top_k > 0:
        keep[:, sampling.top_k :] = False
    if sampling.top_p < 1.0:
        before = ordered.cumsum(dim=-1) - ordered  # [R, V] mass of likelier tokens
        limit = (ordered.sum(dim=-1).double() * sampling.top_p).long()  # [R]
        keep &= before < limit[:, None].clamp(min=1)
    return torch.zeros_like(masses).scatter(-1, tokens, torch.where(keep, ordered, 0))
