"""Kill whole process groups of sessions at random moments, and go on until the run is finished.

A moment is drawn from 0 to what an undisturbed session takes, so that it falls anywhere: while
nothing is open yet, in a sample, in an update, in a save, in the end.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlrun.errors import EXIT_DONE, NothingToDoError
from rlrun.runs import ledger, store
from rlrun.runs.checkpoints import inspect, list_steps
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from support import jobs, oracle, races
from support.jobs import Job
from support.runs import make_run

SETTINGS = {
    "plain": ["train.max_steps=6", "saving.every_steps=2", "grpo.prompts_per_step=2"],
    "each step": ["train.max_steps=5", "saving.every_steps=1", "grpo.prompts_per_step=1"],
    "never saved": ["train.max_steps=5", "grpo.prompts_per_step=2"],
    "window": [
        "train.max_steps=6",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=3",
        "grpo.kl_weight=0.1",
    ],
    "background": [
        "train.max_steps=6",
        "saving.every_steps=1",
        "saving.background=true",
        "grpo.prompts_per_step=1",
        "model.lora.dropout=0.2",
    ],
}


@dataclass
class Counts:
    """What was done, and where it hit."""

    num_runs: int = 0
    num_kills: int = 0
    num_too_late: int = 0  # the session had ended by itself
    steps: Counter[int] = field(default_factory=Counter)  # checkpoints that were there, by number


class Course:
    """An untouched run, what it ends in, and how long a session on it takes."""

    def __init__(self, folder: Path, model: Path, name: str, device: str = "cpu") -> None:
        self.name = name
        self._folder = folder
        self._request = SessionRequest(device=device)
        self._untouched = make_run(folder, "untouched", model, SETTINGS[name])
        seconds = []
        for number in range(3):
            run = self.copy(folder / f"straight{number}")
            started = time.monotonic()
            assert jobs.run_worker(Job(run.path, self._request)) == EXIT_DONE
            seconds.append(time.monotonic() - started)
        self.seconds = min(seconds)  # the others waited for the machine
        self.digest = oracle.digest(run.path)

    def copy(self, path: Path) -> RunDir:
        return RunDir(shutil.copytree(self._untouched.path, path, symlinks=True))

    def kill_and_finish(
        self, draw: random.Random, num_kills: int, folder: Path, counts: Counts, where: str
    ) -> None:
        """Kill so many sessions in a row, let one finish, and judge the run."""
        run, output = self.copy(folder / "run"), folder / "output"
        for _ in range(num_kills):
            safe = valid_steps(run)
            job = Job(run.path, self._request, output=output)
            killed = kill_one(job, draw.uniform(0, self.seconds))
            counts.num_kills += killed
            counts.num_too_late += not killed
            counts.steps[len(safe)] += 1
            gone = safe - valid_steps(run)
            assert not gone, f"{where}: steps {sorted(gone)} are gone"
        code = jobs.run_worker(Job(run.path, self._request, output=output))
        assert code in (EXIT_DONE, NothingToDoError.exit_code), (where, output.read_text())
        judge(run, self.digest, where)
        counts.num_runs += 1
        shutil.rmtree(run.path)
        output.unlink()


def judge(run: RunDir, expected: dict[str, Any], where: str) -> None:
    """Fail unless a finished run is what it would be if nobody had been killed."""
    assert oracle.differences(expected, oracle.digest(run.path)) == [], where
    assert oracle.litter(run.path) == [], where
    assert not run.quarantine.exists(), f"{where}: a kill left a step that does not verify"
    races.check_one_writer(run, len(ledger.read(run)))
    races.check_no_group_twice(run)


def valid_steps(run: RunDir) -> set[int]:
    run_id = store.read_identity(run).id
    steps = list_steps(run)
    return {s for s in steps if inspect(run, s, run_id=run_id, with_hashes=True).is_valid}


def lead_a_group(job: Job) -> None:
    """Be a worker that leads a process group of its own, as one that a user starts does."""
    os.setsid()
    jobs.serve(job)


def kill_one(job: Job, seconds: float) -> bool:
    """Start a session, and kill its process group after so long; False if it ended before."""
    process = jobs.start(lead_a_group, job)
    process.join(seconds)
    if process.exitcode is not None:
        return False
    kill_group(process.pid)
    process.join()
    return process.exitcode == -signal.SIGKILL


def kill_group(pid: int | None) -> None:
    """Kill a process and its group; before it has one of its own, it alone."""
    assert pid is not None
    try:
        is_leader = os.getpgid(pid) == pid
        (os.killpg if is_leader else os.kill)(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended in this moment
