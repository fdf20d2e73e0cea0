"""The file layer: every byte on its way to a run directory, one named call at a time.

A test can watch each call, or die in front of it (`watched`).  An operating system's refusal
becomes a StorageError that names the path and the way out.  Nothing here knows what it writes.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from rlrun.errors import NoSpaceError, StorageError

Watcher = Callable[[str, Path], None]
"""Called with the operation's name and its path, before the operation."""

_Result = TypeVar("_Result")
_WRITE_BYTES = 64 * 2**20  # a single write(2) may not exceed 2 GiB; smaller ones can be watched
_REMEDIES = {
    errno.ENOSPC: "free some space, or move the root to a larger disk with --root",
    errno.EDQUOT: "your quota is used up; free some space, or use another --root",
    errno.EROFS: "the file system is read-only; remount it, or use another --root",
    errno.EACCES: "check the permissions, or use another --root",
    errno.EPERM: "check the permissions, or use another --root",
    errno.ENOTDIR: "a file stands where a folder must be; use another --root",
    errno.ENAMETOOLONG: "the path is too long; use another --root or a shorter --name",
    errno.EXDEV: "the run directory spans two file systems; move all of it to one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Have `watcher` called before each file operation of this process, inside the block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _call(operation: str, path: Path, act: Callable[[], _Result]) -> _Result:
    for watcher in _watchers:
        watcher(operation, path)
    return _translated(operation, path, act)


def _translated(operation: str, path: Path, act: Callable[[], _Result]) -> _Result:
    """Return what `act` returns; an operating system's refusal becomes a sentence."""
    try:
        return act()
    except FileExistsError:
        raise  # callers use exclusive creation to find out
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:  # a rename onto a folder that is there
            raise FileExistsError(*error.args) from error
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        kind = NoSpaceError if error.errno in _NO_SPACE else StorageError
        raise kind(
            f"cannot {operation} {path}: {error.strerror}; {remedy}; what was saved before is safe"
        ) from error


def mkdir(path: Path) -> None:
    """Create a folder; FileExistsError if there is one."""
    _call("mkdir", path, lambda: path.mkdir())


def ensure_dir(path: Path) -> None:
    """Create a folder and those above it, each synced into its parent, unless it is there."""
    if path.is_dir():
        return
    ensure_dir(path.parent)
    try:
        mkdir(path)
    except FileExistsError:
        return
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    descriptor = _translated("open", path, lambda: os.open(path, flags))
    try:
        _call("fsync", path, lambda: os.fsync(descriptor))
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name; a file of that name is replaced, a full folder is not."""
    _call("rename", target, lambda: source.rename(target))


def symlink(path: Path, target: str) -> None:
    """Create a symbolic link at `path` with exactly the text `target`."""
    _call("symlink", path, lambda: path.symlink_to(target))


def unlink(path: Path) -> None:
    """Remove a file or a link."""
    _call("unlink", path, lambda: path.unlink())


def remove_tree(path: Path) -> None:
    """Remove a folder with everything in it; symbolic links are removed, never followed."""
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(entry)
        else:
            unlink(entry)
    _call("rmdir", path, lambda: path.rmdir())


def touch(path: Path) -> None:
    """Set a file's modification time to now."""
    _call("touch", path, lambda: os.utime(path))


def _open(path: Path, flags: int) -> int:
    return _call("open", path, lambda: os.open(path, flags | os.O_CLOEXEC, 0o644))


def _write(descriptor: int, path: Path, data: bytes | memoryview) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _WRITE_BYTES):
        chunk = view[start : start + _WRITE_BYTES]
        written = _call("write", path, partial(os.write, descriptor, chunk))
        if written != len(chunk):
            raise NoSpaceError(
                f"cannot write {path}: only {written} of {len(chunk)} bytes were taken; "
                "the disk is probably full; what was saved before is safe"
            )


def _write_synced(path: Path, chunks: Iterable[bytes | memoryview], flags: int) -> None:
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | flags)
    try:
        for chunk in chunks:
            _write(descriptor, path, chunk)
        _call("fsync", path, lambda: os.fsync(descriptor))
    finally:
        _call("close", path, lambda: os.close(descriptor))


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write and sync a file that must not be there yet; its folder is the caller's to sync."""
    _write_synced(path, [data], os.O_EXCL)


def write_new_from(path: Path, chunks: Iterable[bytes]) -> None:
    """Like `write_new`, for what need not fit into memory."""
    _write_synced(path, chunks, os.O_EXCL)


def replace(path: Path, data: bytes) -> None:
    """Put a file in place whole, or leave what was there; durable when this returns."""
    replace_from(path, [data])


def replace_from(path: Path, chunks: Iterable[bytes]) -> None:
    """Like `replace`, for what need not fit into memory."""
    temporary = path.with_name(f".{path.name}.tmp")
    _write_synced(temporary, chunks, os.O_TRUNC)
    rename(temporary, path)
    sync_dir(path.parent)


def replace_link(path: Path, target: str) -> None:
    """Point the symbolic link `path` at `target` in one move; durable when this returns."""
    temporary = path.with_name(f".{path.name}.tmp")
    if temporary.is_symlink():
        unlink(temporary)
    symlink(temporary, target)
    rename(temporary, path)
    sync_dir(path.parent)


def truncate(path: Path, size: int) -> None:
    """Cut a file to `size` bytes, durably."""
    descriptor = _open(path, os.O_WRONLY)
    try:
        _call("truncate", path, lambda: os.ftruncate(descriptor, size))
        _call("fsync", path, lambda: os.fsync(descriptor))
    finally:
        _call("close", path, lambda: os.close(descriptor))


class Appender:
    """A file that only grows.  Whole records go in with one write each.

    An append that fails is cut off again, and was the last: what a failed fsync was to make durable
    is lost although it can still be read, and no later fsync brings it back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._size = self._durable_size = os.fstat(self._descriptor).st_size
        self._has_failed = False
        sync_dir(path.parent)  # a file that is there may be of a process that died before it did

    def append(self, data: bytes, *, sync: bool) -> None:
        """Write one record; durable when this returns if `sync`."""
        self._check()
        try:
            _write(self._descriptor, self._path, data)
        except StorageError:
            self._cut_off(self._size)
            raise
        self._size += len(data)
        if sync:
            self.sync()

    def sync(self) -> None:
        """Make everything appended so far durable."""
        self._check()
        size = self._size
        try:
            _call("fsync", self._path, lambda: os.fsync(self._descriptor))
        except StorageError:
            self._cut_off(self._durable_size)
            raise
        self._durable_size = size

    def _check(self) -> None:
        if self._has_failed:
            raise StorageError(
                f"cannot write {self._path}: an earlier write to it failed; check the disk; what "
                "was saved before is safe"
            )

    def _cut_off(self, size: int) -> None:
        self._has_failed = True
        with suppress(StorageError):  # the failure under way says it all
            _call("truncate", self._path, lambda: os.ftruncate(self._descriptor, size))
            _call("fsync", self._path, lambda: os.fsync(self._descriptor))

    def close(self) -> None:
        """Close the file; nothing more can be appended."""
        _call("close", self._path, lambda: os.close(self._descriptor))


def open_lock(path: Path) -> int:
    """Return a descriptor of the lock file, created if need be."""
    return _open(path, os.O_RDWR | os.O_CREAT)


def replace_contents(descriptor: int, path: Path, data: bytes) -> None:
    """Overwrite an open file in place, so that a kernel lock on it stays."""
    _call("truncate", path, lambda: os.ftruncate(descriptor, 0))
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, path, data)
    _call("fsync", path, lambda: os.fsync(descriptor))
