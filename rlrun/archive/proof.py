"""Proof that an archive holds some bytes: the store's own checksum, else reading them back."""

from collections.abc import Callable

from rlrun.archive.blobs import Seal
from rlrun.archive.reading import read_back
from rlrun.archive.storage import Storage
from rlrun.errors import MissingObjectError


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
