"""What keeps a checkpoint from being removed: a pin, and somebody who reads it.

A pin is a file, so that pinning needs no lock on the run.  A reader holds the checkpoint's manifest
with a shared kernel lock, its remover with an exclusive one.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rlrun.errors import RunNotFoundError, StorageError
from rlrun.runs import files, lock
from rlrun.runs.layout import STEP_PATTERN, RunDir
from rlrun.runs.manifest import FILE_NAME

PATIENCE_SECONDS = 1.0
POLL_SECONDS = 0.02


def list_pinned(run: RunDir) -> frozenset[int]:
    """Return the steps that have a pin, whether they are there or not."""
    if not run.pins.is_dir():
        return frozenset()
    matches = (STEP_PATTERN.fullmatch(path.name) for path in run.pins.iterdir())
    return frozenset(int(match[1]) for match in matches if match)


def is_pinned(run: RunDir, step: int) -> bool:
    """Return whether a step has a pin."""
    return run.pin(step).exists()


def write_pin(run: RunDir, step: int) -> bool:
    """Give a step a pin, durably; return False if it had one."""
    files.ensure_dir(run.pins)
    try:
        files.write_new(run.pin(step), b"")
    except FileExistsError:
        return False
    files.sync_dir(run.pins)
    return True


def remove_pin(run: RunDir, step: int) -> bool:
    """Take a step's pin away, durably; return False if it had none."""
    if not is_pinned(run, step):
        return False
    files.unlink(run.pin(step))
    files.sync_dir(run.pins)
    return True


@contextmanager
def hold(step_dir: Path, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Keep a checkpoint from being removed while the block reads it.

    Raises RunNotFoundError if it is not there, or is being removed, StorageError if the file system
    has no locks.
    """
    descriptor = _hold(step_dir, sleep)
    try:
        yield
    finally:
        os.close(descriptor)


def _hold(step_dir: Path, sleep: Callable[[float], None]) -> int:
    aside = step_dir.with_name(f".{step_dir.name}.removed.tmp")
    for _ in range(round(PATIENCE_SECONDS / POLL_SECONDS)):
        descriptor = _try_hold(step_dir / FILE_NAME)
        if descriptor is not None:
            return descriptor
        if not aside.exists() and not (step_dir / FILE_NAME).exists():
            break
        sleep(POLL_SECONDS)  # whoever moved it aside may find that it is to stay
    raise RunNotFoundError(f"there is no checkpoint {step_dir}; 'rlrun list' shows the runs")


def _try_hold(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        is_held = _is_at(path, descriptor)
    except OSError as error:
        os.close(descriptor)
        raise _cannot_hold(path, error) from error
    if is_held:
        return descriptor
    os.close(descriptor)
    return None


def _cannot_hold(path: Path, error: OSError) -> StorageError:
    if error.errno not in lock.NO_LOCKS:
        return StorageError(f"cannot lock {path}: {error.strerror}; check the disk")
    return StorageError(
        f"the file system of {path} has no file locks ({error.strerror}), so a session could "
        "remove the checkpoint while it is read; move the run to one that has them (a local disk, "
        "NFSv4)"
    )


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def taken(step_dir: Path) -> Iterator[bool]:
    """Keep readers from a checkpoint while the block removes it; False if one has it already.

    Raises StorageError if that cannot be found out.
    """
    path = step_dir / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # NFS locks only what may be written
    except OSError as error:
        raise _cannot_tell(path, error) from error
    try:
        yield _can_take(path, descriptor)
    finally:
        os.close(descriptor)


def _can_take(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _cannot_tell(path, error) from error
    return True


def _cannot_tell(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot find out whether {path} is in use: {error.strerror}; check the permissions"
    )


def is_in_use(step_dir: Path) -> bool:
    """Return whether somebody reads a checkpoint.

    Raises StorageError if that cannot be found out.
    """
    with taken(step_dir) as is_free:
        return not is_free
