"""The cache: each new key and value lands in its row and slot, and nowhere else.

One key head, width 1; a key's value is negative so that keys and values cannot be confused.
"""

import torch

from rlrun.rollouts.row_cache import RowCache, mask_of, store_where


def entries(rows: list[list[float]]) -> torch.Tensor:
    """Return keys or values [R, 1, C, 1]."""
    return torch.tensor(rows)[:, None, :, None]


def plain(tensor: torch.Tensor) -> list[list[float]]:
    return tensor[:, 0, :, 0].tolist()


def filled(num_slots: int = 4) -> RowCache:
    """Return two rows with keys 1, 2, ... and 11, 12, ... in every slot."""
    cache = RowCache(2, num_slots)
    cache.enter_chunk(0, num_slots)
    keys = entries([[start + slot for slot in range(num_slots)] for start in (1.0, 11.0)])
    cache.update(keys, -keys, 0)
    return cache


def read(cache: RowCache, layer: int = 0) -> tuple[list[list[float]], list[list[float]]]:
    """Return a layer's keys and values, by storing nothing."""
    cache.enter_chunk(0, 0)
    nothing = torch.zeros((cache.num_rows, 1, 0, 1))
    keys, values = cache.update(nothing, nothing, layer)
    return plain(keys), plain(values)


def test_a_chunk_goes_to_the_same_slots_of_every_row() -> None:
    cache = RowCache(2, 4)
    cache.enter_chunk(1, 2)
    chunk = entries([[1.0, 2.0], [3.0, 4.0]])
    keys, values = cache.update(chunk, -chunk, 0)
    assert plain(keys) == [[0, 1, 2, 0], [0, 3, 4, 0]]
    assert plain(values) == [[0, -1, -2, 0], [0, -3, -4, 0]]


def test_each_token_goes_to_the_slot_of_its_row() -> None:
    cache = filled()
    cache.enter_tokens(torch.tensor([3, 0]))
    tokens = entries([[50.0], [60.0]])
    keys, values = cache.update(tokens, -tokens, 0)
    assert plain(keys) == [[1, 2, 3, 50], [60, 12, 13, 14]]
    assert plain(values) == [[-1, -2, -3, -50], [-60, -12, -13, -14]]


def test_a_gpus_way_to_store_tokens_makes_the_same_copy() -> None:
    store = torch.randn((5, 3, 8, 4), generator=torch.Generator().manual_seed(0))
    new, slots = -store[:, :, :1].clone(), torch.tensor([7, 0, 3, 0, 6])
    expected = store.clone()
    expected[torch.arange(5), :, slots] = new[:, :, 0]
    store_where(mask_of(slots, 8), store, new)
    assert torch.equal(store, expected)


def test_layers_do_not_share_slots() -> None:
    cache = filled()
    cache.enter_chunk(0, 1)
    tokens = entries([[7.0], [8.0]])
    cache.update(tokens, -tokens, 1)
    assert read(cache, 0)[0] == [[1, 2, 3, 4], [11, 12, 13, 14]]
    assert read(cache, 1)[0] == [[7, 0, 0, 0], [8, 0, 0, 0]]


def test_copied_rows_take_the_first_slots_and_leave_the_rest() -> None:
    source, target = filled(), RowCache(3, 4)
    target.enter_chunk(0, 4)
    before = entries([[21.0, 22.0, 23.0, 24.0], [31.0] * 4, [41.0] * 4])
    target.update(before, -before, 0)
    target.copy_rows(source, [(1, 0), (0, 2)], 2)
    keys, values = read(target)
    assert keys == [[11, 12, 23, 24], [31] * 4, [1, 2, 41, 41]]
    assert values == [[-11, -12, -23, -24], [-31] * 4, [-1, -2, -41, -41]]


def test_one_row_may_be_copied_to_several() -> None:
    target = RowCache(2, 4)
    target.copy_rows(filled(), [(1, 0), (1, 1)], 3)
    assert read(target)[0] == [[11, 12, 13, 0], [11, 12, 13, 0]]


def test_a_copy_does_not_follow_its_source() -> None:
    source, target = filled(), RowCache(2, 4)
    target.copy_rows(source, [(0, 0)], 4)
    source.enter_chunk(0, 1)
    source.update(entries([[99.0], [99.0]]), entries([[99.0], [99.0]]), 0)
    assert read(target)[0][0] == [1, 2, 3, 4]
