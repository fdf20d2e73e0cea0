"""Power cuts of real file systems: an image is copied while a session writes to it, and mounted.

What the kernel had not yet written is gone in the copy, so only what was synced can be counted on.
Needs root, loop devices and the makers of the file systems; what is not there is skipped and said.
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import disk_images, jobs, oracle
from support.acknowledged import journaled_records, saved_steps
from support.jobs import Job
from support.runs import make_run

from rlrun.runs import checkpoints, ledger, rollout_journal, store
from rlrun.runs.layout import RunDir

SEED = 20261121
NUM_IMAGES = 10  # of each file system
RESUMED_EVERY = 5
STOPPED = "T"  # the state of a process, in /proc
SETTINGS = ["train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=2"]


@pytest.mark.parametrize("kind", disk_images.FORMATS)
def test_a_power_cut_at_any_moment_loses_nothing_that_was_synced(
    kind: str, tmp_path: Path, micro_model: Path, counted: Any
) -> None:
    image = tmp_path / "image"
    if (reason := disk_images.make(kind, image)) is not None:
        pytest.skip(f"no images of {kind}: {reason}")
    straight = make_run(tmp_path, "straight", micro_model, SETTINGS)
    trace = tmp_path / "straight-trace"
    assert jobs.run(Job(straight.path, trace=trace)) == 0
    num_calls = len(trace.read_text().splitlines())
    chance = random.Random(f"{SEED} {kind}")
    moments = sorted(chance.sample(range(5, num_calls - 5), NUM_IMAGES))
    with disk_images.mounted(image, tmp_path / "disk") as disk:
        run = make_run(disk, "run", micro_model, SETTINGS)
        os.sync()
        known = cut_power(run, image, moments, tmp_path)
    expected = oracle.digest(straight.path)
    for number, made in enumerate(known):
        where = f"{kind}, seed {SEED}, image {number}, in front of {made[-1]!r}"
        with disk_images.mounted(tmp_path / f"image{number}", tmp_path / "found") as found:
            check(RunDir(found / "training_runs" / "run"), made, where)
            if number % RESUMED_EVERY == 0:
                check_end(RunDir(found / "training_runs" / "run"), expected, where)
    counted("images of power cuts", len(known))


def cut_power(run: RunDir, image: Path, moments: list[int], folder: Path) -> list[list[str]]:
    """Copy the image in front of calls of a session; return what it had done by each of them."""
    trace = folder / "trace"
    job = Job(run.path, trace=trace, stop_at_calls=tuple(moments))
    process = jobs.start(jobs.work, job)
    assert process.pid is not None
    known = []
    for number, moment in enumerate(moments):
        known.append(await_stop(process.pid, trace, moment))
        disk_images.copy_of_a_moment(image, folder / f"image{number}")
        os.kill(process.pid, signal.SIGCONT)
    process.join(120)
    assert process.exitcode == 0
    return known


def await_stop(pid: int, trace: Path, moment: int) -> list[str]:
    """Wait until a session stands still in front of a call; return its calls with that one."""
    until = time.monotonic() + 120
    while True:
        assert time.monotonic() < until
        stat = Path(f"/proc/{pid}/stat").read_text()  # no such file: it ended instead
        made = trace.read_text().splitlines() if trace.exists() else []
        if stat.rpartition(")")[2].split()[0] == STOPPED and len(made) > moment:
            assert len(made) == moment + 1
            return made
        time.sleep(0.001)


def check(run: RunDir, made: list[str], where: str) -> None:
    """Everything that was acknowledged is there, and all that is there reads."""
    run_id = store.read_identity(run).id
    for step in saved_steps(made):
        found = checkpoints.inspect(run, step, run_id=run_id, with_hashes=True)
        assert found.is_valid, (where, found.problem)
    newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
    rollout_journal.recover(run, newest.step if newest else 0)
    assert len(oracle.journal_of(run)) >= journaled_records(made), where
    ledger.read(run)


def check_end(run: RunDir, expected: dict[str, Any], where: str) -> None:
    output = run.path.parent / "output"
    code = jobs.run(Job(run.path, output=output))
    assert code in (0, 7), (where, output.read_text())
    assert oracle.differences(expected, oracle.digest(run.path)) == [], where
    assert oracle.litter(run.path) == [], where
    shutil.rmtree(run.path)
