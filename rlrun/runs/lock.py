"""One writer: the lock of a run.

The kernel's lock on `lock.json` is the truth on one machine, which its boot id tells; its text says
who, and its modification time is the heartbeat that other machines go by.
"""

import errno
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

from rlrun.errors import LockedError, NoSpaceError, StorageError
from rlrun.runs import canonical, files
from rlrun.runs.layout import RunDir

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
TIDYING = 0
"""Stands for the session's number while no session holds the run, but a command such as prune."""
_PATIENCE_SECONDS = 0.2
_UNKNOWN = "unknown"
_UPTIME = Path("/proc/uptime")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""How a file system says that it has no locks."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a run."""

    host: str
    pid: int
    boot_id: str
    session: int  # 0: no session, but a command that tidies the run
    pid_namespace: str = _UNKNOWN  # containers of one machine number their processes by themselves

    @property
    def is_session(self) -> bool:
        """Whether it trains; a command that tidies is over soon and cannot be stopped."""
        return self.session != TIDYING


def this_process(session: int) -> Owner:
    """Return this process as the owner of a session."""
    return Owner(socket.gethostname(), os.getpid(), _boot_id(), session, pid_namespace())


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else _UNKNOWN


def pid_namespace() -> str:
    """Return what tells the processes that are numbered together with this one."""
    return str(_PID_NAMESPACE.readlink()) if _PID_NAMESPACE.is_symlink() else _UNKNOWN


def machine() -> str:
    """Return what tells this machine, since it was started, from all others."""
    owner = this_process(TIDYING)
    return owner.host if owner.boot_id == _UNKNOWN else owner.boot_id


def is_here(owner: Owner) -> bool:
    """Return whether an owner is of this machine since it was started, whatever its name is now."""
    here = this_process(owner.session)
    if _UNKNOWN in (owner.boot_id, here.boot_id):
        return owner.host == here.host
    return owner.boot_id == here.boot_id


def has_pid_here(owner: Owner) -> bool:
    """Return whether an owner's pid is one of the processes that can be signalled from here."""
    return is_here(owner) and owner.pid_namespace == pid_namespace()


def _may_live_elsewhere(run: RunDir, owner: Owner, now: Callable[[], float]) -> bool:
    """Return whether an owner of another machine, or of an earlier start of this one, may live."""
    if is_here(owner) or heartbeat_age(run, now) >= STALE_SECONDS:
        return False
    started = _started(now)
    is_of_earlier_start = started is not None and _beat_at(run) < started
    return not (owner.host == socket.gethostname() and is_of_earlier_start)


def _started(now: Callable[[], float]) -> float | None:
    """Return when this machine was started, None if it does not say."""
    return now() - float(_UPTIME.read_text().split()[0]) if _UPTIME.exists() else None


def _beat_at(run: RunDir) -> float:
    try:
        return run.lock.stat().st_mtime
    except FileNotFoundError:
        return float("-inf")


