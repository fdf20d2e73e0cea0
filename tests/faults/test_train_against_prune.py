"""Training, pruning and pinning at the same time: whoever is first, nothing that must stay goes."""

import os
import random
import time
from pathlib import Path

import pytest
from support import jobs, oracle
from support.jobs import Job
from support.runs import make_run

from rlrun.errors import LockedError, RlrunError
from rlrun.runs import checkpoints, lock, pins, retention, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.runs.retention import Pruner, Rules

SEEDS = (20261121, 20261122, 20261123)
LAST_STEP = 8
SETTINGS = [f"train.max_steps={LAST_STEP}", "saving.every_steps=1", "grpo.prompts_per_step=1"]
MAX_REFUSALS = 500  # while a script that prunes without pause has the lock


def prune_until(done: Path, run_dir: Path) -> None:
    """Prune whenever nobody trains, as an impatient script does."""
    run = RunDir(run_dir)
    while not done.exists():
        try:
            held = lock.Lock(run, lambda: lock.TIDYING, heartbeat_seconds=None)
        except LockedError:
            time.sleep(0.005)
            continue
        Pruner(run, store.read_identity(run).id).prune(Rules(keep_latest=1))
        held.release()
        time.sleep(0.02)
    os._exit(0)


def pin_until(done: Path, run_dir: Path, seed: int) -> None:
    """Pin steps at random moments; a pin that is not granted is taken back by itself."""
    run, chance = RunDir(run_dir), random.Random(seed)
    while not done.exists():
        steps = checkpoints.list_steps(run)
        try:
            if steps:
                retention.pin(run, chance.choice(steps), run_id=store.read_identity(run).id)
        except RlrunError:
            pass  # it was removed a moment ago
        time.sleep(chance.random() * 0.1)
    os._exit(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_pinned_while_scripts_prune_and_sessions_train_stays_and_is_exact(
    seed: int, tmp_path: Path, micro_model: Path
) -> None:
    straight = make_run(tmp_path, "straight", micro_model, SETTINGS)
    assert jobs.run(Job(straight.path)) == 0
    run, done = make_run(tmp_path, "run", micro_model, SETTINGS), tmp_path / "done"
    others = [
        jobs.start(prune_until, done, run.path),
        *(jobs.start(pin_until, done, run.path, seed + n) for n in range(2)),
    ]
    for _ in range(MAX_REFUSALS):
        code = jobs.run(Job(run.path, SessionRequest(steps=1, device="cpu")))
        if code == 7:  # nothing to do: it is at its end
            break
        assert code in (0, LockedError.exit_code)
    done.touch()
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    run_id = store.read_identity(run).id
    for step in {*pins.list_pinned(run), LAST_STEP}:
        assert checkpoints.inspect(run, step, run_id=run_id, with_hashes=True).is_valid, seed
    assert oracle.differences(oracle.digest(straight.path), oracle.digest(run.path)) == [], seed
    assert oracle.litter(run.path) == [], seed
