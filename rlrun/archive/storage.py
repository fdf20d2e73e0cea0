"""The protocol of a store: immutable objects under keys, and what it can say of them by itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from rlrun.archive.blobs import Blob

Note = Callable[[int], None]
"""Told how many bytes more have arrived; called from any thread."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a store describes it."""

    key: str  # relative to the storage's place
    size: int
    changed: float  # when it was stored, by the store's clock, seconds since the epoch
    checksum: str | None = None  # SHA-256 that the store computed of what it has, see Seal


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload of several parts that nobody has completed."""

    key: str
    upload: str
    begun: float  # seconds since the epoch


class Storage(Protocol):
    """A place for objects.

    Every method may be called from several threads at once, tries again what may go away (within a
    bounded time), settles by reading what an answer leaves open, and raises ArchiveError with one
    sentence for what does not go away.  Keys are relative to the place, in POSIX form.
    """

    place: str  # as the user wrote it: s3://bucket/prefix or a folder

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield all objects whose keys begin so, by key; 1,000 a request; without checksums."""
        ...

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly under a prefix that is empty or ends in '/'."""
        ...

    def stat(self, key: str) -> Stored | None:
        """Return an object, with its checksum if the store computes one; None if it is absent."""
        ...

    def read(self, key: str, start: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """Yield an object's bytes from `start`, in chunks of at most 1 MiB.

        Raises MissingObjectError if it is absent.  A body that breaks off, or stalls, raises
        InterruptedReadError while it is iterated: the caller goes on from where it is.
        """
        ...

    def put(self, key: str, blob: Blob, note: Note) -> None:
        """Store a blob, durably; when this returns the key holds these bytes, as far as sending
        can tell: with the checksum refused by the store if they arrived otherwise.

        An object that is there already is replaced: keys are of the content, so it is the same.
        Killed in between, the next `put` of the same blob goes on where this one was.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""
        ...

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads under a prefix that were begun and not completed."""
        ...

    def discard(self, upload: Unfinished) -> None:
        """Give up an unfinished upload; one that is gone is no error."""
        ...

    def has_checksums(self) -> bool:
        """Return whether this store computes the checksum of what it stores, found out by trying.

        The answer is remembered; without, only reading an object back proves it.
        """
        ...

    def close(self) -> None:
        """Close the connections; what is used later opens new ones."""
        ...
