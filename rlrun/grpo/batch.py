"""Rows of a batch, and micro-batches of them as padded tensors.

B rows of a micro-batch, T tokens of the longest row, K positions whose logits are needed.  Rows are
padded on the right, so a causal model needs no padding mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Row:
    """One completion to train on."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    advantage: float
    has_loss: bool  # False: a truncated completion that is masked
    sampler_logprobs: tuple[float, ...]  # one a completion token
    window_logprobs: tuple[float, ...] | None  # likewise; None: the policy's own

    @property
    def length(self) -> int:
        """Tokens of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward-backward works on."""

    input_ids: torch.Tensor  # [B, T]
    num_logits: int  # K: the last K positions of the input predict everything that is scored
    targets: torch.Tensor  # [B, K] the token that each of these positions predicts
    completion_mask: torch.Tensor  # [B, K] bool: the target is a completion token
    loss_mask: torch.Tensor  # [B, K] bool: and it carries loss
    advantages: torch.Tensor  # [B]
    sampler_logprobs: torch.Tensor  # [B, K] 0 outside the completion
    window_logprobs: torch.Tensor | None  # [B, K] likewise


def build_micro_batch(rows: Sequence[Row], *, pad_id: int, device: torch.device) -> MicroBatch:
    """Return the tensors of some rows."""
    length = max(row.length for row in rows)
    num_logits = length - min(len(row.prompt_ids) for row in rows) + 1
    input_ids = torch.full((len(rows), length + 1), pad_id, dtype=torch.long)  # [B, T + 1]
    mask = torch.zeros((len(rows), length + 1), dtype=torch.bool)  # [B, T + 1]
    for index, row in enumerate(rows):
        input_ids[index, : row.length] = torch.tensor(row.prompt_ids + row.completion_ids)
        mask[index, len(row.prompt_ids) : row.length] = True
    has_loss = torch.tensor([row.has_loss for row in rows])  # [B]
    completion_mask = mask[:, -num_logits:]  # [B, K]
    windows = [row.window_logprobs for row in rows if row.window_logprobs is not None]
    sampler = scatter_rows([row.sampler_logprobs for row in rows], completion_mask)
    window = scatter_rows(windows, completion_mask) if len(windows) == len(rows) else None
    return MicroBatch(
        input_ids=input_ids[:, :-1].to(device),
        num_logits=num_logits,
        targets=input_ids[:, -num_logits:].to(device),
        completion_mask=completion_mask.to(device),
        loss_mask=(completion_mask & has_loss[:, None]).to(device),
        advantages=torch.tensor([row.advantage for row in rows], dtype=torch.float32).to(device),
        sampler_logprobs=sampler.to(device),
        window_logprobs=None if window is None else window.to(device),
    )


def scatter_rows(values: Sequence[Sequence[float]], mask: torch.Tensor) -> torch.Tensor:
    """Return a float32 tensor of the mask's shape with each row's values at its true places."""
    flat = [value for row in values for value in row]
    result = torch.zeros(mask.shape, dtype=torch.float32)
    result[mask] = torch.tensor(flat, dtype=torch.float32)
    return result


def gather_rows(values: torch.Tensor, mask: torch.Tensor) -> list[tuple[float, ...]]:
    """Return each row's values at the mask's true places; the inverse of `scatter_rows`."""
    pairs = zip(values.cpu(), mask.cpu(), strict=True)
    return [tuple(row[places].tolist()) for row, places in pairs]


def split_rows(lengths: Sequence[int], micro_batch_size: int) -> list[tuple[int, ...]]:
    """Return the rows of each micro-batch: rows of like length together, the longest first.

    Each is at most `micro_batch_size` long, so the longest set the peak of memory at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    return [
        tuple(order[start : start + micro_batch_size])
        for start in range(0, len(order), micro_batch_size)
    ]
