"""Whether a folder is still as it was at an earlier look, by what the file system says of it.

No byte is read: whoever reads them, between two looks that agree, knows what is there.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rlrun.runs.manifest import shown

Look = Mapping[str, tuple[int, ...]]
"""Relative path to size, times of change and inode, of all that is no folder."""


def look(folder: Path) -> Look:
    """Return what the file system says of the files of a folder now; links are not followed."""
    found: dict[str, tuple[int, ...]] = {}
    for path in _files(folder):
        with suppress(FileNotFoundError):  # it is gone by now, and so it is in no look
            one = path.lstat()
            state = (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino, one.st_dev)
            found[path.relative_to(folder).as_posix()] = state
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def difference(before: Look, now: Look) -> str | None:
    """Return what is different, such as "x has changed", None if nothing is."""
    for name in sorted(before.keys() | now.keys()):
        if name not in before:
            return f"{shown(name)} is new"
        if name not in now:
            return f"{shown(name)} is gone"
        if before[name] != now[name]:
            return f"{shown(name)} has changed"
    return None
