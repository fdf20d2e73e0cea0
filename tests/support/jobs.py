"""Sessions in forked processes, which a test may kill in front of any file operation.

A fork server imports torch, transformers and peft once and trains once, on one thread, so a session
costs milliseconds to start (`support.warm_server` says why its forks do not hang).
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rlrun.runs import files
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

PRELOADED = ["pytest", "support.jobs", "support.session_imports", "support.scoring_jobs",
             "support.warm_server"]  # fmt: skip

is_looked_at = False  # whether the server has seen that its engine treats rows alike


@dataclass(frozen=True)
class Job:
    """One session, and what befalls it."""

    run_dir: Path
    request: SessionRequest = field(default_factory=lambda: SessionRequest(device="cpu"))
    kill_at_call: int | None = None  # SIGKILL in front of this file operation, counted from 0
    kill_after_steps: int | None = None  # SIGKILL when that many steps were reported
    stop_at_calls: tuple[int, ...] = ()  # SIGSTOP in front of these
    signals: tuple[tuple[str, int], ...] = ()  # SIGTERM before the n-th such call, from 1
    mishap: Callable[[], None] | None = None  # called first; patches what is to go wrong
    trace: Path | None = None  # receives each file operation before it is made: also of the killed
    output: Path | None = None  # receives what the session prints


def work(job: Job) -> None:
    """Run the job's session in this process and end it with the session's exit code."""
    from rlrun.trainer.worker import run_session

    prepare(job)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with files.watched(_watcher(job)):
        code = run_session(RunDir(job.run_dir), job.request, heartbeat_seconds=None)
    sys.stderr.flush()
    os._exit(code)


def serve(job: Job) -> None:
    """Be the worker process that the command line starts: it listens to signals."""
    from rlrun.trainer.__main__ import main

    prepare(job)
    sys.argv = ["rlrun.trainer", str(job.run_dir), "--request", job.request.to_text()]
    with files.watched(_watcher(job)):
        main()


def prepare(job: Job) -> None:
    """Let this process be the job's: its task, what goes wrong in it, where it prints to."""
    from rlrun.rollouts import torch_engine
    from rlrun.trainer import workbench
    from support.micro_task import MicroTask

    workbench.make_task = lambda *_, **__: MicroTask()  # sums are beyond a random model
    if is_looked_at:
        torch_engine.treats_rows_alike = lambda *_: True
    if job.mishap is not None:
        job.mishap()
    if job.output is not None:
        descriptor = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)


def write_model(folder: Path, num_layers: int) -> None:
    """Write the micro model to a folder."""
    from support import micro_model

    micro_model.write(folder, num_layers)


def create(root: Path, name: str, model: Path, job: Job) -> None:
    """Create a run in this process, dying where the job says."""
    from support.runs import make_run

    with files.watched(_watcher(job)):
        make_run(root, name, model)
    os._exit(0)


def command(job: Job, *arguments: str) -> None:
    """Run a command line in this process, dying where the job says."""
    from rlrun.cli.app import run

    prepare(job)
    with files.watched(_watcher(job)):
        code = run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watcher(job: Job) -> Callable[[str, Path], None]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    trace = None if job.trace is None else os.open(job.trace, flags)
    calls: list[str] = []

    def watch(operation: str, path: Path) -> None:
        calls.append(f"{operation} {path.name}")
        if trace is not None:
            os.write(trace, f"{calls[-1]}\n".encode())
        num_steps = calls.count("write ratios.jsonl")
        is_late = job.kill_after_steps is not None and num_steps > job.kill_after_steps
        if is_late or len(calls) - 1 == job.kill_at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(calls) - 1 in job.stop_at_calls:
            os.kill(os.getpid(), signal.SIGSTOP)
        if (calls[-1], calls.count(calls[-1])) in job.signals:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


_TESTS = Path(__file__).parents[1]
_ROOTS = [str(_TESTS), str(_TESTS.parent), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _ROOTS))  # the server inherits no sys.path
_CONTEXT: Any = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)


def fork_from_here() -> None:
    """Fork from this process, itself a fork of the server, from now on."""
    global _CONTEXT
    _CONTEXT = multiprocessing.get_context("fork")


def run(job: Job, *, timeout_seconds: float = 120) -> int:
    """Run a session to its end; return its exit code, or minus the signal that ended it."""
    return in_fork(work, job, timeout_seconds=timeout_seconds)


def make_model(folder: Path, num_layers: int = 2) -> Path:
    """Make the micro model in a process of its own, so that the caller computes nothing."""
    assert in_fork(write_model, folder, num_layers) == 0
    return folder


def run_worker(job: Job) -> int:
    """Run a worker process to its end; return its exit code, or minus the signal that ended it."""
    return in_fork(serve, job)


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Call `target` in a fork of the server; return the process, which goes on."""
    process: BaseProcess = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def barrier(parties: int) -> Any:
    """Return a barrier that forks can wait at."""
    return _CONTEXT.Barrier(parties)


def in_fork(target: Callable[..., None], *arguments: object, timeout_seconds: float = 120) -> int:
    """Call `target` in a fork of the server; return how it ended."""
    process = start(target, *arguments)
    process.join(timeout_seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"a forked process hung: {arguments}")
    return process.exitcode
