"""Attention as the policy uses it: torch's fused kernel to train, written-out products to sample.

The fused kernel may choose another order of summation for another batch; the products below are the
same instructions for each row, whatever its neighbours.
"""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "rlrun"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,  # [B, H, Q, D]
    key: torch.Tensor,  # [B, H_kv, L, D]
    value: torch.Tensor,  # [B, H_kv, L, D]
    attention_mask: torch.Tensor | None,  # [B or 1, 1, Q, L] additive; None: causal
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return (output [B, Q, H, D], None), in transformers' calling convention."""
    if attention_mask is None:
        output, _ = sdpa_attention_forward(module, query, key, value, None, **options)
        return output, None
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    return _written_out(query, key, value, attention_mask, scale), None


def _written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    batch, heads, length, width = query.shape
    kv_heads = key.shape[1]
    # Heads that share keys go into one product: no copy of the cache a head.
    folded = query.reshape(batch, kv_heads, -1, width)  # [B, H_kv, H / H_kv * Q, D]
    scores = torch.matmul(folded, key.transpose(2, 3)) * scale  # [B, H_kv, H / H_kv * Q, L]
    shaped = scores.view(batch, kv_heads, heads // kv_heads, length, -1) + mask[:, :, None]
    weights = shaped.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    output = torch.matmul(weights.view_as(scores), value)  # [B, H_kv, H / H_kv * Q, D]
    return output.view(batch, heads, length, width).transpose(1, 2).contiguous()


def register() -> None:
    """Make the attention known to transformers under NAME."""
    AttentionInterface.register(NAME, attend)
