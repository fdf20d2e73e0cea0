"""Stopping and resuming, however often, ends in the same bytes as never stopping.

A grid of configurations times interruptions, each cell in forked processes, zero tolerance.
"""

import itertools
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle
from support.jobs import Job
from support.runs import make_run

from rlrun.runs.request import SessionRequest

SEED = 20260131
NUM_CONFIGS = 40
LAST_STEP = 6

FACTORS: dict[str, list[list[str]]] = {
    "updates": [[], ["grpo.updates_per_batch=2"], ["grpo.updates_per_batch=3"]],
    "accumulation": [[], ["grpo.micro_batch_size=5"], ["grpo.accumulation_steps=3"]],
    "kl": [[], ["grpo.kl_weight=0.1"]],
    "schedule": [
        [],
        ["grpo.schedule=linear", "grpo.warmup_steps=2"],
        ["grpo.schedule=cosine"],
    ],
    "dropout": [[], ["model.lora.dropout=0.2"]],
    "temperature": [
        [],
        ["sampling.temperature={initial: 1.5, final: 0.8, warmup_steps: 4}"],
    ],
    "weights": [[], ["model.lora=null"]],
    "other": [
        [],
        ["grpo.weight_decay=0.1", "grpo.mask_truncated=true"],
        ["sampling.top_p=0.9", "sampling.top_k=12", "grpo.scale_advantages=none"],
        ["model.gradient_checkpointing=true", "grpo.max_grad_norm=0.05"],
    ],
}


@dataclass(frozen=True)
class Interruption:
    """A way to not run in one go."""

    name: str
    save_every: str
    stops: tuple[int, ...] = ()  # sessions of that many steps, then one to the end
    kills: tuple[int, ...] = ()  # sessions killed after that many reported steps
    background: bool = False


INTERRUPTIONS = [
    Interruption("stop after 1", "null", stops=(1,)),
    Interruption("stop after 3, save every 2", "2", stops=(3,)),
    Interruption("stop after each step", "null", stops=(1, 1, 1, 1, 1)),
    Interruption("killed after 2, never saved", "null", kills=(2,)),
    Interruption("killed after 5, save every 2", "2", kills=(5,)),
    Interruption("killed three times, save every 4", "4", kills=(3, 5, 1), background=True),
    Interruption("stop after 3, killed 1 later, save every step", "1", stops=(3,), kills=(1,)),
]


def sampled_configs() -> list[tuple[str, ...]]:
    """Return settings drawn from all combinations, every value of every factor among them."""
    everything = list(itertools.product(*FACTORS.values()))
    chosen = random.Random(SEED).sample(everything, NUM_CONFIGS)
    for values, column in zip(FACTORS.values(), zip(*chosen, strict=True), strict=True):
        assert all(value in column for value in values)
    return [tuple(itertools.chain(*combination)) for combination in chosen]


CONFIGS = [
    # dropout belongs to the adapter: without one there is none
    tuple(s for s in config if not ("model.lora=null" in config and "dropout" in s))
    for config in sampled_configs()
]
CELLS = [
    pytest.param(index, interruption, id=f"config{index}-{interruption.name}")
    for index in range(NUM_CONFIGS)
    for interruption in INTERRUPTIONS
]


def settings(index: int, save_every: str, *, background: bool) -> list[str]:
    saving = [f"saving.every_steps={save_every}", f"saving.background={background}".lower()]
    overrides = [*CONFIGS[index], *saving]
    if "model.lora=null" in overrides:  # after the micro settings, which speak of its parts
        overrides.sort(key=lambda text: text == "model.lora=null")
    return overrides


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    """The digest of each configuration's uninterrupted run, made when first asked for."""

    @cache
    def baseline(index: int) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("baseline")
        run = make_run(root, "run", micro_model, settings(index, "null", background=False))
        assert jobs.run(Job(run.path, output=root / "output")) == 0, (root / "output").read_text()
        return oracle.digest(run.path)

    return baseline


@pytest.mark.parametrize(("index", "how"), CELLS)
def test_an_interrupted_run_ends_in_the_same_bytes(
    index: int, how: Interruption, baselines: Any, tmp_path: Path, micro_model: Path
) -> None:
    overrides = settings(index, how.save_every, background=how.background)
    run = make_run(tmp_path, "run", micro_model, overrides)
    output = tmp_path / "output"
    for steps in how.stops:
        request = SessionRequest(steps=steps, device="cpu")
        assert jobs.run(Job(run.path, request, output=output)) == 0, output.read_text()
    for steps in how.kills:
        assert jobs.run(Job(run.path, kill_after_steps=steps, output=output)) == -9
    if sum(how.stops) < LAST_STEP:
        assert jobs.run(Job(run.path, output=output)) == 0, output.read_text()
    found, expected = oracle.digest(run.path), baselines(index)
    assert oracle.differences(expected, found) == [], f"settings: {CONFIGS[index]}"
    assert not oracle.litter(run.path)
