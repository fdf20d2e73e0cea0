"""A run to evaluate from the command line, worked by the fake scorer; and one to archive."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.run_maker import RunMaker, stopped_at_30
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


@pytest.fixture
def sums(make_run: Callable[..., RunMaker]) -> RunMaker:
    """The run 'sums', whose one session ended at step 30, with a checkpoint every 10 steps."""
    return stopped_at_30(make_run("sums"))


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside the root as the archive; nothing but the command line names it."""
    monkeypatch.delenv("RLRUN_ARCHIVE", raising=False)
    return tmp_path_factory.mktemp("elsewhere") / "store"
