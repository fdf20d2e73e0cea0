"""The in-process engine: completions from the policy itself, each independent of its batch.

Every forward pass has one of two shapes, filled or not: [prefill rows, chunk] for prompts and [R,
1] to decode; attention is over all L slots of the cache.  A row's tokens sit at slots 0, 1, 2,
... of its own.  So a row is computed by the same instructions whoever its neighbours are (section
8 of docs/design.md).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from rlrun.engines.protocol import Interrupted, SampleRequest
from rlrun.errors import NotFiniteError
from rlrun.rollouts.draw import draw_tokens
from rlrun.rollouts.purity import treats_rows_alike
from rlrun.rollouts.row_cache import RowCache
from rlrun.seeds import uniforms
from rlrun.types import Completion, FinishReason, Sampling

_CHUNK_TOKENS = 64
_PREFILL_TOKENS = 256
_MIN_PREFILL_ROWS = 4
# Matrix products take rows by fours or eights; what is left over takes other kernels, with other
# roundings, and so do the odd rows at the border between two threads.
_ROWS_MULTIPLE = 8
_NUM_LOOKS = 8


@dataclass(slots=True)
class _Active:
    """A completion being decoded."""

    index: int
    request: SampleRequest
    draws: list[float]  # uniforms, one a position
    next_input: int
    position: int  # the slot where next_input goes
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class _Prompts:
    """Prompts entered into a cache a few at a time: those needed now, then the next in line."""

    def __init__(self, engine: "TorchEngine") -> None:
        self._engine = engine
        self._waiting: dict[tuple[int, ...], None] = {}
        self._rows: dict[tuple[int, ...], int] = {}
        self._cache = RowCache(engine.prefill_rows, engine.num_slots)

    def expect(self, prompt: tuple[int, ...]) -> None:
        """Put a prompt in line, unless it is entered."""
        if prompt not in self._rows:
            self._waiting[prompt] = None

    def copy_to(self, cache: RowCache, admitted: Sequence[tuple[int, SampleRequest]]) -> None:
        """Copy the prompts of newly admitted (row, request) into their rows."""
        wanted = [(row, request.prompt_token_ids) for row, request in admitted]
        while wanted:
            pairs = [(self._rows[prompt], row) for row, prompt in wanted if prompt in self._rows]
            if pairs:
                cache.copy_rows(self._cache, pairs, self._engine.prompt_slots)
            wanted = [(row, prompt) for row, prompt in wanted if prompt not in self._rows]
            if wanted:
                self._enter([prompt for _, prompt in wanted])

    def _enter(self, needed: Sequence[tuple[int, ...]]) -> None:
        in_order = dict.fromkeys([*needed, *self._waiting])
        prompts = list(in_order)[: self._engine.prefill_rows]
        for prompt in prompts:
            self._waiting.pop(prompt, None)
        self._rows = {prompt: row for row, prompt in enumerate(prompts)}
        self._engine.enter(prompts, self._cache)


class Decoding:
    """Completions in the making: requests may be added at any time and join as rows free up.

    All of them share one `sampling`, and the model must not change between the first and the last.
    """

    def __init__(self, engine: "TorchEngine") -> None:
        self._engine = engine
        self._waiting: deque[tuple[int, SampleRequest]] = deque()
        self._rows: list[_Active | None] = [None] * engine.num_rows
        self._cache = RowCache(engine.num_rows, engine.num_slots)
        self._prompts = _Prompts(engine)
        self.num_drawn = 0

    @property
    def is_busy(self) -> bool:
        """Whether anything is not finished."""
        return bool(self._waiting) or any(self._rows)

    def add(self, index: int, request: SampleRequest) -> None:
        """Ask for a completion; `index` comes back with it."""
        self._waiting.append((index, request))
        self._prompts.expect(request.prompt_token_ids)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Completion]]:
        """Draw one token in every row; return what finished."""
        self._admit()
        self.num_drawn += sum(active is not None for active in self._rows)
        return self._engine.decode(self._rows, self._cache)

    def _admit(self) -> None:
        admitted: list[tuple[int, SampleRequest]] = []
        for row, active in enumerate(self._rows):
            if active is None and self._waiting:
                index, request = self._waiting.popleft()
                self._rows[row] = _start(index, request)
                admitted.append((row, request))
        self._prompts.copy_to(self._cache, admitted)


class TorchEngine:
    """Completes prompts with a transformers model in this process."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        stop_ids: frozenset[int],
        num_rows: int,
        max_prompt_tokens: int,
        max_completion_tokens: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self.num_rows = _round_up(num_rows, _ROWS_MULTIPLE)
        self.chunk = min(_CHUNK_TOKENS, _round_up(max_prompt_tokens, 8))
        self.prompt_slots = _round_up(max_prompt_tokens, self.chunk)
        self.num_slots = _round_up(self.prompt_slots + max_completion_tokens, 8)
        self.prefill_rows = max(
            _MIN_PREFILL_ROWS, min(self.num_rows, _PREFILL_TOKENS // self.chunk)
        )
        self._device = next(model.parameters()).device
        self._dtype = next(model.parameters()).dtype

    @cached_property
    def is_pure(self) -> bool:
        """Whether no row's numbers depend on its place, in either of the engine's two shapes."""
        return treats_rows_alike(self._model, self._compute_equal_rows)

    @torch.inference_mode()
    def _compute_equal_rows(self) -> None:
        self._model.eval()
        vocabulary = self._model.get_input_embeddings().num_embeddings
        room = min(self.chunk + 1, self.prompt_slots)
        prompt = tuple(token % vocabulary for token in range(room))
        entered = RowCache(self.prefill_rows, self.num_slots)
        self.enter([prompt] * self.prefill_rows, entered)
        cache = RowCache(self.num_rows, self.num_slots)
        cache.copy_rows(entered, [(0, row) for row in range(self.num_rows)], self.prompt_slots)
        for token in range(_NUM_LOOKS):  # two roundings of one number may agree by chance
            tokens = torch.full((self.num_rows, 1), token % vocabulary)
            slots = torch.full((self.num_rows,), room - 1)  # [R]
            cache.enter_tokens(slots.to(self._device))
            self._forward(tokens, slots[:, None], slots[:, None, None], cache)

    def generate(
        self, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (index, completion) as completions finish; rows that free up take the next request.

        All requests share one `sampling`.  Raises Interrupted when told to stop, within a token.
        """
        self._model.eval()
        decoding = Decoding(self)
        for index, request in enumerate(requests):
            decoding.add(index, request)
        while decoding.is_busy:
            if should_stop():
                raise Interrupted
            yield from decoding.step()

    def enter(self, prompts: Sequence[tuple[int, ...]], cache: RowCache) -> None:
        """Enter all but the last token of each prompt into the cache, row by row."""
        longest = max(len(prompt) for prompt in prompts) - 1
        tokens = torch.zeros((self.prefill_rows, self.prompt_slots), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt) - 1] = torch.tensor(prompt[:-1])
        for start in range(0, longest, self.chunk):
            positions = torch.arange(start, start + self.chunk)  # [C]
            cache.enter_chunk(start, self.chunk)
            self._forward(
                tokens[:, start : start + self.chunk],
                positions.expand(self.prefill_rows, -1),
                positions[None, :, None],
                cache,
            )

    def _forward(
        self,
        tokens: torch.Tensor,  # [B, C]
        position_ids: torch.Tensor,  # [B, C]
        last_visible: torch.Tensor,  # [B or 1, C, 1] the last slot that a token may look at
        cache: RowCache,
    ) -> torch.Tensor:
        """Return the logits at the last position, [B, V]."""
        slots = torch.arange(self.num_slots)  # [L]
        hidden = slots[None, None, :] > last_visible  # [B or 1, C, L]
        mask = torch.zeros(hidden.shape, dtype=self._dtype).masked_fill_(hidden, float("-inf"))
        output = self._model(
            input_ids=tokens.to(self._device),
            position_ids=position_ids.to(self._device),
            attention_mask=mask[:, None].to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def decode(self, rows: list[_Active | None], cache: RowCache) -> list[tuple[int, Completion]]:
        """Draw one token in every row; return what finished, and free its rows."""
        sampling = next(active for active in rows if active).request.sampling
        tokens = torch.tensor([[active.next_input if active else 0] for active in rows])
        slots = torch.tensor([active.position if active else 0 for active in rows])  # [R]
        draws = [active.draws[len(active.tokens)] if active else 0.5 for active in rows]
        cache.enter_tokens(slots.to(self._device))
        logits = self._forward(tokens, slots[:, None], slots[:, None, None], cache)  # [R, V]
        chances = torch.tensor(draws, dtype=torch.float64).to(self._device)  # [R]
        drawn, logprobs = draw_tokens(logits, chances, sampling)
        if not bool(logprobs.isfinite().all()):
            raise NotFiniteError(
                f"the policy's probabilities are not finite; {NotFiniteError.remedy}"
            )
        finished = []
        for row, (token, logprob) in enumerate(zip(drawn.tolist(), logprobs.tolist(), strict=True)):
            active = rows[row]
            if active is None:
                continue
            reason = self._advance(active, token, logprob, sampling)
            if reason is not None:
                finished.append((active.index, self._complete(active, reason)))
                rows[row] = None
        return finished

    def _advance(
        self, active: _Active, token: int, logprob: float, sampling: Sampling
    ) -> FinishReason | None:
        active.tokens.append(token)
        active.logprobs.append(logprob)
        active.next_input = token
        active.position += 1
        if token in self._stop_ids:
            return "stop"
        return "length" if len(active.tokens) == sampling.max_completion_tokens else None

    def _complete(self, active: _Active, reason: FinishReason) -> Completion:
        text = self._tokenizer.decode(active.tokens, skip_special_tokens=True)
        return Completion(tuple(active.tokens), text, tuple(active.logprobs), reason)


def _start(index: int, request: SampleRequest) -> _Active:
    key = request.key
    draws = uniforms(
        key.run_seed, "sample", key.step, key.prompt_id, key.sample,
        count=request.sampling.max_completion_tokens,
    )  # fmt: skip
    prompt = request.prompt_token_ids
    return _Active(index, request, draws, next_input=prompt[-1], position=len(prompt) - 1)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
