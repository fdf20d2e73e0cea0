"""A verified copy of one checkpoint elsewhere: whole or not at all, and compared byte for byte."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from rlrun.errors import DamagedError, RunExistsError, StorageError
from rlrun.runs import files, leftovers

_CHUNK_BYTES = 16 * 2**20
_SPACE_FACTOR = 1.05

Hashes = Mapping[str, str]
"""Relative path to SHA-256, of every file in a folder."""


def copy_whole(source: Path, target: Path) -> bool:
    """Copy a folder to a place that appears with one rename; return False if it is there already.

    The copy is read back before it appears.  Raises RunExistsError if something else is there,
    StorageError if it does not fit, DamagedError if it came back with other bytes.
    """
    wanted = hashes_of(source)
    if target.exists():
        if hashes_of(target) != wanted:
            raise RunExistsError(
                f"{target} is there already and differs from {source}; move one of them elsewhere"
            )
        return False
    files.ensure_dir(target.parent)
    leftovers.remove_dead(target.parent)
    _check_space(source, target.parent)
    unfinished = leftovers.unfinished(target)
    if unfinished.exists():  # of a dead process that had our number
        files.remove_tree(unfinished)
    _copy_tree(source, unfinished)
    if hashes_of(unfinished) != wanted:
        files.remove_tree(unfinished)
        raise DamagedError(
            f"the copy of {source} came back with other bytes than were written; check the disk "
            f"that holds {target.parent}"
        )
    files.rename(unfinished, target)
    files.sync_dir(target.parent)
    return True


def hashes_of(folder: Path) -> Hashes:
    """Return the hash of every file in a folder; a link to a file counts as that file."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise StorageError(
                f"{path} is not a file and cannot be copied; copy {folder} by hand, or without it"
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        found[path.relative_to(folder).as_posix()] = digest.hexdigest()
    return found


def _check_space(source: Path, folder: Path) -> None:
    needed = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if free < _SPACE_FACTOR * needed:
        raise StorageError(
            f"a copy of {source} needs {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} "
            "MB free; free some space"
        )


def _copy_tree(source: Path, target: Path) -> None:
    files.mkdir(target)
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _copy_tree(entry, target / entry.name)
        else:
            files.write_new_from(target / entry.name, _chunks(entry))
    files.sync_dir(target)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
