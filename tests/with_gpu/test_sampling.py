"""A completion does not depend on its company on a GPU either, where it treats rows alike.

Where it does not, the engine says so, and a session promises no more than replay-exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.completions import complete, engine_of, make_requests, random_partitions
from support.policies import LORA, disturb, make_policy

from rlrun.policy import determinism
from rlrun.rollouts.torch_engine import TorchEngine


@dataclass(frozen=True)
class Case:
    """A model and the shapes that its engine works in."""

    dtype: str
    is_wide: bool = False
    num_rows: int = 8
    max_prompt_tokens: int = 12
    lora_rank: int | None = None

    def make_engine(self, model: Any) -> TorchEngine:
        return engine_of(model, num_rows=self.num_rows, max_prompt_tokens=self.max_prompt_tokens)


SHAPES: dict[str, dict[str, Any]] = {
    "micro": {},
    "micro, several chunks": {"max_prompt_tokens": 100, "num_rows": 24},
    "adapter of rank one": {"lora_rank": 1},
    "adapter of rank two": {"lora_rank": 2, "num_rows": 16},
    "wide": {"is_wide": True},
    "wide, many rows": {"is_wide": True, "num_rows": 64, "max_prompt_tokens": 100},
    "wide, adapter": {"is_wide": True, "lora_rank": 16, "num_rows": 64},
}
CASES = {
    f"{name}, {dtype}": Case(dtype, **shape)
    for name, shape in SHAPES.items()
    for dtype in ("float32", "bfloat16", "float16")
}


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Torch's settings as a session has them."""
    num_threads = torch.get_num_threads()
    determinism.apply(deterministic=True, num_threads=1)
    yield
    determinism.apply(deterministic=False, num_threads=num_threads)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_no_partition_and_no_order_changes_a_bit(
    case: Case, device: str, micro_model: Path, wide_model: Path, counted: Any
) -> None:
    lora = LORA.model_copy(update={"rank": case.lora_rank or 1})
    policy = make_policy(
        wide_model if case.is_wide else micro_model, lora=lora, dtype=case.dtype
    )  # fmt: skip
    disturb(policy)
    model = policy.model if case.lora_rank is not None else policy.model.unload()
    model = model.to(device)
    engine, requests = case.make_engine(model), make_requests(case.max_prompt_tokens)
    expected = complete(case.make_engine(model), requests)
    assert complete(case.make_engine(model), requests) == expected  # whatever is promised
    if not engine.is_pure:
        pytest.skip("rows are not treated alike here: sessions promise replay-exact")
    for parts in random_partitions(len(requests), 8, seed=case.num_rows):
        for part in parts:
            asked = [requests[place] for place in part]
            assert complete(engine, asked) == [expected[place] for place in part]
    counted("kinds of engine in which no partition changed a bit", 1)
