"""The system calls that change what is under a folder: a test sees each one, and makes it or not.

Takes the place of the functions of `os`, so that it stands below the file layer and sees the
bytes; nothing else of the process is touched.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SystemCall:
    """One call, before it is made."""

    name: str  # open, write, fsync, ftruncate, close, mkdir, rename, symlink, unlink, rmdir, utime
    path: Path  # what it changes; of a rename, what gets another name
    descriptor: int = -1  # of an open file
    flags: int = 0  # that the file was opened with
    data: bytes = b""  # of write
    size: int = 0  # of ftruncate
    target: str = ""  # of rename: the new path; of symlink: its text

    def __str__(self) -> str:
        return f"{self.name} {Path(self.target if self.name == 'rename' else self.path).name}"


Handler = Callable[[SystemCall, Callable[[], Any]], Any]
"""Given the call and the function that makes it; what it returns is what the caller gets."""

_NAMES = ("open", "write", "fsync", "ftruncate", "close", "mkdir", "rename", "symlink", "unlink",
          "rmdir", "utime")  # fmt: skip
REAL = {name: getattr(os, name) for name in _NAMES}
"""The functions that make the calls, whoever handles them."""


class _Calls:
    """The functions that stand in for those of `os`; fewer arguments than theirs go through."""

    def __init__(self, folder: Path, handler: Handler) -> None:
        self._folder = f"{folder}{os.sep}"
        self._handler = handler
        self._open: dict[int, tuple[Path, int]] = {}  # path and flags by descriptor

    def _is_ours(self, path: Any, named: dict[str, Any]) -> bool:
        if isinstance(path, int) or named.get("dir_fd") is not None:
            return False
        return f"{os.fspath(path)}{os.sep}".startswith(self._folder)

    def open(self, path: Any, flags: int, *rest: Any, **named: Any) -> int:
        def act() -> int:
            descriptor = int(REAL["open"](path, flags, *rest, **named))
            self._open[descriptor] = Path(path), flags
            return descriptor

        if not self._is_ours(path, named):
            return int(REAL["open"](path, flags, *rest, **named))
        return int(self._handler(SystemCall("open", Path(path), flags=flags), act))

    def _on_descriptor(self, name: str, descriptor: int, *rest: Any, **fields: Any) -> Any:
        def act() -> Any:
            if name == "close":
                del self._open[descriptor]
            return REAL[name](descriptor, *rest)

        if descriptor not in self._open:
            return REAL[name](descriptor, *rest)
        path, flags = self._open[descriptor]
        return self._handler(SystemCall(name, path, descriptor, flags, **fields), act)

    def write(self, descriptor: int, data: Any) -> int:
        if descriptor not in self._open:
            return int(REAL["write"](descriptor, data))
        return int(self._on_descriptor("write", descriptor, data, data=bytes(data)))

    def fsync(self, descriptor: int) -> None:
        self._on_descriptor("fsync", descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._on_descriptor("ftruncate", descriptor, size, size=size)

    def close(self, descriptor: int) -> None:
        self._on_descriptor("close", descriptor)

    def _on_path(self, name: str, path: Any, *rest: Any, **named: Any) -> Any:
        if not self._is_ours(path, named):
            return REAL[name](path, *rest, **named)
        act = lambda: REAL[name](path, *rest, **named)  # noqa: E731
        return self._handler(SystemCall(name, Path(path)), act)

    def mkdir(self, path: Any, *rest: Any, **named: Any) -> None:
        self._on_path("mkdir", path, *rest, **named)

    def unlink(self, path: Any, *rest: Any, **named: Any) -> None:
        self._on_path("unlink", path, *rest, **named)

    def rmdir(self, path: Any, *rest: Any, **named: Any) -> None:
        self._on_path("rmdir", path, *rest, **named)

    def utime(self, path: Any, *rest: Any, **named: Any) -> None:
        self._on_path("utime", path, *rest, **named)

    def rename(self, source: Any, target: Any, **named: Any) -> None:
        if not self._is_ours(source, named):
            REAL["rename"](source, target, **named)
            return
        call = SystemCall("rename", Path(source), target=os.fspath(target))
        self._handler(call, lambda: REAL["rename"](source, target, **named))

    def symlink(self, text: Any, path: Any, *rest: Any, **named: Any) -> None:
        if not self._is_ours(path, named):
            REAL["symlink"](text, path, *rest, **named)
            return
        call = SystemCall("symlink", Path(path), target=os.fspath(text))
        self._handler(call, lambda: REAL["symlink"](text, path, *rest, **named))


def handle(folder: Path, handler: Handler) -> None:
    """Give every call under `folder` to `handler`, until the process ends."""
    calls = _Calls(folder, handler)
    for name in _NAMES:
        setattr(os, name, getattr(calls, name))


@contextmanager
def handled(folder: Path, handler: Handler) -> Iterator[None]:
    """Give every call under `folder` to `handler`, inside the block."""
    handle(folder, handler)
    try:
        yield
    finally:
        for name, function in REAL.items():
            setattr(os, name, function)


@dataclass(frozen=True)
class Recording:
    """Called in a process, keeps every call under a folder, and what it returned, in a file."""

    folder: Path
    file: Path

    def __call__(self) -> None:
        descriptor = REAL["open"](self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

        def keep(call: SystemCall, act: Callable[[], Any]) -> Any:
            result = act()
            REAL["write"](descriptor, pickle.dumps((call, result)))
            return result

        handle(self.folder, keep)


def read_recording(file: Path) -> list[tuple[SystemCall, Any]]:
    """Return the calls that were made, in order, each with what it returned."""
    calls = []
    with file.open("rb") as stream:
        while stream.peek(1):
            calls.append(pickle.load(stream))  # noqa: S301 - a test's own file
    return calls
