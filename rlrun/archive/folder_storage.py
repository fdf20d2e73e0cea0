"""A folder as a store: each object is a file that appears whole; only reading it back proves it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from rlrun.archive.blobs import MIB, Blob
from rlrun.archive.storage import Note, Stored, Unfinished
from rlrun.errors import ArchiveError, InterruptedReadError, MissingObjectError, StorageError
from rlrun.runs import files

_WRITE_BYTES = 8 * MIB
_SUFFIX = ".tmp"
_NUM_TRIES = 5


class FolderStorage:
    """Objects as files under a folder, which is made when the first is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield all objects whose keys begin so, by key."""
        folder, _, _ = prefix.rpartition("/")
        found = (self._described(path) for path in _files_under(self.folder / folder))
        yield from sorted(
            (one for one in found if one and one.key.startswith(prefix)), key=lambda one: one.key
        )

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly under a prefix."""
        folder = self.folder / prefix
        if folder.is_dir():
            names = (path.name for path in folder.iterdir() if path.is_dir())
            yield from sorted(name for name in names if not name.startswith("."))

    def stat(self, key: str) -> Stored | None:
        """Return an object, None if it is absent; a folder computes no checksums."""
        return self._described(self._path(key))

    def _described(self, path: Path) -> Stored | None:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        key = path.relative_to(self.folder).as_posix()
        return Stored(key, found.st_size, found.st_mtime)

    @contextmanager
    def read(self, key: str, start: int = 0) -> Iterator[Iterator[bytes]]:
        """Yield an object's bytes from `start`."""
        path = self._path(key)
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise MissingObjectError(f"{path} is not there; 'rlrun verify RUN --remote' tells what "
                                     "else is missing") from None  # fmt: skip
        with file:
            file.seek(start)
            yield _chunks(file.fileno(), path)

    def put(self, key: str, blob: Blob, note: Note) -> None:
        """Store a blob, durably, with one rename."""
        path = self._path(key)
        unfinished = path.with_name(f".{path.name[:100]}.{uuid4().hex}{_SUFFIX}")
        try:
            _write(unfinished, blob, note)
            files.rename(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        files.sync_dir(path.parent)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, and the folders that are empty then."""
        folders = set()
        for path in map(self._path, keys):
            if path.exists():
                files.unlink(path)
                folders.add(path.parent)
        for folder in sorted(folders, reverse=True):
            self._remove_empty(folder)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # it is not empty, or somebody else has removed it
            while folder != self.folder:
                folder.rmdir()
                folder = folder.parent

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the files that killed commands left."""
        for path in sorted((self.folder / prefix).rglob(f".*{_SUFFIX}")):
            found = self._described(path)
            if found is not None:  # else it was finished meanwhile
                yield Unfinished(found.key, path.name, found.changed)

    def discard(self, upload: Unfinished) -> None:
        """Remove what a killed command left."""
        path = self._path(upload.key)
        if path.exists():
            files.unlink(path)

    def has_checksums(self) -> bool:
        """Return False: what a file system stores must be read back."""
        return False

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not all(parts) or ".." in parts or "\0" in key:
            raise ArchiveError(f"{key!r} cannot be the key of an object in {self.place}")
        return self.folder.joinpath(*parts)


def _files_under(folder: Path) -> Iterator[Path]:
    """Yield the objects below a folder, at any depth; links are not followed."""
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in entries:
        if path.name.startswith(".") and path.name.endswith(_SUFFIX):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files_under(path)
        elif path.is_file():
            yield path


def _write(path: Path, blob: Blob, note: Note) -> None:
    """Write a new file, its folder too, which whoever removes empty ones may take meanwhile."""
    for num_left in reversed(range(_NUM_TRIES)):
        try:
            files.ensure_dir(path.parent)
            files.write_new_from(path, _noted(blob, note))
            return
        except StorageError as error:
            if not num_left or not isinstance(error.__cause__, FileNotFoundError):
                raise


def _noted(blob: Blob, note: Note) -> Iterator[bytes]:
    for start in range(0, blob.seal.size, _WRITE_BYTES):
        data = blob.read(start, _WRITE_BYTES)
        yield data
        note(len(data))


def _chunks(descriptor: int, path: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, MIB)
        except OSError as error:
            raise InterruptedReadError(
                f"{path} cannot be read: {error.strerror}; check the disk"
            ) from error
        if not chunk:
            return
        yield chunk
