"""Folders that appear whole, with one rename, and what is left of them if their maker dies.

The name that such a folder has meanwhile tells who makes it: on which machine, and its pid there.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from rlrun.errors import StorageError
from rlrun.runs import files, lock

BOUND_SECONDS = 24 * 3600.0
"""How long nothing of another machine's folder may have changed before it counts as left."""
_NUM_TRIES = 20  # to remove what others remove too
_NAME = re.compile(r"\..*?(?:\.([0-9a-f]{8}))?\.([1-9][0-9]*)\.tmp")


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
        _remove_among_others(path)


def _remove_among_others(path: Path) -> None:
    """Remove a folder that other processes may be removing too, each what the others have left."""
    for is_last in (*repeat(False, _NUM_TRIES - 1), True):
        try:
            files.remove_tree(path)
        except (FileNotFoundError, StorageError):
            if not path.exists():
                return
            if is_last:
                raise
        else:
            return


def here() -> str:
    """Return eight letters for this machine since it was started, and its space of pids."""
    return hashlib.sha256(f"{lock.machine()} {lock.pid_namespace()}".encode()).hexdigest()[:8]


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
