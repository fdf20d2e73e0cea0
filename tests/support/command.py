"""The real `rlrun` in a process of its own, as a user starts it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rlrun.runs import jsonl
from rlrun.runs.layout import RunDir

RLRUN = [sys.executable, "-m", "rlrun"]


def run_of(root: Path, name: str) -> RunDir:
    return RunDir(root / "training_runs" / name)


def rlrun(
    root: Path, *arguments: str, timeout_seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RLRUN, *arguments, "--root", str(root)],
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RLRUN, *arguments, "--root", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ},
    )


def wait_for(condition: Callable[[], bool], *, timeout_seconds: float = 240) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def num_logged(run: RunDir) -> int:
    return len(jsonl.read(run.train_log))


def num_groups(run: RunDir) -> int:
    return sum(record["kind"] == "group" for record in jsonl.read(run.journal, checked=True))
