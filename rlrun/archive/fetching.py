"""Objects of an archive as files here: fetched on from where it broke off, and checked."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.reading import NUM_READS, chunks, damaged
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress, each
from rlrun.errors import DamagedError, LockedError, MissingObjectError, NoSpaceError, RlrunError
from rlrun.runs import files

_SPACE_FACTOR = 1.025
_CHUNK_BYTES = 2**20
_NUM_LOOKS = 20  # at a folder that others make and remove


@dataclass(slots=True)
class Fetcher:
    """Fetches objects of one run into a folder, where each file is named by its hash."""

    storage: Storage
    folder: Path
    transfers: int = 8
    progress: Progress = field(default_factory=Progress)

    def fetch(self, found: Sequence[Archived]) -> None:
        """Have the objects of these manifests in the folder, whole and checked.

        Raises DamagedError if one is not there or comes with other bytes again and again,
        NoSpaceError if all of it does not fit.
        """
        self._fetch(found, self._fetch_one)

    def fetch_what_is_whole(self, found: Archived) -> list[tuple[Entry, str]]:
        """Have those objects of a manifest in the folder that are whole in the archive.

        Returns the entries of the others, each with what is wrong.
        """
        problems: dict[str, str] = {}  # by hash

        def attempt(wanted: tuple[str, Entry]) -> None:
            try:
                self._fetch_one(wanted)
            except DamagedError as error:
                problems[wanted[1].seal.sha256] = str(error)

        self._fetch([found], attempt)
        return [
            (entry, problems[entry.seal.sha256])
            for entry in found.entries
            if entry.seal.sha256 in problems
        ]

    def _fetch(self, found: Sequence[Archived], act: Callable[[tuple[str, Entry]], None]) -> None:
        wanted = {
            entry.seal.sha256: (one.run_name, entry) for one in found for entry in one.entries
        }
        self.check_space(found)
        self.progress.expect(sum(entry.seal.size for _, entry in wanted.values()))
        each(act, list(wanted.values()), at_once=self.transfers)
        files.sync_dir(self.folder)

    def path_of(self, entry: Entry) -> Path:
        """Return the file that holds an entry's bytes."""
        return self.folder / entry.seal.sha256

    def _fetch_one(self, wanted: tuple[str, Entry]) -> None:
        run_name, entry = wanted
        key, path = f"{run_name}/{entry.key}", self.path_of(entry)
        if path.exists():  # whole: it was renamed
            self.progress.note(entry.seal.size)
            return
        partial = _partial(path)
        for _ in range(NUM_READS):
            try:
                is_whole = self._complete(key, entry, partial)
            except MissingObjectError:  # although a manifest lists it
                raise damaged(self.storage, key, "is not there") from None
            if is_whole:
                files.rename(partial, path)
                return
            files.unlink(partial)
        raise damaged(self.storage, key, "comes with other bytes than were sent")

    def _complete(self, key: str, entry: Entry, partial: Path) -> bool:
        """Fetch what a file lacks; return whether it then holds the bytes that it should."""
        digest = hashlib.sha256()
        size = 0
        if partial.exists():
            with partial.open("rb") as file:
                while data := file.read(_CHUNK_BYTES):
                    digest.update(data)
                    size += len(data)
        self.progress.note(size)
        appender = files.Appender(partial)
        try:
            if size < entry.seal.size or not size:
                for chunk in chunks(self.storage, key, size):
                    appender.append(chunk, sync=False)
                    digest.update(chunk)
                    size += len(chunk)
                    self.progress.note(len(chunk))
            appender.sync()
        finally:
            appender.close()
        return size == entry.seal.size and digest.hexdigest() == entry.seal.sha256

    def check_space(self, found: Sequence[Archived]) -> None:
        """Raise NoSpaceError unless what the folder lacks of these fits, and a copy of all of it.

        What is fetched is copied to its place before it goes from the folder.
        """
        entries = {entry.seal.sha256: entry for one in found for entry in one.entries}
        lacking = sum(one.seal.size - self._num_fetched(one) for one in entries.values())
        needed = _SPACE_FACTOR * (lacking + sum(one.num_bytes for one in found))
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise NoSpaceError(
                f"what is to be restored needs {needed / 1e6:,.0f} MB and {self.folder} has "
                f"{free / 1e6:,.0f} MB free; free some space, or use another --root"
            )

    def _num_fetched(self, entry: Entry) -> int:
        """Return how many bytes of an entry are in the folder, whole or in part."""
        path = self.path_of(entry)
        sizes = (one.stat().st_size for one in (path, _partial(path)) if one.exists())
        return min(entry.seal.size, sum(sizes))

    def forget(self, found: Archived) -> None:
        """Remove from the folder what was fetched of a manifest."""
        for path in map(self.path_of, found.entries):
            if path.exists():
                files.unlink(path)


@contextmanager
def staging(root: Path, run_name: str, run_id: str) -> Iterator[Path]:
    """Be the only one who restores a run; yields the folder for what is fetched.

    It is removed when the block ends well, or is refused before anything was fetched, and found
    again by the next command otherwise.  Raises LockedError if another process restores the run.
    """
    folder = root / "archive" / "restoring" / f"{run_name}-{run_id[:12]}"
    descriptor = _locked(folder)
    if descriptor is None:
        raise LockedError(
            f"run '{run_name}' is being restored by another 'rlrun restore'; wait until it is done"
        )
    try:
        yield folder
        files.remove_tree(folder)
    except RlrunError:
        if not any(folder.iterdir()):
            files.remove_tree(folder)
        raise
    finally:
        os.close(descriptor)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _locked(folder: Path) -> int | None:
    """Return a descriptor that holds a folder, made if need be; None if another process has it.

    Whoever held it before may have removed it between our look and our lock: then it is another.
    """
    for _ in range(_NUM_LOOKS):
        files.ensure_dir(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None
