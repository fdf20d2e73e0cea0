"""Token log-probabilities and entropy from logits."""

import torch


def logprobs_and_entropy(
    logits: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (log-probabilities with gradient, entropy without), each float32 [B, K].

    From `logits` [B, K, V] and `targets` [B, K], of the distribution at `temperature`; entropy in
    nats.
    """
    scaled = logits.float() if temperature == 1.0 else logits.float() / temperature  # [B, K, V]
    normaliser = torch.logsumexp(scaled, dim=-1)  # [B, K]
    chosen = scaled.gather(-1, targets[..., None]).squeeze(-1)  # [B, K]
    with torch.no_grad():
        probabilities = (scaled - normaliser[..., None]).exp_()  # [B, K, V]
        entropy = normaliser - (probabilities * scaled).sum(-1)  # [B, K]
    return chosen - normaliser, entropy
