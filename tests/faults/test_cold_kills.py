"""SIGKILL of whole process groups at random moments, not in front of calls: by the clock.

Cold: the real `rlrun` and its worker, each a process of its own that imports torch, as a user
starts it; 30 of these that hit, 5 in each of 6 tests.  Where a session ends before its moment, the
run that it finished is judged, and the next moment is drawn for another run.  Most fall into the
imports, because a session of a small model is mostly imports.  Warm: the worker in a fork that has
the imports, whose time is its training; `make campaign` makes hundreds of these.

A failure prints the line that draws the same moments again.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import command, kills, oracle
from support.kills import SETTINGS, Counts, Course

from rlrun.errors import EXIT_DONE, NothingToDoError
from rlrun.runs import lock
from rlrun.runs.layout import RunDir

SEED = os.environ.get("KILL_SEED", "20260131")
COLD = (
    "train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=2",
    "sampling.max_completion_tokens=8", "train.num_threads=1",
)  # fmt: skip
COLD_SETTINGS = {
    "plain": (),
    "window": ("grpo.updates_per_batch=2", "grpo.kl_weight=0.1"),
    "background": ("saving.background=true",),
}
NUM_COLD = 5  # kills that hit
MAX_MISSED = 10
NUM_WARM = 2


def reproducer(test: str) -> str:
    return f"KILL_SEED={SEED} python -m pytest 'tests/faults/test_cold_kills.py::{test}'"


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    @cache
    def course(name: str) -> Course:
        return Course(tmp_path_factory.mktemp("course"), micro_model, name)

    return course


@pytest.fixture
def where(request: pytest.FixtureRequest) -> str:
    """The line that repeats a test, which is shown when it fails."""
    line = reproducer(request.node.name)
    request.node.add_report_section("call", "to draw the same moments again", line)
    return line


@pytest.mark.parametrize("name", SETTINGS)
def test_workers_killed_by_the_clock_are_followed_by_one_that_ends_in_the_same_bytes(
    name: str, courses: Any, tmp_path: Path, counted: Any, where: str
) -> None:
    counts = Counts()
    draw = random.Random(f"{SEED}/{name}")
    courses(name).kill_and_finish(draw, NUM_WARM, tmp_path, counts, where)
    counted(f"kills of a worker's process group by the clock (seed {SEED})", counts.num_kills)


@pytest.fixture(scope="module")
def straights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the real command ends in when nobody interferes, and how long it takes."""

    @cache
    def straight(name: str) -> tuple[dict[str, Any], float]:
        root = tmp_path_factory.mktemp("straight")
        started = time.monotonic()
        result = command.rlrun(root, *train(name))
        assert result.returncode == EXIT_DONE, result.stderr
        seconds = time.monotonic() - started
        return oracle.digest(command.run_of(root, "run").path), seconds

    return straight


def train(name: str) -> list[str]:
    settings = [word for setting in (*COLD, *COLD_SETTINGS[name]) for word in ("--set", setting)]
    return ["train", "--name", "run", *settings]


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("name", COLD_SETTINGS)
def test_the_real_command_killed_again_and_again_ends_in_the_same_bytes(
    name: str, number: int, straights: Any, tmp_path: Path, counted: Any, where: str
) -> None:
    digest, seconds = straights(name)
    draw, run = random.Random(f"{SEED}/{name}/{number}"), command.run_of(tmp_path, "run")
    num_kills = num_missed = 0
    while num_kills < NUM_COLD:
        started = time.monotonic()
        process = command.start(tmp_path, *next_words(run, name))
        if kill_all(process, run, draw.uniform(0, seconds)):
            num_kills += 1
            continue
        num_missed += 1
        assert num_missed <= MAX_MISSED, where
        seconds = min(seconds, time.monotonic() - started)  # the first one waited for the machine
        judge_end(run, digest, process.returncode, where)
        shutil.rmtree(run.path)
    result = command.rlrun(tmp_path, *next_words(run, name))
    judge_end(run, digest, result.returncode, f"{where}: {result.stderr}")
    counted(f"kills of the real command and its worker by the clock (seed {SEED})", num_kills)


def next_words(run: RunDir, name: str) -> list[str]:
    return ["resume", "run"] if run.path.exists() else train(name)


def judge_end(run: RunDir, digest: dict[str, Any], code: int, where: str) -> None:
    nothing_to_do = NothingToDoError.exit_code  # the last kill came behind the last save
    assert code in (EXIT_DONE, nothing_to_do), (where, code)
    kills.judge(run, digest, where)


def kill_all(process: subprocess.Popen[str], run: RunDir, seconds: float) -> bool:
    """Kill a command after so long, and its worker's process group; False if it had ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.005)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    for pid in workers:
        kills.kill_group(pid)
    process.communicate(timeout=60)
    command.wait_for(lambda: lock.find_holder(run) is None, timeout_seconds=60)
    return process.returncode == -signal.SIGKILL


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
