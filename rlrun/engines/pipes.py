"""The worker's end of the pipes, and the guard that lets no process of it outlive its client."""

import os
import signal
import threading
import time
from queue import SimpleQueue

from rlrun.engines.messages import Message, from_line, to_line

_GUARD_SECONDS = 0.2
_READ_BYTES = 1 << 16


class Channel:
    """The two pipes to the client, as messages."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions = questions
        self._answers = answers
        self.inbox: SimpleQueue[Message] = SimpleQueue()

    def listen(self) -> None:
        """Put what the client says into the inbox; nobody left there is the end of the group."""
        unread = b""
        while received := os.read(self._questions, _READ_BYTES):
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                self.inbox.put(from_line(line))
        os.killpg(0, signal.SIGKILL)

    def write(self, message: Message) -> None:
        """Say something to the client."""
        self.write_raw(to_line(message))

    def write_raw(self, data: bytes) -> None:
        """Write all of it."""
        while data:
            data = data[os.write(self._answers, data) :]


def open_channel() -> Channel:
    """Return the pipes to the client; to be called first of all, while there is but one thread.

    From here on what libraries print goes to the log: the pipe is kept for answers.
    """
    _leave_a_guard()
    channel = Channel(os.dup(0), os.dup(1))
    os.dup2(2, 1)
    threading.Thread(target=channel.listen, daemon=True).start()
    return channel


def _leave_a_guard() -> None:
    """Go on as a child; the process that was started watches it, and the client, to the end.

    It waits for nothing but the end of either and then kills the whole process group, which it
    leads.  It needs no interpreter lock that a hanging library could hold.
    """
    if os.getpgrp() != os.getpid():  # it was started by hand: the group is somebody else's
        os.setsid()
    client = os.getppid()
    worker = os.fork()
    if worker == 0:
        return
    os.close(0)
    os.close(1)
    while os.getppid() == client:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            os.write(2, f"the engine's process ended {how}\n".encode())
            break
        time.sleep(_GUARD_SECONDS)
    os.killpg(0, signal.SIGKILL)
