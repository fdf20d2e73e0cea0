"""Attention: the written-out products against torch's fused kernel, and row by row.

B rows, H heads, Q queries, L slots, D width.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface

from rlrun.policy import attention
from rlrun.policy.attention import attend


def layer(heads: int, kv_heads: int) -> Any:
    """Return what attention reads of the layer that it stands in."""
    return SimpleNamespace(
        num_key_value_groups=heads // kv_heads, is_causal=True, training=False, layer_idx=0
    )


def inputs(
    seed: int, rows: int, heads: int, kv_heads: int, queries: int, slots: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, heads, queries, 8), (rows, kv_heads, slots, 8), (rows, kv_heads, slots, 8)]
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return query, key, value


def visible_up_to(last: torch.Tensor, slots: int) -> torch.Tensor:
    """Return an additive mask [B, 1, Q, L] that hides what comes after `last` [B, Q]."""
    hidden = torch.arange(slots) > last[:, None, :, None]
    return torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))


def test_one_query_by_hand() -> None:
    # Scores log 3 and 0 give weights 3/4 and 1/4; the third slot is hidden.
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([3.0, 1.0, 99.0]).log()[None, None, :, None]
    value = torch.tensor([4.0, 8.0, 1e6])[None, None, :, None]
    mask = visible_up_to(torch.tensor([[1]]), 3)
    output, weights = attend(layer(1, 1), query, key, value, mask, scaling=1.0)
    assert output.item() == pytest.approx(0.75 * 4 + 0.25 * 8)
    assert weights is None


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 4),
    heads=st.sampled_from([(4, 4), (4, 2), (6, 2), (3, 1)]),
    queries=st.integers(1, 5),
    slots=st.integers(1, 9),
    scaling=st.none() | st.floats(0.1, 1),
)
def test_the_products_are_what_the_fused_kernel_computes(
    seed: int,
    rows: int,
    heads: tuple[int, int],
    queries: int,
    slots: int,
    scaling: float | None,
) -> None:
    query, key, value = inputs(seed, rows, *heads, queries, slots)
    generator = torch.Generator().manual_seed(seed)
    mask = visible_up_to(torch.randint(0, slots, (rows, queries), generator=generator), slots)
    output, _ = attend(layer(*heads), query, key, value, mask, scaling=scaling)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


def test_without_a_mask_it_is_causal() -> None:
    query, key, value = inputs(0, 2, 4, 2, 5, 5)
    output, _ = attend(layer(4, 2), query, key, value, None, scaling=0.3)
    causal = visible_up_to(torch.arange(5).expand(2, 5), 5)
    expected, _ = attend(layer(4, 2), query, key, value, causal, scaling=0.3)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


def test_hidden_slots_do_not_change_a_bit() -> None:
    query, key, value = inputs(1, 3, 4, 2, 1, 16)
    last = torch.tensor([[2], [9], [15]])
    mask = visible_up_to(last, 16)
    output, _ = attend(layer(4, 2), query, key, value, mask)
    hidden = (torch.arange(16) > last)[:, None, :, None]
    others = [tensor.masked_fill(hidden, 123.0) for tensor in (key, value)]
    assert torch.equal(attend(layer(4, 2), query, *others, mask)[0], output)


def test_a_row_is_the_same_to_the_bit_wherever_it_stands() -> None:
    query, key, value = inputs(2, 8, 4, 2, 1, 40)
    mask = visible_up_to(torch.arange(8)[:, None] * 5, 40)
    output, _ = attend(layer(4, 2), query, key, value, mask)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    moved, _ = attend(layer(4, 2), query[order], key[order], value[order], mask[order])
    assert torch.equal(moved, output[order])


def test_half_precision_stays_half_precision() -> None:
    query, key, value = (tensor.bfloat16() for tensor in inputs(3, 2, 4, 2, 1, 6))
    mask = visible_up_to(torch.tensor([[5], [3]]), 6).bfloat16()
    output, _ = attend(layer(4, 2), query, key, value, mask)
    assert output.dtype == torch.bfloat16
    single, _ = attend(layer(4, 2), query.float(), key.float(), value.float(), mask.float())
    torch.testing.assert_close(output.float(), single, rtol=0.05, atol=0.05)


def test_transformers_knows_it_by_name() -> None:
    attention.register()
    assert AttentionInterface()[attention.NAME] is attend
