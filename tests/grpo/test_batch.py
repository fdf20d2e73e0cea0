"""Micro-batches: which position predicts what, which carries loss, and how rows are split."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrun.grpo.batch import (
    MicroBatch,
    Row,
    build_micro_batch,
    gather_rows,
    scatter_rows,
    split_rows,
)

PAD = 0
CPU = torch.device("cpu")
TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=6).map(tuple)
LOGPROB = st.floats(-9, 0, width=32)


@st.composite
def make_rows(draw: st.DrawFn) -> Row:
    completion = draw(TOKENS)
    logprobs = st.tuples(*[LOGPROB] * len(completion))
    return Row(
        draw(TOKENS), completion, draw(st.floats(-2, 2)), draw(st.booleans()),
        draw(logprobs), draw(logprobs),
    )  # fmt: skip


ROWS = st.lists(make_rows(), min_size=1, max_size=5)


def build(rows: Sequence[Row]) -> MicroBatch:
    return build_micro_batch(rows, pad_id=PAD, device=CPU)


def row(prompt: int, completion: int, *, window: bool = True) -> Row:
    """Return a row of so many tokens: 11, 12, ... and then 21, 22, ..."""
    logprobs = tuple(-float(i) for i in range(1, completion + 1))
    return Row(
        tuple(range(11, 11 + prompt)), tuple(range(21, 21 + completion)), 0.5, True,
        logprobs, logprobs if window else None,
    )  # fmt: skip


def test_two_rows_by_hand() -> None:
    batch = build([row(2, 2), row(3, 1)])
    assert batch.input_ids.tolist() == [[11, 12, 21, 22], [11, 12, 13, 21]]
    assert batch.num_logits == 3  # positions 1, 2, 3 predict the places 2, 3, 4
    assert batch.targets.tolist() == [[21, 22, PAD], [13, 21, PAD]]
    assert batch.completion_mask.tolist() == [[True, True, False], [False, True, False]]
    assert batch.sampler_logprobs.tolist() == [[-1, -2, 0], [0, -1, 0]]


@settings(deadline=None)
@given(ROWS)
def test_the_completion_mask_picks_each_completion_in_order(rows: list[Row]) -> None:
    batch = build(rows)
    picked = gather_rows(batch.targets, batch.completion_mask)
    assert picked == [row.completion_ids for row in rows]


@settings(deadline=None)
@given(ROWS)
def test_each_scored_position_has_read_everything_before_its_target(rows: list[Row]) -> None:
    batch = build(rows)
    start = batch.input_ids.shape[1] - batch.num_logits
    for index, place in batch.completion_mask.nonzero().tolist():
        seen = batch.input_ids[index, : start + place + 1].tolist()
        tokens = rows[index].prompt_ids + rows[index].completion_ids
        assert (*seen, batch.targets[index, place]) == tokens[: len(seen) + 1]


@settings(deadline=None)
@given(ROWS)
def test_only_rows_with_loss_have_it_and_then_on_the_whole_completion(rows: list[Row]) -> None:
    batch = build(rows)
    for index, row in enumerate(rows):
        assert batch.loss_mask[index].sum() == (len(row.completion_ids) if row.has_loss else 0)
    assert not (batch.loss_mask & ~batch.completion_mask).any()


@settings(deadline=None)
@given(ROWS)
def test_recorded_logprobs_stand_where_their_tokens_are_predicted(rows: list[Row]) -> None:
    batch = build(rows)
    assert batch.window_logprobs is not None
    sampler = gather_rows(batch.sampler_logprobs, batch.completion_mask)
    window = gather_rows(batch.window_logprobs, batch.completion_mask)
    assert sampler == [row.sampler_logprobs for row in rows]
    assert window == [row.window_logprobs for row in rows]
    assert batch.sampler_logprobs[~batch.completion_mask].eq(0).all()


def test_a_row_without_window_logprobs_leaves_the_micro_batch_without() -> None:
    assert build([row(2, 2), row(2, 2, window=False)]).window_logprobs is None


def test_a_prompt_of_one_token_is_enough() -> None:
    batch = build([row(1, 2)])
    assert batch.targets[batch.completion_mask].tolist() == [21, 22]


def test_each_row_keeps_its_advantage() -> None:
    rows = [Row((1,), (2,), advantage, True, (0.0,), None) for advantage in (-1.5, 0.25)]
    assert build(rows).advantages.tolist() == [-1.5, 0.25]


@settings(deadline=None)
@given(st.data())
def test_gathering_gives_back_what_was_scattered(data: st.DataObject) -> None:
    mask = torch.tensor(
        data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1))
    )
    values = [data.draw(st.tuples(*[LOGPROB] * int(places.sum()))) for places in mask]
    assert gather_rows(scatter_rows(values, mask), mask) == values


def test_scattering_too_few_values_is_refused() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        scatter_rows([(1.0, 2.0)], torch.tensor([[True, True, True]]))


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 9))
def test_every_row_is_in_one_micro_batch_and_none_is_too_large(
    lengths: list[int], size: int
) -> None:
    parts = split_rows(lengths, size)
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    assert all(len(part) == size for part in parts[:-1])
    assert all(1 <= len(part) <= size for part in parts)


def test_the_longest_rows_come_first_and_ties_keep_their_order() -> None:
    assert split_rows([3, 9, 3, 5, 9], 2) == [(1, 4), (3, 0), (2,)]
