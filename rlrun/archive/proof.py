"""Proof that an archive holds some bytes: the store's own checksum, else reading them back."""

from collections.abc import Callable

from rlrun.archive import blobs
from rlrun.archive.blobs import Blob, Seal
from rlrun.archive.reading import read_back
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress
from rlrun.errors import ArchiveError, MissingObjectError, StorageError

NUM_SENDS = 3  # of an object that did not arrive as it was sent


def _unseen(_num_bytes: int) -> None: ...


def doubt(
    storage: Storage,
    key: str,
    seal: Seal,
    *,
    with_data: bool = False,
    note: Callable[[int], None] = _unseen,
) -> str | None:
    """Return why an object is not proved to hold the sealed bytes, None if it is.

    `with_data` reads it in any case.  Raises ArchiveError if the archive cannot tell.
    """
    stored = storage.stat(key)
    if stored is None:
        return "is not there"
    if stored.size != seal.size:
        return f"has {stored.size} bytes, not {seal.size}"
    if stored.checksum is not None and not seal.is_proved_by(stored.checksum):
        return "has another checksum than its bytes should"
    if stored.checksum is not None and not with_data:
        return None
    try:
        return read_back(storage, key, seal, note)
    except MissingObjectError:
        return "is not there any more"


def send_proved(storage: Storage, key: str, blob: Blob, progress: Progress) -> None:
    """Store a blob and prove that it is there.

    Raises ArchiveError if it never arrives as it was sent, StorageError if its file has changed.
    Where the store checks the sum that is sent along, that is the proof; else it is read back.
    """
    problem = ""
    for _ in range(NUM_SENDS):
        storage.put(key, blob, progress.note)
        if storage.has_checksums():
            return
        found = doubt(storage, key, blob.seal, note=progress.heed)
        if found is None:
            return
        if not blobs.is_unchanged(blob):
            raise StorageError("what is to be archived changed meanwhile; run the command again")
        problem = found
    raise ArchiveError(
        f"{storage.place}/{key} {problem}, although it was sent {NUM_SENDS} times; nothing that "
        "needs it was listed; check the network and the store, then archive again"
    )
