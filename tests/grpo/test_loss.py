"""The loss: its numbers by hand, its gradient, and what must not change either of them.

B rows, K positions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrun.grpo.advantages import group_advantages
from rlrun.grpo.batch import Row, build_micro_batch
from rlrun.grpo.loss import (
    ClipRange,
    TokenLogprobs,
    TokenSums,
    grpo_loss,
    k3,
    token_losses,
    token_sums,
)

CLIP = ClipRange(low=0.2, high=0.28)
LOG_RATIOS = st.floats(-3, 3)
ANYTHING = st.floats(-1000, 0) | st.sampled_from([math.nan, math.inf, -math.inf])
VOCABULARY = 7


def matrix(values: Sequence[Sequence[float]]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_matrix(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def one_token(ratio: float, advantage: float) -> tuple[float, float]:
    """Return a token's loss and its gradient by the policy's log-probability."""
    policy = matrix([[math.log(ratio)]]).requires_grad_()
    loss = token_losses(policy, matrix([[0.0]]), matrix([[advantage]])[0], CLIP)
    loss.sum().backward()
    assert policy.grad is not None
    return loss.item(), policy.grad.item()


# By hand.


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.25, 2.0, -2.5, -2.5),  # below 1.28: not clipped
        (1.5, 2.0, -2.56, 0.0),  # good, and already 28 % likelier: clipped at 1.28
        (0.5, 2.0, -1.0, -1.0),  # good, and less likely by now: never clipped
        (0.9, -2.0, 1.8, 1.8),  # above 0.8: not clipped
        (0.5, -2.0, 1.6, 0.0),  # bad, and already 20 % less likely: clipped at 0.8
        (1.5, -2.0, 3.0, 3.0),  # bad, and likelier by now: never clipped
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_a_token_by_hand(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    assert one_token(ratio, advantage) == pytest.approx((loss, gradient))


def test_a_micro_batch_by_hand() -> None:
    policy = matrix([[math.log(0.5), math.log(0.5)], [math.log(0.5), math.log(0.5)]])
    window = matrix([[math.log(0.5), math.log(0.4)], [math.log(1.0), math.log(0.5)]])
    reference = matrix([[math.log(0.5), math.log(0.25)], [math.log(0.5), math.log(0.5)]])
    logprobs = TokenLogprobs(policy, window, policy, reference)
    mask = torch.tensor([[True, True], [True, False]])
    loss = grpo_loss(
        logprobs, torch.tensor([1.0, -1.0]), mask, clip=CLIP, kl_weight=0.1, denominator=3
    )
    # Ratios 1, 1.25 | 0.5 (clipped to 0.8); one token is half as likely under the reference.
    kl = 0.5 - 1 - math.log(0.5)
    assert loss.item() == pytest.approx((-1 - 1.25 + 0.1 * kl + 0.8) / 3)


def test_k3_by_hand() -> None:
    assert k3(matrix([[math.log(2.0)]])).item() == pytest.approx(2 - 1 - math.log(2))


# Properties of one token.


@given(LOG_RATIOS, st.floats(-3, 3).filter(lambda advantage: abs(advantage) > 1e-3))
def test_only_the_side_that_was_gained_is_clipped(log_ratio: float, advantage: float) -> None:
    ratio = math.exp(log_ratio)
    is_clipped = ratio > 1 + CLIP.high if advantage > 0 else ratio < 1 - CLIP.low
    _, gradient = one_token(ratio, advantage)
    assert gradient == pytest.approx(0.0 if is_clipped else -advantage * ratio)


@given(LOG_RATIOS, st.floats(-3, 3))
def test_clipping_never_makes_the_loss_smaller(log_ratio: float, advantage: float) -> None:
    loss, _ = one_token(math.exp(log_ratio), advantage)
    assert loss >= -math.exp(log_ratio) * advantage - 1e-12


@given(st.floats(-700, 700))
def test_k3_is_never_negative(log_ratio: float) -> None:
    assert k3(matrix([[log_ratio]])).item() >= 0


@given(st.floats(-700, 700))
def test_k3_is_never_negative_in_single_precision(log_ratio: float) -> None:
    assert k3(torch.tensor([log_ratio], dtype=torch.float32)).item() >= 0


def test_k3_is_zero_and_flat_where_the_policies_agree() -> None:
    log_ratio = matrix([[0.0]]).requires_grad_()
    estimate = k3(log_ratio)
    estimate.backward()
    assert log_ratio.grad is not None
    assert (estimate.item(), log_ratio.grad.item()) == (0.0, 0.0)


def test_k3_is_on_average_the_divergence() -> None:
    p, q = matrix([[0.5, 0.3, 0.2]]), matrix([[0.2, 0.3, 0.5]])
    divergence = (p * (p / q).log()).sum()
    torch.testing.assert_close((p * k3((q / p).log())).sum(), divergence)


@given(st.floats(-1e30, 1e30), st.floats(-3, 3))
def test_a_ratio_beyond_all_measure_stays_finite(log_ratio: float, advantage: float) -> None:
    policy = torch.tensor([[log_ratio]], dtype=torch.float32, requires_grad=True)
    loss = token_losses(policy, torch.zeros((1, 1)), torch.tensor([advantage]), CLIP)
    loss.sum().backward()
    assert policy.grad is not None
    assert loss.isfinite().all()
    assert policy.grad.isfinite().all()


# Properties of a micro-batch.


def make_logprobs(seed: int, rows: int, places: int, *, spread: float = 0.5) -> TokenLogprobs:
    policy, window, sampler, reference = -random_matrix(seed, 4, rows, places).abs()
    near = [policy + spread * (other - policy) for other in (window, sampler, reference)]
    return TokenLogprobs(policy.requires_grad_(), *near)


def loss_and_gradient(
    logprobs: TokenLogprobs,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    kl_weight: float = 0.1,
    denominator: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    policy = logprobs.policy.detach().requires_grad_()
    loss = grpo_loss(
        replace(logprobs, policy=policy), advantages, mask, clip=CLIP, kl_weight=kl_weight,
        denominator=int(mask.sum()) if denominator is None else denominator,
    )  # fmt: skip
    loss.backward()
    assert policy.grad is not None
    return loss.detach(), policy.grad


def random_mask(seed: int, rows: int, places: int) -> torch.Tensor:
    mask = random_matrix(seed + 1, rows, places) > 0
    mask[0, 0] = True
    return mask


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_on_policy_it_is_reinforce(seed: int) -> None:
    logprobs = make_logprobs(seed, 3, 4)
    on_policy = replace(logprobs, window=logprobs.policy.detach(), reference=None)
    advantages, mask = random_matrix(seed, 3), random_mask(seed, 3, 4)
    loss, gradient = loss_and_gradient(on_policy, advantages, mask)
    weights = torch.where(mask, advantages[:, None], 0.0) / mask.sum()  # [B, K]
    torch.testing.assert_close(loss, -weights.sum())
    torch.testing.assert_close(gradient, -weights)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), ANYTHING, ANYTHING, ANYTHING)
def test_what_stands_at_masked_positions_changes_nothing(
    seed: int, policy: float, window: float, reference: float
) -> None:
    logprobs = make_logprobs(seed, 3, 4)
    assert logprobs.reference is not None
    advantages, mask = random_matrix(seed, 3), random_mask(seed, 3, 4)
    other = TokenLogprobs(
        policy=torch.where(mask, logprobs.policy, policy),
        window=torch.where(mask, logprobs.window, window),
        sampler=logprobs.sampler,
        reference=torch.where(mask, logprobs.reference, reference),
    )
    before = loss_and_gradient(logprobs, advantages, mask)
    after = loss_and_gradient(other, advantages, mask)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1], before[1])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_masked_positions_have_no_gradient(seed: int) -> None:
    mask = random_mask(seed, 3, 4)
    _, gradient = loss_and_gradient(make_logprobs(seed, 3, 4), random_matrix(seed, 3), mask)
    assert gradient[~mask].eq(0).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 5))
def test_extra_padding_changes_nothing(seed: int, left: int, right: int) -> None:
    logprobs = make_logprobs(seed, 3, 4)
    assert logprobs.reference is not None
    advantages, mask = random_matrix(seed, 3), random_mask(seed, 3, 4)

    def pad(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(values, (left, right), value=0)

    padded = TokenLogprobs(
        *(pad(values) for values in (logprobs.policy, logprobs.window, logprobs.sampler)),
        pad(logprobs.reference),
    )
    loss, gradient = loss_and_gradient(logprobs, advantages, mask)
    padded_loss, padded_gradient = loss_and_gradient(padded, advantages, pad(mask))
    torch.testing.assert_close(padded_loss, loss)
    assert torch.equal(padded_gradient, pad(gradient))


def test_the_gradient_is_that_of_the_value() -> None:
    logprobs = make_logprobs(5, 3, 4)
    advantages, mask = random_matrix(5, 3), random_mask(5, 3, 4)

    def loss(policy: torch.Tensor) -> torch.Tensor:
        return grpo_loss(
            replace(logprobs, policy=policy), advantages, mask, clip=CLIP, kl_weight=0.1,
            denominator=7,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, logprobs.policy)


def test_without_a_weight_the_reference_has_no_say() -> None:
    logprobs = make_logprobs(2, 3, 4)
    advantages, mask = random_matrix(2, 3), random_mask(2, 3, 4)
    weightless = loss_and_gradient(logprobs, advantages, mask, kl_weight=0.0)
    without = loss_and_gradient(replace(logprobs, reference=None), advantages, mask)
    assert all(torch.equal(left, right) for left, right in zip(weightless, without, strict=True))


# Properties of a step: a table of logits, one row a token, stands for a model.


def make_rows(seed: int, group_sizes: Sequence[int]) -> list[Row]:
    """Return groups of rows with lengths, tokens, rewards and earlier log-probabilities at random.

    The first group's rewards are all equal.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple(torch.randint(low, high, (count,), generator=generator).tolist())

    rows = []
    for group, size in enumerate(group_sizes):
        prompt = draw(0, VOCABULARY, *draw(1, 5, 1))
        rewards = [0.5 if group == 0 else float(reward) for reward in draw(0, 4, size)]
        for advantage in group_advantages(rewards, "group_std"):
            completion = draw(0, VOCABULARY, *draw(1, 6, 1))
            logprobs = tuple(-(1 + value) / 2 for value in draw(0, 6, len(completion)))
            has_loss = draw(0, 4, 1) != (0,)
            rows.append(Row(prompt, completion, advantage, has_loss, logprobs, logprobs))
    return rows


