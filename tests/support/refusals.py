"""An operating system that refuses: which calls, with what, once or from then on.

After an fsync that failed, what was not durable yet must be taken for lost, although it can still
be read: the kernel has dropped the pages from what it will write.  A refusal notes these ranges, so
that a test can lose them when it likes.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import system_calls
from support.system_calls import REAL, SystemCall

SHORT = "short write"  # fewer bytes are taken than given, then the disk is full
LOST = "lost fsync"  # an fsync fails, and what it was to make durable is gone
CREATING = frozenset({"open", "write", "mkdir", "rename", "symlink"})
_MODIFYING = CREATING | {"ftruncate", "unlink", "rmdir", "utime"}
KINDS: dict[str, frozenset[str]] = {
    "ENOSPC": CREATING | {"fsync", "close"},
    "EDQUOT": CREATING | {"fsync", "close"},
    "EIO": _MODIFYING | {"fsync", "close", "opendir"},
    "EROFS": _MODIFYING - {"write", "ftruncate"},
    "EACCES": _MODIFYING - {"write", "ftruncate"} | {"opendir"},
    "EMFILE": frozenset({"open", "opendir"}),
    SHORT: frozenset({"write"}),
    LOST: frozenset({"fsync"}),
}
"""What each kind befalls; `opendir` is the opening of a folder, which is only read."""


def applies(kind: str, call: SystemCall) -> bool:
    """Return whether a system could refuse a call in this way."""
    is_folder = bool(call.flags & os.O_DIRECTORY)
    if call.name == "open" and is_folder:
        return "opendir" in KINDS[kind]
    if call.name == "close":  # it reports late what writing met; only what was written to has that
        is_for_a_lock = call.flags & os.O_ACCMODE == os.O_RDWR
        return "close" in KINDS[kind] and not is_folder and not is_for_a_lock
    if kind == LOST:
        return call.name == "fsync" and not is_folder
    return call.name in KINDS[kind]


@dataclass(frozen=True)
class Refusal:
    """The refusal of the n-th call under a folder, counted from 0, and of those after it."""

    folder: Path
    at: int
    kind: str
    is_lasting: bool
    made: Path | None = None  # receives the calls that were made
    doomed: Path | None = None  # receives what failed fsyncs gave up

    def __call__(self) -> None:
        system_calls.handle(self.folder, Refusing(self))


class Refusing:
    """Refuses as told; knows what of each file is durable."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._num_calls = 0
        self._has_relented = False
        self._durable: dict[Path, int] = {}  # bytes
        self.lost: dict[Path, tuple[int, int, int]] = {}  # inode, bytes from and to
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._made = None if refusal.made is None else REAL["open"](refusal.made, flags, 0o644)

    def __call__(self, call: SystemCall, act: Callable[[], Any]) -> Any:
        if self._has_relented:
            return self._make(call, act)
        refusal, number = self._refusal, self._num_calls
        self._num_calls += 1
        kind = refusal.kind
        if kind == SHORT and number > refusal.at:
            kind = "ENOSPC"
        is_due = number == refusal.at or (refusal.is_lasting and number > refusal.at)
        if is_due and applies(kind, call):
            return self._refuse(kind, call, act)
        return self._make(call, act)

    def relent(self) -> None:
        """Refuse nothing any more; go on taking note of what is durable."""
        self._has_relented = True

    def _make(self, call: SystemCall, act: Callable[[], Any]) -> Any:
        result = act()
        self._follow(call, result)
        return result

    def _refuse(self, kind: str, call: SystemCall, act: Callable[[], Any]) -> int:
        if kind == SHORT:
            taken: int = REAL["write"](call.descriptor, call.data[: len(call.data) // 2])
            return taken
        if call.name == "close":
            act()  # the descriptor is gone all the same
        if kind == LOST:
            found = os.fstat(call.descriptor)
            start = self._durable.get(call.path, 0)
            self.lost[call.path] = (found.st_ino, start, found.st_size)
            self._tell()
        number = errno.EIO if kind == LOST else getattr(errno, kind)
        raise OSError(number, os.strerror(number), str(call.path))

    def _follow(self, call: SystemCall, result: Any) -> None:
        """Take note of what was made and what is durable now."""
        if self._made is not None:
            REAL["write"](self._made, f"{call}\n".encode())
        if call.name == "open" and not call.flags & os.O_DIRECTORY:
            size = os.fstat(result).st_size
            self._durable.setdefault(call.path, size)
            self._cut(call.path, size)
        elif call.name == "fsync" and call.path in self._durable:
            self._durable[call.path] = os.fstat(call.descriptor).st_size
        elif call.name == "ftruncate":
            self._cut(call.path, call.size)

    def _cut(self, path: Path, size: int) -> None:
        """Take note that a file is no longer than that: what is behind it cannot be lost."""
        self._durable[path] = min(size, self._durable[path])
        inode, start, end = self.lost.get(path, (0, 0, 0))
        if end > size:
            self.lost[path] = (inode, min(start, size), size)
            self._tell()

    def _tell(self) -> None:
        if self._refusal.doomed is not None:
            self._refusal.doomed.write_text(json.dumps(list(self.lost.values())))


def lose(folder: Path, lost: Iterable[Sequence[int]]) -> None:
    """Let the machine forget what failed fsyncs did not make durable: zeros stand in its place."""
    paths = {path.stat().st_ino: path for path in folder.rglob("*") if path.is_file()}
    for inode, start, end in lost:
        if inode in paths:
            with paths[inode].open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(start)
                file.write(bytes(max(0, min(end, size) - start)))


def read_lost(doomed: Path) -> list[list[int]]:
    """Return what failed fsyncs gave up in a process that noted it there."""
    return json.loads(doomed.read_text()) if doomed.exists() else []
