"""Commands of the archive in forked processes, which die in front of or behind any call they make.

A fork server imports boto3 and the archive once, so that a case costs milliseconds to start.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlrun.archive.bucket import Bucket
from rlrun.archive.destination import S3Destination
from rlrun.errors import RlrunError
from rlrun.runs import files
from support import jobs
from support.archiving import COMMANDS, Access

SAID_NO = 3  # exit code: the command ended with a sentence
When = Literal["request", "answer", "file operation"]
"""In front of a request, behind its answer, in front of an operation of the file layer."""


@dataclass(frozen=True)
class Job:
    """One command in a world, and where it dies; and where it counts its calls."""

    command: str
    root: Path
    destination: S3Destination
    access: Access
    when: When | None = None
    number: int = 0  # from 0
    counts: Path | None = None  # receives a line a call
    mishap: Callable[[], None] | None = None  # called first


class _Counter:
    """Counts calls of each sort, and ends the process at the one that was chosen."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(("request", "answer", "file operation"), 0)

    def __call__(self, when: When) -> None:
        with self._lock:
            number = self._numbers[when]
            self._numbers[when] += 1
        if self._job.counts is not None:
            with self._job.counts.open("a") as file:
                file.write(f"{when}\n")
        if (when, number) == (self._job.when, self._job.number):
            os.kill(os.getpid(), signal.SIGKILL)


def work(job: Job, barrier: Any = None) -> None:
    """Run the job's command in this process, when all others are ready too, and end it."""
    if job.mishap is not None:
        job.mishap()
    count = _Counter(job)
    real = Bucket.try_once

    def try_once(bucket: Bucket, operation: str, **options: Any) -> Any:
        count("request")
        answer = real(bucket, operation, **options)
        count("answer")
        return answer

    Bucket.try_once = try_once  # type: ignore[method-assign]
    storage = job.access.storage(job.destination, job.root)
    if barrier is not None:
        barrier.wait()
    with files.watched(lambda _operation, _path: count("file operation")):
        try:
            COMMANDS[job.command].act(job.root, storage)
        except RlrunError as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(SAID_NO)
    os._exit(0)


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*jobs.PRELOADED, "support.archive_forks"])


def barrier(parties: int) -> Any:
    """Return a barrier that forks can wait at."""
    return _CONTEXT.Barrier(parties)


def start(job: Job, barrier: Any = None) -> Any:
    """Start the job in a fork of the server; return the process."""
    process = _CONTEXT.Process(target=work, args=[job, barrier])
    process.start()
    return process


def run(job: Job) -> int:
    """Run the job to its end; return its exit code, or minus the signal that ended it."""
    process = start(job)
    process.join(120)
    assert process.exitcode is not None, job
    code: int = process.exitcode
    return code
