"""Whether two formulas are equal, asked of a process that can be killed.

The process (checker_process.py) is started when it is first asked, and anew after it has died.  It
is bounded in time and memory by the kernel, so neither a computation without end nor the death of
this process leaves it behind.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from time import monotonic
from typing import Any, Literal

from rlrun.errors import MissingExtraError, WorkerError
from rlrun.extras import install_command

CheckVerdict = Literal["correct", "wrong", "checker_timeout"]

CPU_SECONDS = 5.0
"""For one question, of the processor: how busy the machine is does not decide a verdict."""

MEMORY_BYTES = 2 * 2**30
"""Of address space, for the process with all that it imports."""

_PACKAGES = ("math-verify", "latex2sympy2-extended", "sympy")
_START_SECONDS = 300.0
_SECONDS_PER_CPU_SECOND = 20  # by the clock; only a process that is not let run takes so long
_MEMO_SIZE = 2**16


class Checker:
    """One process that is asked one question at a time."""

    def __init__(
        self,
        cpu_seconds: float = CPU_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        command: Sequence[str] = (sys.executable, "-m", "rlrun.tasks.checker_process"),
    ) -> None:
        self._command = (*command, str(cpu_seconds), str(memory_bytes))
        self._seconds = cpu_seconds * _SECONDS_PER_CPU_SECOND
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process if there is none; raises WorkerError if it does not get ready."""
        with self._lock:
            self._start()

    def ask(self, answer: str, gold: str) -> CheckVerdict:
        """Return whether two formulas are equal, `checker_timeout` if that takes too much.

        Raises WorkerError if there is no process and none can be started.
        """
        with self._lock:
            process = self._start()
            reply = self._exchange(process, {"answer": answer, "gold": gold}, self._seconds)
        if reply is None:
            return "checker_timeout"
        return "correct" if reply["is_equal"] else "wrong"

    def close(self) -> None:
        """Kill the process, if there is one."""
        with self._lock:
            self._kill()

    def forget(self) -> None:
        """Let go of a process that is the parent's: this one has just been forked."""
        self._lock = threading.Lock()
        if self._process is not None:
            _close_pipes(self._process)
            self._process.poll()  # not ours to wait for, which Popen notes
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # its own group, which the terminal's signals do not reach
        )
        reply = self._exchange(process, None, _START_SECONDS)
        if reply is None or not reply.get("is_ready"):
            reason = "it ends before it is ready" if reply is None else reply.get("error", reply)
            self._kill()
            raise WorkerError(
                f"the checker of formulas does not start ({reason}); see what "
                f"'{' '.join(self._command)}' says, and install it again with: "
                f"{install_command('math')}"
            )
        return process

    def _exchange(
        self, process: subprocess.Popen[bytes], question: dict[str, str] | None, seconds: float
    ) -> dict[str, Any] | None:
        """Return what the process replies; None, and it is killed, if it does not in time."""
        line = b""
        try:
            if question is not None:
                _send(process, question)
            line = _receive(process, seconds)
        finally:
            if not line.endswith(b"\n"):  # also if we are interrupted: a late reply is to no one
                self._kill()
        return None if not line else json.loads(line)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _close_pipes(process)


def _send(process: subprocess.Popen[bytes], question: dict[str, str]) -> None:
    assert process.stdin is not None  # noqa: S101
    with suppress(BrokenPipeError):  # it is dead, and will not reply
        process.stdin.write(json.dumps(question).encode() + b"\n")


def _receive(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Return the line that the process says next, or nothing if it does not in time."""
    assert process.stdout is not None  # noqa: S101
    deadline, line = monotonic() + seconds, b""
    poller = select.poll()
    poller.register(process.stdout, select.POLLIN)
    while not line.endswith(b"\n"):
        if not poller.poll(max(0.0, deadline - monotonic()) * 1000):
            return b""
        piece = process.stdout.read(4096)
        if not piece:
            return b""
        line += piece
    return line


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


_CHECKER = Checker()
atexit.register(_CHECKER.close)
os.register_at_fork(after_in_child=_CHECKER.forget)


@lru_cache(maxsize=_MEMO_SIZE)
def check(answer: str, gold: str) -> CheckVerdict:
    """Return whether two formulas are equal; in one process the same question has one verdict.

    So completions of a group that answer alike are rewarded alike, whatever the checker went
    through meanwhile.
    """
    return _CHECKER.ask(answer, gold)


def require(where: str, gold: str) -> None:
    """Raise MissingExtraError unless formulas such as `gold` can be checked here."""
    if find_spec("math_verify") is None:
        raise MissingExtraError(
            f"{where} has the answer {gold!r}, a formula, which only the math-verify package can "
            f"compare with others; install the extra with: {install_command('math')}"
        )
    _CHECKER.start()


def versions() -> str:
    """Return what decides the checker's verdicts beside rlrun: packages with their versions."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
