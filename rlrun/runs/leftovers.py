"""Folders that appear whole, with one rename, and what is left of them if their maker dies.

The name that such a folder has meanwhile tells who makes it: on which machine, and its pid there.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from rlrun.runs import files, lock

BOUND_SECONDS = 24 * 3600.0
"""How long nothing of another machine's folder may have changed before it counts as left."""
_NAME = re.compile(r"\..*?(?:\.([0-9a-f]{8}))?\.([1-9][0-9]*)\.tmp")
_PID_NAMESPACE = Path("/proc/self/ns/pid")  # containers of one machine have pids of their own


def unfinished(path: Path) -> Path:
    """Return the name that `path` is to have while this process makes it."""
    return path.with_name(f".{path.name}.{here()}.{os.getpid()}.tmp")


def dead(folder: Path, *, now: float | None = None) -> list[Path]:
    """Return what is left in a folder of makers that died; another machine's only when it is old.

    One that does not say where it is made may be another machine's.
    """
    moment = time.time() if now is None else now
    matches = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.glob(".*.tmp")))
    return [
        path
        for match, path in matches
        if match and not _may_live(path, match[1], int(match[2]), moment)
    ]


def remove_dead(folder: Path) -> None:
    """Remove what makers that died left in a folder."""
    for path in dead(folder):
        files.remove_tree(path)


def here() -> str:
    """Return eight letters for this machine since it was started, and its space of pids."""
    namespace = str(_PID_NAMESPACE.readlink()) if _PID_NAMESPACE.is_symlink() else ""
    return hashlib.sha256(f"{lock.machine()} {namespace}".encode()).hexdigest()[:8]


def _may_live(path: Path, machine: str | None, pid: int, now: float) -> bool:
    if machine == here():
        return is_alive(pid)
    return now - max(_changes(path), default=now) < BOUND_SECONDS


def _changes(path: Path) -> Iterator[float]:
    """Yield when each part of a tree was last written to; what goes meanwhile is left out."""
    for one in (path, *path.rglob("*")):
        try:
            yield one.lstat().st_mtime
        except FileNotFoundError:
            continue


def is_alive(pid: int) -> bool:
    """Return whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
