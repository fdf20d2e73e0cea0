"""A run directory that no model has seen, and workbenches in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.micro_task import MicroTask
from support.place import LAST_STEP, Place
from support.runs import empty_run, make_run, micro_config

from rlrun.runs.layout import RunDir
from rlrun.trainer import workbench
from rlrun.trainer.workbench import Workbench

MakeBench = Callable[..., Workbench]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path)


@pytest.fixture
def make_bench(micro_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBench]:
    """Make a workbench of the micro model and the micro task, with some settings on top."""
    monkeypatch.setattr(workbench, "make_task", lambda *_, **__: MicroTask())

    def make(*overrides: str) -> Workbench:
        config = micro_config(micro_model, overrides)
        return workbench.build_workbench(
            config,
            device=torch.device("cpu"),
            num_threads=1,
            needs_reference=config.grpo.kl_weight > 0,
        )

    yield make
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def bench(make_bench: MakeBench) -> Workbench:
    return make_bench()


@pytest.fixture
def make_place(tmp_path: Path, micro_model: Path) -> Any:
    def make(*overrides: str, name: str = "sums") -> Place:
        settings = [f"train.max_steps={LAST_STEP}", *overrides]
        return Place(make_run(tmp_path, name, micro_model, settings), tmp_path / "output")

    return make


@pytest.fixture
def place(make_place: Any) -> Place:
    made: Place = make_place()
    return made
