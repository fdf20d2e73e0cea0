"""A run is trained, archived and cleaned up, its machine is lost, and it goes on elsewhere."""

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rlrun.runs import checkpoints
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from support import jobs, oracle
from support.jobs import Job
from support.runs import make_run

SETTINGS = ["train.max_steps=6", "saving.every_steps=1", "grpo.prompts_per_step=2",
            "grpo.updates_per_batch=2"]  # fmt: skip
LAST_STEP = 5  # before the machine is lost: inside a window of two updates


def never_archived(folder: Path, model: Path) -> dict[str, Any]:
    """Return what a run that nobody interrupts ends in."""
    run = make_run(folder, "sums", model, SETTINGS)
    assert jobs.run(Job(run.path)) == 0
    return oracle.digest(run.path)


def set_environment(values: dict[str, str]) -> None:
    os.environ.update(values)


def command(root: Path, environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command line in a fork, and hold that it ends well."""
    output = root.with_name(f"{root.name}.said")
    job = Job(root, mishap=partial(set_environment, dict(environment)), output=output)
    code = jobs.in_fork(jobs.command, job, *arguments, "--root", str(root))
    assert code == 0, output.read_text()


def lose_and_restore(
    folder: Path, model: Path, place: str, environment: Mapping[str, str], step: str
) -> dict[str, Any]:
    """Return what a run ends in that was lost after step 5 and restored at a step."""
    root = folder / "root"
    run = make_run(root, "sums", model, SETTINGS)
    assert jobs.run(Job(run.path, SessionRequest(steps=LAST_STEP, device="cpu"))) == 0
    command(root, environment, "archive", "--cleanup", "--keep-latest", "--to", place)
    assert checkpoints.list_steps(run) == [LAST_STEP]
    shutil.rmtree(root)
    command(root, environment, "restore", "sums", "--from-archive", place, "--step", step)
    again = RunDir(run.path)
    assert jobs.run(Job(again.path)) == 0
    return oracle.digest(again.path)
