"""One writer: the lock of a run.

The kernel's lock on `lock.json` is the truth on one host; its text says who, and its modification
time is the heartbeat that other hosts go by.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rlrun.errors import LockedError, StorageError
from rlrun.runs import canonical, files
from rlrun.runs.layout import RunDir

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
TIDYING = 0
"""Stands for the session's number while no session holds the run, but a command such as prune."""
_PATIENCE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a run."""

    host: str
    pid: int
    boot_id: str
    session: int  # 0: no session, but a command that tidies the run

    @property
    def is_session(self) -> bool:
        """Whether it trains; a command that tidies is over soon and cannot be stopped."""
        return self.session != TIDYING


def this_process(session: int) -> Owner:
    """Return this process as the owner of a session."""
    return Owner(socket.gethostname(), os.getpid(), _boot_id(), session)


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"


def read_owner(run: RunDir) -> Owner | None:
    """Return who the lock file names, dead or alive; None if there is no whole lock file."""
    try:
        return Owner(**json.loads(run.lock.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def find_holder(run: RunDir, now: Callable[[], float] = time.time) -> Owner | None:
    """Return the live owner of a run; None if nobody holds it.  Changes nothing."""
    owner = read_owner(run)
    if owner is None:
        return None
    if owner.host != socket.gethostname():
        return owner if heartbeat_age(run, now) < STALE_SECONDS else None
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return owner
    finally:
        os.close(descriptor)
    return None


def heartbeat_age(run: RunDir, now: Callable[[], float] = time.time) -> float:
    """Return the seconds since the holder last said it was alive."""
    try:
        return max(0.0, now() - run.lock.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def refuse(run: RunDir, owner: Owner) -> LockedError:
    """Return the error that names the owner and the way out."""
    if not owner.is_session:
        return LockedError(
            f"run '{run.name}' is being tidied by pid {owner.pid} on {owner.host} ('rlrun prune'); "
            "try again when that is over"
        )
    return LockedError(
        f"run '{run.name}' is being written by pid {owner.pid} on {owner.host} (session "
        f"{owner.session}); stop it with 'rlrun stop {run.name}'"
    )


def _can_lock(descriptor: int) -> bool:
    """Take the kernel's lock; `find_holder` may have it for an instant, so try for a while."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(_PATIENCE_SECONDS / 50)
        else:
            return True


class Lock:
    """The lock of a run, held from construction to `release`.

    `number` is asked for the session's number once the lock is held.  Raises LockedError if a
    living process holds it.
    """

    def __init__(
        self,
        run: RunDir,
        number: Callable[[], int],
        *,
        now: Callable[[], float] = time.time,
        heartbeat_seconds: float | None = HEARTBEAT_SECONDS,
    ) -> None:
        self._run = run
        self._descriptor = self._acquire(now)
        try:
            self.owner = this_process(number())
            text = canonical.pretty(asdict(self.owner))
            files.replace_contents(self._descriptor, run.lock, text.encode())
        except BaseException:
            self._give_back()
            raise
        self._released = threading.Event()
        self._heart: threading.Thread | None = None
        if heartbeat_seconds is not None:
            self._heart = threading.Thread(
                target=self._beat, args=(heartbeat_seconds,), name="heartbeat", daemon=True
            )
            self._heart.start()

    def _acquire(self, now: Callable[[], float]) -> int:
        while True:
            descriptor = files.open_lock(self._run.lock)
            if not _can_lock(descriptor):
                os.close(descriptor)
                raise self._refusal()
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # its owner released it between our open and our lock
        owner = read_owner(self._run)
        is_foreign = owner is not None and owner.host != socket.gethostname()
        if owner is not None and is_foreign and heartbeat_age(self._run, now) < STALE_SECONDS:
            os.close(descriptor)
            raise refuse(self._run, owner)
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.fstat(descriptor).st_ino == self._run.lock.stat().st_ino
        except FileNotFoundError:
            return False

    def _refusal(self) -> LockedError:
        owner = read_owner(self._run)
        if owner is not None:
            return refuse(self._run, owner)
        return LockedError(
            f"run '{self._run.name}' is being taken by another session right now; try again"
        )

    def _beat(self, seconds: float) -> None:
        while not self._released.wait(seconds):
            with suppress(
                StorageError
            ):  # the next beat may do; what matters fails where it is made
                files.touch(self._run.lock)

    def release(self) -> None:
        """Give the run back."""
        self._released.set()
        if self._heart is not None:
            self._heart.join()
        self._give_back()

    def _give_back(self) -> None:
        try:
            if self._is_current(self._descriptor):  # not if somebody removed or replaced it
                files.unlink(self._run.lock)
        finally:
            os.close(self._descriptor)
