"""The life of an engine's process: started in a group of its own, listened to, and ended whole.

One thread does it all: what is to be written waits in a buffer until the pipe takes it, so a worker
that has stopped reading cannot hold its client.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rlrun.engines.messages import Message, from_line, to_line
from rlrun.errors import EngineError

_READ_BYTES = 1 << 16
_LOOK_SECONDS = 0.5  # how often to see whether it has ended without closing its pipe
_LAST_WORDS_SECONDS = 3.0
_DYING_SECONDS = 30.0
_POLL_SECONDS = 0.02
_TAIL_BYTES = 1 << 16
_TELLING = re.compile(r"(Error|Exception|\berror): ")


class WorkerProcess:
    """A worker and the lines that go to it and come from it."""

    def __init__(
        self, command: Sequence[str], *, name: str, environ: Mapping[str, str], log: Path
    ) -> None:
        self._name = name
        self._log = log
        # Libraries leave files behind where temporary ones go, the more so when they are killed.
        self._scratch = tempfile.mkdtemp(prefix="rlrun-")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._log_start = file.tell()
            own_environ = {**environ, "TMPDIR": self._scratch}
            self._process = _start(command, own_environ, file, name)
        self._pipes = [pipe for pipe in (self._process.stdin, self._process.stdout) if pipe]
        self._input, self._output = (pipe.fileno() for pipe in self._pipes)
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)
        self._unsent = b""
        self._received = b""
        self.is_over = False

    @property
    def pid(self) -> int:
        """The process that was started; its group has the same number."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Have a message written as soon as there is room for it."""
        self._unsent += to_line(message)

    def receive(self, deadline: float) -> Message:
        """Return the next line, waiting until the monotonic clock is at `deadline`.

        Raises EngineError, with the whole group killed, if there is none by then, if the worker has
        ended, or if it says something that is no message.
        """
        if self.is_over:
            raise EngineError(f"the {self._name} engine has ended{self.tail()}")
        while b"\n" not in self._received:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                self.kill()
                raise EngineError(
                    f"the {self._name} engine gave no sign of life in time, and was ended"
                    f"{self.tail()}"
                )
            self._exchange(min(seconds, _LOOK_SECONDS))
        line, _, self._received = self._received.partition(b"\n")
        try:
            return from_line(line)
        except ValueError:
            self.kill()
            raise EngineError(
                f"the {self._name} engine said {line[:80]!r}, which is no message{self.tail()}"
            ) from None

    def _exchange(self, seconds: float) -> None:
        """Write and read what is possible without waiting longer than `seconds` for any of it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            if self._unsent:
                selector.register(self._input, selectors.EVENT_WRITE)
            ready = {key.fd for key, _ in selector.select(seconds)}
        if self._input in ready:
            self._write()
        if self._output in ready:
            received = os.read(self._output, _READ_BYTES)
            if not received:
                self._ended()
            self._received += received
        elif not ready and self._has_ended():
            self._ended()

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._input, self._unsent) :]
        except BrokenPipeError:  # reading tells how it ended
            self._unsent = b""

    def _has_ended(self) -> bool:
        """Return whether the leader has; it is not reaped, so its group's number stays its own."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _ended(self) -> None:
        """Raise EngineError: the worker is gone."""
        self._wait(_LAST_WORDS_SECONDS)
        self.kill()
        raise EngineError(f"the {self._name} engine ended on its own{self.tail()}")

    def tail(self) -> str:
        """Return the last telling line of the log and where the rest is, to end a sentence with."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        said = [line for line in lines if line]
        telling = [line for line in said if _TELLING.search(line)] or said
        why = f": {telling[-1]}" if telling else ""
        return f"{why}; all it said is in {self._log}"

    def close(self, grace_seconds: float) -> None:
        """Let the worker end by itself, which it was asked to; whatever is left then is killed."""
        if self.is_over:
            return
        deadline = time.monotonic() + grace_seconds
        while self._unsent and not self._has_ended() and time.monotonic() < deadline:
            self._exchange(_POLL_SECONDS)
        self._wait(deadline - time.monotonic())
        self.kill()

    def kill(self) -> None:
        """Kill the whole group, and wait until it holds nothing; may be called again."""
        if self.is_over:
            return
        self.is_over = True
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._drain(time.monotonic() + _DYING_SECONDS)
        for pipe in self._pipes:
            pipe.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _drain(self, deadline: float) -> None:
        """Read until no process has the other end: each closes it after giving back its memory."""
        while time.monotonic() < deadline:
            try:
                if not os.read(self._output, _READ_BYTES):
                    return
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)


def _start(
    command: Sequence[str], environ: Mapping[str, str], log: IO[bytes], name: str
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,
            env=dict(environ),
        )
    except OSError as error:
        raise EngineError(
            f"the {name} engine's interpreter {command[0]} cannot be started ({error.strerror}); "
            "give the python of an environment that has it as eval.python"
        ) from error
