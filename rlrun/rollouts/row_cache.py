"""A key-value cache of fixed shape in which each row has its own position.

R rows, H_kv key heads, L slots, D width, C tokens that enter at once.
"""

from typing import Any

import torch


class RowCache:
    """What transformers' models call a cache: `update` stores keys and values, and returns all.

    Before each forward pass, say where its tokens go: `enter_chunk` for the same slots in all rows,
    `enter_tokens` for one token a row at that row's own slot.
    """

    def __init__(self, num_rows: int, num_slots: int) -> None:
        self.num_rows = num_rows
        self.num_slots = num_slots
        self._keys: list[torch.Tensor] = []  # one a layer, [R, H_kv, L, D]
        self._values: list[torch.Tensor] = []
        self._chunk: slice | None = None
        self._slots: torch.Tensor | None = None  # [R]
        self._rows: torch.Tensor | None = None  # [R]
        self._is_new: torch.Tensor | None = None  # [R, 1, L, 1], on a GPU: where tokens enter

    def enter_chunk(self, start: int, length: int) -> None:
        """Let the next pass store at slots start..start+length-1 of every row."""
        self._chunk = slice(start, start + length)

    def enter_tokens(self, slots: torch.Tensor) -> None:
        """Let the next pass store one token a row, at `slots` [R]."""
        self._chunk = None
        self._slots = slots
        self._rows = torch.arange(self.num_rows, device=slots.device)
        self._is_new = mask_of(slots, self.num_slots) if slots.is_cuda else None

    def update(
        self,
        keys: torch.Tensor,  # [R, H_kv, C, D]
        values: torch.Tensor,  # [R, H_kv, C, D]
        layer: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's new keys and values; return all of that layer's, [R, H_kv, L, D]."""
        if layer == len(self._keys):
            shape = (self.num_rows, keys.shape[1], self.num_slots, keys.shape[3])
            self._keys.append(keys.new_zeros(shape))
            self._values.append(values.new_zeros(shape))
        for store, new in ((self._keys[layer], keys), (self._values[layer], values)):
            if self._chunk is not None:
                store[:, :, self._chunk] = new
            elif self._is_new is not None:
                store_where(self._is_new, store, new)
            else:
                store[self._rows, :, self._slots] = new[:, :, 0]
        return self._keys[layer], self._values[layer]

    def copy_rows(self, source: "RowCache", pairs: list[tuple[int, int]], num_slots: int) -> None:
        """Copy the first slots of rows of another cache: pairs of (row there, row here)."""
        theirs = [pair[0] for pair in pairs]
        ours = [pair[1] for pair in pairs]
        for layer, (keys, values) in enumerate(zip(source._keys, source._values, strict=True)):
            if layer == len(self._keys):
                shape = (self.num_rows, keys.shape[1], self.num_slots, keys.shape[3])
                self._keys.append(keys.new_zeros(shape))
                self._values.append(values.new_zeros(shape))
            self._keys[layer][ours, :, :num_slots] = keys[theirs, :, :num_slots]
            self._values[layer][ours, :, :num_slots] = values[theirs, :, :num_slots]


def mask_of(slots: torch.Tensor, num_slots: int) -> torch.Tensor:
    """Return where each row's `slots` [R] is among all of its slots, bool [R, 1, L, 1]."""
    every = torch.arange(num_slots, device=slots.device)  # [L]
    return (slots[:, None] == every)[:, None, :, None]


def store_where(is_new: torch.Tensor, store: torch.Tensor, new: torch.Tensor) -> None:
    """Put `new` [R, H_kv, 1, D] into `store` [R, H_kv, L, D] where `is_new` [R, 1, L, 1] says.

    The same copy as by index, which a deterministic GPU makes a sort of: a sixth of a decode.
    """
    torch.where(is_new, new, store, out=store)