def read_owner(run: RunDir) -> Owner | None:
    """Return who the lock file names, dead or alive; None if there is no whole lock file.

    Raises StorageError if the system does not let us read it.
    """
    try:
        return Owner(**json.loads(run.lock.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except OSError as error:
        raise StorageError(
            f"cannot read {run.lock}: {error.strerror}; check the disk and the limits (ulimit -n)"
        ) from error


def find_holder(run: RunDir, now: Callable[[], float] = time.time) -> Owner | None:
    """Return the live owner of a run; None if nobody holds it.  Changes nothing."""
    owner = read_owner(run)
    if owner is None:
        return None
    if not is_here(owner):
        return owner if _may_live_elsewhere(run, owner, now) else None
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        is_free = _try_lock(run, descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
    return None if is_free else owner


def heartbeat_age(run: RunDir, now: Callable[[], float] = time.time) -> float:
    """Return the seconds since the holder last said it was alive."""
    return max(0.0, now() - _beat_at(run))


def refuse(run: RunDir, owner: Owner, now: Callable[[], float] = time.time) -> LockedError:
    """Return the error that names the owner and the way out."""
    who = f"run '{run.name}' is being written by pid {owner.pid} on {owner.host}"
    ahead = _beat_at(run) - now()
    if ahead > STALE_SECONDS and not is_here(owner):
        return LockedError(
            f"{who}, and its heartbeat is {ahead:.0f} s ahead of the clock here, so nobody can "
            f"tell whether it lives; set the clocks right, or remove {run.lock} if it does not"
        )
    if not owner.is_session:
        return LockedError(
            f"run '{run.name}' is being tidied by pid {owner.pid} on {owner.host} ('rlrun prune'); "
            "try again when that is over"
        )
    return LockedError(f"{who} (session {owner.session}); stop it with 'rlrun stop {run.name}'")


def _can_lock(run: RunDir, descriptor: int) -> bool:
    """Take the kernel's lock; `find_holder` may have it for an instant, so try for a while."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not _try_lock(run, descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= give_up:
            return False
        time.sleep(_PATIENCE_SECONDS / 50)
    return True


def _try_lock(run: RunDir, descriptor: int, kind: int) -> bool:
    """Return whether the kernel gave its lock; StorageError if it cannot, as without locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise StorageError(
                f"cannot lock {run.lock}: {error.strerror}; check the disk"
            ) from error
        raise StorageError(
            f"the file system of {run.path} has no file locks ({error.strerror}), so two sessions "
            "could write the run at once; keep runs on one that has them (a local disk, NFSv4), "
            "with --root"
        ) from error
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
            self._sign()
        except BaseException:
            self._give_back(is_ours=True)
            raise
        self._released = threading.Event()
        self._heart: threading.Thread | None = None
        if heartbeat_seconds is not None:
            self._heart = threading.Thread(
                target=self._beat, args=(heartbeat_seconds,), name="heartbeat", daemon=True
            )
            self._heart.start()

    def _sign(self) -> None:
        """Write who holds the run; a command that tidies a full disk holds it without a name."""
        text = canonical.pretty(asdict(self.owner))
        try:
            files.replace_contents(self._descriptor, self._run.lock, text.encode())
        except NoSpaceError:
            if self.owner.is_session:
                raise

    def _acquire(self, now: Callable[[], float]) -> int:
        while True:
            descriptor = files.open_lock(self._run.lock)
            try:
                is_ours = _can_lock(self._run, descriptor)
            except StorageError:
                os.close(descriptor)
                raise
            if not is_ours:
                os.close(descriptor)
                raise self._refusal()
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # its owner released it between our open and our lock
        owner = read_owner(self._run)
        if owner is not None and _may_live_elsewhere(self._run, owner, now):
            os.close(descriptor)
            raise refuse(self._run, owner, now)
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
            with suppress(StorageError):  # the next may do; what matters fails where it is made
                if not self.is_lost:  # another's heartbeat is not ours to give
                    files.touch(self._run.lock)

    def require(self) -> None:
        """Raise LockedError if another machine took the run over while this process stood still.

        Asked before what others may count on is written; a machine that sleeps wakes up here.
        """
        owner = read_owner(self._run)
        if owner != self.owner:
            by = f"pid {owner.pid} on {owner.host}" if owner else "somebody who removed lock.json"
            raise LockedError(
                f"run '{self._run.name}' was taken over by {by} while this session stood still; "
                "this session writes nothing more"
            )

    @property
    def is_lost(self) -> bool:
        """Whether the run is somebody else's now."""
        return read_owner(self._run) != self.owner

    def release(self) -> None:
        """Give the run back."""
        self._released.set()
        if self._heart is not None:
            self._heart.join()
        try:
            is_ours = read_owner(self._run) in (self.owner, None)
        except StorageError:  # then the file stays, and whoever comes next takes it over
            is_ours = False
        self._give_back(is_ours=is_ours)

    def _give_back(self, *, is_ours: bool) -> None:
        try:
            if is_ours and self._is_current(self._descriptor):
                files.unlink(self._run.lock)
        finally:
            os.close(self._descriptor)
