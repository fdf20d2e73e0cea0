"""Stop the session that works on a run, and wait until it has."""

import os
import signal
import socket
import time
from collections.abc import Callable

from rlrun.errors import LockedError, NothingToDoError
from rlrun.runs import ledger, lock
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session
from rlrun.runs.lock import Owner

Kill = Callable[[int, int], None]

_POLL_SECONDS = 0.1


def request_stop(run: RunDir, *, at_once: bool, kill: Kill = os.kill) -> Owner:
    """Ask the session that holds a run to stop, and return whom was asked.

    At once means a second signal: nothing more is finished or saved.  Raises NothingToDoError if
    nobody holds the run, LockedError if the holder cannot be reached from here.
    """
    holder = lock.find_holder(run)
    if holder is None:
        raise NothingToDoError(
            f"nobody is working on run '{run.name}'; continue it with 'rlrun resume {run.name}'"
        )
    if not holder.is_session:
        raise lock.refuse(run, holder)
    _require_same_machine(run, holder)
    # Two equal signals may arrive as one, so the second is another.
    for number in (signal.SIGINT, signal.SIGTERM) if at_once else (signal.SIGINT,):
        _send(run, holder, number, kill)
    return holder


def _require_same_machine(run: RunDir, holder: Owner) -> None:
    if lock.has_pid_here(holder):
        return
    raise LockedError(
        f"run '{run.name}' is being written by pid {holder.pid} on {holder.host}, and this is "
        f"{socket.gethostname()}{_apart(holder)}; run 'rlrun stop {run.name}' there"
    )


def _apart(holder: Owner) -> str:
    """Return what tells the holder's machine from this one where their names do not."""
    if lock.is_here(holder):
        return ", the same machine with other numbers of processes, as a container has"
    return ", another machine of that name" if holder.host == socket.gethostname() else ""


def _send(run: RunDir, holder: Owner, number: signal.Signals, kill: Kill) -> None:
    try:
        kill(holder.pid, number)
    except ProcessLookupError:
        return  # it ended in this moment
    except PermissionError as error:
        raise LockedError(
            f"run '{run.name}' is being written by pid {holder.pid}, which belongs to another "
            f"user; ask them to run 'rlrun stop {run.name}'"
        ) from error


def wait_until_stopped(
    run: RunDir,
    holder: Owner,
    *,
    timeout_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Session | None:
    """Return the session as the ledger tells it, once it no longer holds the run.

    None if it ended before it wrote that it opened the run.  Raises LockedError when time is up.
    """
    deadline = clock() + timeout_seconds
    while lock.find_holder(run) == holder:
        if clock() >= deadline:
            raise LockedError(
                f"run '{run.name}' is still held by pid {holder.pid} after {timeout_seconds:g} s; "
                f"wait with 'rlrun logs -f {run.name}', or use 'rlrun stop {run.name} --now'; "
                f"'kill -9 {holder.pid}' loses nothing that is journaled"
            )
        sleep(_POLL_SECONDS)
    sessions = {session.opening.session: session for session in ledger.read(run)}
    return sessions.get(holder.session)
