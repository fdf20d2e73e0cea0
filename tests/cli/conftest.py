"""A run to evaluate from the command line, worked by the fake scorer."""

import os
from functools import partial
from pathlib import Path

import pytest
from support.scoring import SCORER, Bench, remembered_sums

from rlrun.cli import evaluate
from rlrun.engines.client import EngineProcess
from rlrun.tasks.arithmetic import Arithmetic


@pytest.fixture
def bench(root: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A run with three steps; `rlrun eval` in this process starts the fake scorer."""
    for name in ("PYTHONPATH", "FAKE_ENGINE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(evaluate, "EngineProcess", partial(EngineProcess, command=SCORER))
    monkeypatch.setattr(Arithmetic, "prompts", remembered_sums)
    return Bench(root)