def step_gradient(
    rows: Sequence[Row], parts: Sequence[Sequence[int]], denominator: int, *, kl_weight: float
) -> tuple[float, torch.Tensor]:
    """Return the loss of a step taken in these micro-batches, and its gradient by the table."""
    table = random_matrix(11, VOCABULARY, VOCABULARY).requires_grad_()
    reference = random_matrix(12, VOCABULARY, VOCABULARY)
    total = 0.0
    for part in parts:
        batch = build_micro_batch(
            [rows[place] for place in part], pad_id=0, device=torch.device("cpu")
        )
        inputs = batch.input_ids[:, -batch.num_logits :]
        scored, reference_scored = (
            weights[inputs].log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
            for weights in (table, reference)
        )
        assert batch.window_logprobs is not None
        logprobs = TokenLogprobs(
            scored, batch.window_logprobs, batch.sampler_logprobs, reference_scored
        )
        loss = grpo_loss(
            logprobs, batch.advantages, batch.loss_mask, clip=CLIP, kl_weight=kl_weight,
            denominator=denominator,
        )  # fmt: skip
        loss.backward()
        total += loss.item()
    assert table.grad is not None
    return total, table.grad


def num_loss_tokens(rows: Sequence[Row]) -> int:
    return max(1, sum(len(row.completion_ids) for row in rows if row.has_loss))


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 10**6),
    st.permutations(range(9)),
    st.sets(st.integers(1, 8)),
    st.sampled_from([0.0, 0.1]),
)
def test_any_split_into_micro_batches_is_the_same_step(
    seed: int, order: list[int], cuts: set[int], kl_weight: float
) -> None:
    rows = make_rows(seed, [3, 3, 3])
    denominator = num_loss_tokens(rows)
    parts = [order[start:end] for start, end in pairwise([0, *sorted(cuts), 9])]
    whole = step_gradient(rows, [range(9)], denominator, kl_weight=kl_weight)
    split = step_gradient(rows, parts, denominator, kl_weight=kl_weight)
    assert split[0] == pytest.approx(whole[0], rel=1e-12, abs=1e-12)
    torch.testing.assert_close(split[1], whole[1], rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_leaving_out_a_group_of_equal_rewards_changes_nothing(seed: int) -> None:
    rows = make_rows(seed, [3, 4, 3])
    denominator = num_loss_tokens(rows)
    assert {row.advantage for row in rows[:3]} == {0.0}
    loss, gradient = step_gradient(rows, [range(10)], denominator, kl_weight=0.0)
    fewer = step_gradient(rows, [range(3, 10)], denominator, kl_weight=0.0)
    assert fewer[0] == pytest.approx(loss, rel=1e-12, abs=1e-12)
    torch.testing.assert_close(fewer[1], gradient, rtol=1e-10, atol=1e-12)


def test_the_denominator_is_taken_as_it_is_given() -> None:
    logprobs = make_logprobs(3, 2, 3)
    advantages, mask = random_matrix(3, 2), random_mask(3, 2, 3)
    loss, gradient = loss_and_gradient(logprobs, advantages, mask, denominator=1)
    tenth, tenth_gradient = loss_and_gradient(logprobs, advantages, mask, denominator=10)
    torch.testing.assert_close(10 * tenth, loss)
    torch.testing.assert_close(10 * tenth_gradient, gradient)


# What is told of a step.


def sums_by_hand() -> TokenSums:
    """Return the sums of four tokens, of which one is masked."""
    half = math.log(0.5)
    policy = matrix([[half, half], [half, half]])
    window = matrix([[half, math.log(0.25)], [0.0, half]])  # ratios 1, 2 | 1/2, masked
    sampler = matrix([[half, math.log(0.25)], [half, 0.0]])
    reference = matrix([[half, 0.0], [half, half]])
    return token_sums(
        torch.tensor(-0.25),
        TokenLogprobs(policy, window, sampler, reference),
        matrix([[1.0, 2.0], [0.5, 9.0]]),
        torch.tensor([1.0, -1.0]),
        torch.tensor([[True, True], [True, False]]),
        CLIP,
    )


def test_sums_by_hand() -> None:
    sums = sums_by_hand()
    assert (sums.loss, sums.tokens, sums.entropy) == (-0.25, 3, 3.5)
    assert (sums.clipped_low, sums.clipped_high) == (1, 1)
    assert sums.kl == pytest.approx(2 - 1 - math.log(2))
    assert (sums.ratio, sums.ratio_min, sums.ratio_max) == pytest.approx((3.5, 0.5, 2.0))
    assert (sums.mismatch, sums.mismatch_max) == pytest.approx((math.log(2), math.log(2)))
    assert sums.mismatch_kl == pytest.approx(2 - 1 - math.log(2))
    assert (sums.weight, sums.weight_squared) == pytest.approx((1 + 2 + 1, 1 + 4 + 1))


@pytest.mark.parametrize(
    ("ratio", "advantage", "clipped"),
    [
        (0.5, -1.0, (1, 0)),
        (0.5, 1.0, (0, 0)),
        (1.0, 1.0, (0, 0)),
        (1.5, 1.0, (0, 1)),
        (1.5, -1.0, (0, 0)),
        (1.5, 0.0, (0, 0)),
    ],
)
def test_only_a_token_whose_gradient_stopped_counts_as_clipped(
    ratio: float, advantage: float, clipped: tuple[int, int]
) -> None:
    policy, window = matrix([[math.log(ratio)]]), matrix([[0.0]])
    logprobs = TokenLogprobs(policy, window, policy, None)
    mask = torch.tensor([[True]])
    sums = token_sums(torch.tensor(0.0), logprobs, window, torch.tensor([advantage]), mask, CLIP)
    assert (sums.clipped_low, sums.clipped_high) == clipped


def test_a_micro_batch_without_loss_adds_nothing() -> None:
    logprobs = make_logprobs(0, 2, 2)
    nothing = torch.zeros((2, 2), dtype=torch.bool)
    sums = token_sums(torch.tensor(0.0), logprobs, logprobs.policy, torch.ones(2), nothing, CLIP)
    assert sums == TokenSums()
    assert sums_by_hand().plus(sums) == sums_by_hand()


FINITE = st.floats(-1e6, 1e6)
COUNTS = st.integers(0, 10**9)
MAKE_SUMS: Callable[..., st.SearchStrategy[TokenSums]] = st.builds
SUMS = MAKE_SUMS(
    TokenSums, loss=FINITE, tokens=COUNTS, clipped_low=COUNTS, clipped_high=COUNTS,
    ratio_min=FINITE, ratio_max=FINITE, mismatch_max=FINITE, entropy=FINITE,
)  # fmt: skip


def exact_part(sums: TokenSums) -> tuple[float, ...]:
    return (
        sums.tokens, sums.clipped_low, sums.clipped_high,
        sums.ratio_min, sums.ratio_max, sums.mismatch_max,
    )  # fmt: skip


@given(SUMS, SUMS, SUMS)
def test_counts_and_extremes_do_not_depend_on_how_sums_are_grouped(
    a: TokenSums, b: TokenSums, c: TokenSums
) -> None:
    assert exact_part(a.plus(b).plus(c)) == exact_part(a.plus(b.plus(c)))
    assert exact_part(a.plus(b)) == exact_part(b.plus(a))


@given(SUMS)
def test_no_sums_change_nothing(sums: TokenSums) -> None:
    # A maximum of distances starts at 0, so only a distance can be compared.
    sums = replace(sums, mismatch_max=abs(sums.mismatch_max))
    assert TokenSums().plus(sums) == sums
    assert sums.plus(TokenSums()) == sums


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sets(st.integers(1, 5)))
def test_the_sums_of_the_parts_are_those_of_the_whole(seed: int, cuts: set[int]) -> None:
    logprobs = make_logprobs(seed, 6, 4, spread=2.0)
    assert logprobs.reference is not None
    advantages, mask = random_matrix(seed, 6), random_mask(seed, 6, 4)

    def sums_of(start: int, end: int) -> TokenSums:
        rows = slice(start, end)
        part = TokenLogprobs(
            logprobs.policy[rows], logprobs.window[rows], logprobs.sampler[rows],
            logprobs.reference[rows],
        )  # fmt: skip
        entropy = logprobs.policy.abs()[rows]
        return token_sums(torch.tensor(0.0), part, entropy, advantages[rows], mask[rows], CLIP)

    parts = [sums_of(start, end) for start, end in pairwise([0, *sorted(cuts), 6])]
    merged, whole = reduce(TokenSums.plus, parts), sums_of(0, 6)
    assert exact_part(merged) == exact_part(whole)
    for name in ("entropy", "kl", "ratio", "mismatch", "mismatch_kl", "weight", "weight_squared"):
        assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-12)
