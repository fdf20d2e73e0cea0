"""Processes that meet on one run, and the places where they wait for each other.

Each class, called in a session's process, arranges where it waits; nothing waits for time to pass.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rlrun.runs import files, jsonl, lock
from rlrun.runs.layout import RunDir
from rlrun.runs.lock import Lock, Owner
from support import jobs, mishaps
from support.jobs import Job

SECONDS = 60  # that somebody waits at most for the others; they need milliseconds


def before_call(call: str, act: Callable[[], object]) -> None:
    """Call `act` in front of the first file operation of that name (`operation file`)."""
    has_acted = False

    def watch(operation: str, path: Path) -> None:
        nonlocal has_acted
        if not has_acted and f"{operation} {path.name}" == call:
            has_acted = True
            act()

    files._watchers.append(watch)


@dataclass(frozen=True)
class Competitor:
    """A session that begins with the others; who gets the run holds it until all have tried."""

    start: Any
    end: Any

    def __call__(self) -> None:
        acquire = Lock._acquire

        def compete(held: Lock, now: Callable[[], float]) -> int:
            try:
                descriptor = acquire(held, now)
            except BaseException:
                self.end.wait(SECONDS)
                raise
            before_call("write train_log.jsonl", partial(self.end.wait, SECONDS))
            return descriptor

        Lock._acquire = compete
        self.start.wait(SECONDS)


@dataclass(frozen=True)
class Turns:
    """A session that lets another process have a turn in front of every n-th file operation."""

    barrier: Any
    every: int

    def __call__(self) -> None:
        num_calls = 0

        def watch(operation: str, path: Path) -> None:
            nonlocal num_calls
            num_calls += 1
            if num_calls % self.every == 0:
                self.give()

        files._watchers.append(watch)

    def give(self) -> None:
        """Let the other one have its turn."""
        self.barrier.wait(SECONDS)
        self.barrier.wait(SECONDS)

    def take(self, act: Callable[[], object]) -> None:
        """Act while the session waits."""
        self.barrier.wait(SECONDS)
        act()
        self.barrier.wait(SECONDS)


@dataclass(frozen=True)
class TurnAt:
    """A session that lets another process have a turn in front of one file operation."""

    turns: Turns
    call: str

    def __call__(self) -> None:
        before_call(self.call, self.turns.give)


@dataclass(frozen=True)
class WaitAt:
    """A session that says so in front of a file operation, and waits until it may go on."""

    folder: Path
    call: str

    def __call__(self) -> None:
        def wait() -> None:
            (self.folder / "here").touch()
            wait_for((self.folder / "go").exists)

        before_call(self.call, wait)


@dataclass(frozen=True)
class StandStill:
    """A session that is stopped, as by a machine that sleeps, when a function returns."""

    module: str
    name: str
    at: int

    def __call__(self) -> None:
        def stop(result: Any) -> Any:
            os.kill(os.getpid(), signal.SIGSTOP)
            return result

        module = __import__(self.module, fromlist=[self.name])
        mishaps._replace_at(module, self.name, self.at, stop)


def wait_until_it_stands(process: BaseProcess) -> None:
    """Return when a process is stopped."""
    wait_for(lambda: _state_of(process.pid) == "T", process)


def _state_of(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(condition: Callable[[], bool], *processes: BaseProcess) -> None:
    """Return when something is so; none of the processes may end before."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        assert all(process.is_alive() for process in processes), "a process ended before"
        time.sleep(0.002)


@dataclass(frozen=True)
class OtherHost:
    """A session on another machine, to which no kernel lock of this one reaches."""

    host: str = "gpu-2"

    def __call__(self) -> None:
        lock.this_process = lambda session: Owner(
            self.host, os.getpid(), f"boot of {self.host}", session
        )
        lock.fcntl.flock = lambda *_: None


def let_heartbeat_be_old(run: RunDir) -> None:
    """Let the holder of a run have said nothing for two minutes."""
    before = time.time() - 2 * lock.STALE_SECONDS
    os.utime(run.lock, (before, before))


def create(root: Path, name: str | None, model: Path, start: Any, said: Path) -> None:
    """Create a run together with others, and say which it is or why there is none."""
    from rlrun.errors import RunExistsError
    from support.runs import make_run

    start.wait(SECONDS)
    try:
        said.write_text(make_run(root, name, model).name)
    except RunExistsError as error:
        said.write_text(f"refused: {error}")


