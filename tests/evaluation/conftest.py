"""A run to evaluate, worked by the fake scorer."""

import os
from pathlib import Path

import pytest
from support.scoring import Bench, remembered_sums

from rlrun.tasks.arithmetic import Arithmetic


@pytest.fixture
def bench(root: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A run with three steps, evaluated by the fake scorer."""
    for name in ("PYTHONPATH", "FAKE_ENGINE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(Arithmetic, "prompts", remembered_sums)
    return Bench(root)
