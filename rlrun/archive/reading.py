"""Bytes out of an archive: what breaks off goes on, what comes with other bytes is read again."""

from collections.abc import Callable, Iterator

from rlrun.archive import blobs
from rlrun.archive.blobs import Seal, Sealer
from rlrun.archive.manifests import way_out
from rlrun.archive.storage import Storage
from rlrun.errors import ArchiveError, DamagedError, InterruptedReadError, MissingObjectError

NUM_TRIES = 5  # without a byte more between two of them
NUM_READS = 3  # of an object that comes with other bytes


def chunks(storage: Storage, key: str, start: int = 0) -> Iterator[bytes]:
    """Yield an object's bytes from `start`; InterruptedReadError when it keeps breaking off."""
    tries = 0
    while True:
        try:
            with storage.read(key, start) as found:
                for chunk in found:
                    start += len(chunk)
                    tries = 0
                    yield chunk
            return
        except InterruptedReadError:
            tries += 1
            if tries == NUM_TRIES:
                raise


def read_whole(storage: Storage, key: str, *, most_bytes: int) -> bytes:
    """Return a small object; ArchiveError if it is larger than that."""
    found = bytearray()
    for chunk in chunks(storage, key):
        found += chunk
        if len(found) > most_bytes:
            raise ArchiveError(
                f"{storage.place}/{key} is too large to be what its name says; move it elsewhere"
            )
    return bytes(found)


def read_sealed(storage: Storage, key: str, expected: Seal) -> bytes:
    """Return a small object; DamagedError if it is lost or has other bytes than the sealed ones."""
    found = bytearray()
    try:
        for chunk in chunks(storage, key):
            found += chunk
            if len(found) > expected.size:
                break
    except MissingObjectError:  # although a manifest lists it
        raise damaged(storage, key, "is not there") from None
    data = bytes(found)
    if blobs.of_bytes(data).seal != expected:
        raise damaged(storage, key, "has other bytes than were sent")
    return data


def read_back(
    storage: Storage, key: str, expected: Seal, note: Callable[[int], None]
) -> str | None:
    """Return what is wrong with an object's bytes after reading all of them, None if nothing is.

    What comes with other bytes is read again: they may have been changed on the way.
    """
    found = expected
    for _ in range(NUM_READS):
        sealer = Sealer(expected.size)
        for chunk in chunks(storage, key):
            sealer.update(chunk)
            note(len(chunk))
        found = sealer.seal()
        if found == expected:
            return None
    if found.size != expected.size:
        return f"has {found.size} bytes, not {expected.size}"
    return "has other bytes than were sent"


def damaged(storage: Storage, key: str, what: str) -> DamagedError:
    """Return the error for an object that does not hold what it should."""
    return DamagedError(f"{storage.place}/{key} {what}; {way_out(key.partition('/')[2])}")