def command(arguments: list[str], output: Path, start: Any) -> None:
    """Be an `rlrun` whose worker is a fork of this process, and end with its exit code."""
    from rlrun.cli import app
    from rlrun.sessions import launch

    launch.start_worker = start_fork
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a new run computes on one thread
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    if start is not None:
        start.wait(SECONDS)
    code = app.run(arguments)
    sys.stdout.flush()
    os._exit(code)


class ForkedWorker:
    """What the command line needs of its worker process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.002)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def start_fork(run: RunDir, request: Any, **_: Any) -> ForkedWorker:
    """Start the worker as a fork; it waits for the test where it would log its first step."""
    pid = os.fork()
    if pid == 0:
        go = run.path.parents[1] / "go"
        before_call("write train_log.jsonl", partial(wait_for, go.exists))
        jobs.serve(Job(run.path, request, output=run.worker_log))
    return ForkedWorker(pid)


def read_in_turns(
    arguments: list[str], turns: Turns, num_turns: int, run_dir: Path, output: Path
) -> None:
    """Run a command that only reads in every turn; end with 1 if it failed or changed anything."""
    from rlrun.cli import app

    sys.stdout = sys.stderr = output.open("w")

    def read() -> None:
        before = contents(run_dir)
        code = app.run(arguments)
        if code != 0 or contents(run_dir) != before:
            sys.stdout.flush()
            os._exit(code or 1)

    for _ in range(num_turns):
        turns.take(read)
    os._exit(0)


def contents(folder: Path) -> dict[str, object]:
    """Return everything under a folder, with the time of its last change."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def fork_in_turns(parent: Path, root: Path, turns: Turns, num_turns: int) -> None:
    """Fork a run from its newest step in every turn that it has one; name each by its turn."""
    from rlrun.runs import checkpoints

    for number in range(num_turns):
        steps = [step for step in checkpoints.list_steps(RunDir(parent)) if step]
        turns.take(partial(fork_once, parent, root, max(steps), f"fork{number}") if steps else int)
    os._exit(0)


def fork_once(parent: Path, root: Path, step: int, name: str) -> None:
    from datetime import UTC, datetime

    from rlrun.runs import fork

    text = RunDir(parent).config.read_text()
    now = datetime.now(UTC)
    fork.fork(RunDir(parent), step, root, name=name, config_text=text, now=now)


def fork_while_sealing(parent: Path, root: Path, listed: Any, sealed: Any) -> None:
    """Fork a run at step 1; it seals a segment after this process has listed them."""
    from rlrun.runs import rollout_journal

    needed = rollout_journal.needed_files
    is_first = True

    def list_and_wait(run: RunDir, step: int, up_to: int | None) -> list[Path]:
        nonlocal is_first
        paths = needed(run, step, up_to)
        if is_first:
            is_first = False
            listed.wait(SECONDS)
            sealed.wait(SECONDS)
        return paths

    listed.wait(SECONDS)  # the step is there
    rollout_journal.needed_files = list_and_wait
    fork_once(parent, root, 1, "fork")
    os._exit(0)


@dataclass(frozen=True)
class SealForAReader:
    """A session that seals a segment between two reads of another process."""

    listed: Any
    sealed: Any
    segment: str
    after: str  # the first call behind the sealing

    def __call__(self) -> None:
        def let_it_list() -> None:
            self.listed.wait(SECONDS)
            self.listed.wait(SECONDS)

        before_call(f"rename {self.segment}", let_it_list)
        before_call(self.after, partial(self.sealed.wait, SECONDS))


# ---- what must be true of a run that several processes wanted


def check_one_writer(run: RunDir, num_sessions: int) -> None:
    """Fail unless the ledger tells of so many sessions, numbered from 1, one after the other."""
    records = jsonl.read(run.sessions)
    openings = [record["session"] for record in records if record["event"] == "open"]
    assert openings == list(range(1, num_sessions + 1)), openings
    numbers = [record["session"] for record in records]
    assert numbers == sorted(numbers), "a session wrote when another one was at work"


def check_no_group_twice(run: RunDir) -> None:
    """Fail if a finished group was generated again."""
    from support import oracle

    groups = [(row[0], row[2]) for row in oracle.journal_of(run) if not row[1]]
    assert len(groups) == len(set(groups)), "a finished group was generated again"
