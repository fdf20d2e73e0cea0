"""What one push sends: the objects that are not there yet, each proved, and there at its end."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from rlrun.archive import blobs, catalog, manifests, proof
from rlrun.archive.blobs import Blob, Seal
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.manifests import Archived
from rlrun.archive.snapshot import Source
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import SMALL_BYTES, Progress, each
from rlrun.errors import ArchiveError

MARK_POLL_SECONDS = 1.0
MARK_PATIENCE_SECONDS = 120.0


@dataclass(slots=True)
class Outgoing:
    """The objects of one run in an archive, as one push knows them; safe from any thread."""

    storage: Storage
    run_name: str
    transfers: int = 8  # of objects at once that are not small
    progress: Progress = field(default_factory=Progress)
    sleep: Callable[[float], None] = time.sleep
    num_objects: int = 0  # that were sent
    num_bytes: int = 0
    room: threading.Semaphore = field(init=False)  # for objects that are not small
    _sizes: dict[str, int] | None = None  # of what is there, by key; None: not looked yet
    _trusted: dict[str, Seal] = field(default_factory=dict)  # what is proved, by key
    _needed: dict[str, Blob] = field(default_factory=dict)  # by the new manifests, by key
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.room = threading.Semaphore(self.transfers)

    def look(self) -> bool:
        """List what the archive has of the run, once; return whether this was the first look."""
        if self._sizes is not None:
            return False
        self._sizes = self._listed()
        return True

    def trust(self, proved: Archived) -> None:
        """Take the objects of a manifest as proved where a listing has them."""
        with self._lock:
            self._trusted |= {f"{self.run_name}/{one.key}": one.seal for one in proved.entries}

    def send(self, found: Archived, sources: Sequence[Source], *, at_once: int) -> None:
        """Send the objects of a manifest that are not there, and prove each."""
        by_path = {source.path: source.blob for source in sources}
        wanted = {
            f"{self.run_name}/{entry.key}": by_path[entry.path]
            for entry in found.entries
            if entry.path in by_path and by_path[entry.path].seal == entry.seal
        }  # the others were sent by another machine
        sizes = each(self._send_one, wanted.items(), at_once=at_once)
        with self._lock:
            self.num_objects += sum(size is not None for size in sizes)
            self.num_bytes += sum(size or 0 for size in sizes)
            self._needed |= {key: blobs.on_disk(blob) for key, blob in wanted.items()}

    def _send_one(self, pair: tuple[str, Blob]) -> int | None:
        """Return how many bytes had to be sent, None if the object was there."""
        key, blob = pair
        with nullcontext() if blob.seal.size <= SMALL_BYTES else self.room:
            is_listed = (self._sizes or {}).get(key) == blob.seal.size
            if is_listed and self.is_proved(key, blob.seal):
                self.progress.note(blob.seal.size)
                return None
            proof.send_proved(self.storage, key, blob, self.progress)
            self._know(key, blob.seal)
        return blob.seal.size

    def is_proved(self, key: str, seal: Seal) -> bool:
        """Return whether an object is proved to be there: by an earlier push, this one, or now."""
        if self._trusted.get(key) == seal:
            return True
        if proof.doubt(self.storage, key, seal, note=self.progress.heed) is not None:
            return False
        self._know(key, seal)
        return True

    def is_listed(self, key: str, seal: Seal) -> bool:
        """Return whether an object is there, as far as a listing or the store's word tell."""
        return (self._sizes or {}).get(key) == seal.size or self._can_be_seen(key, seal)

    def _know(self, key: str, seal: Seal) -> None:
        """Take it from now on as proved that an object is there."""
        with self._lock:
            self._sizes = {} if self._sizes is None else self._sizes
            self._sizes[key], self._trusted[key] = seal.size, seal

    def put_manifest(self, found: Archived, key: StepKey | RecordsKey) -> None:
        """Send a manifest whose objects are there; ArchiveError if nobody would read it."""
        full = f"{self.run_name}/{key.manifest}"
        data = found.to_bytes()
        if len(data) > manifests.MAX_BYTES:
            raise ArchiveError(
                f"{self.storage.place}/{full} would list {len(found.entries)} files, more than a "
                "manifest takes; move some of the run's records or evaluations elsewhere"
            )
        proof.send_proved(self.storage, full, blobs.of_bytes(data), Progress())

    def see_that_all_stays(self) -> None:
        """Send again what a prune took that had not seen the new manifests.

        Whoever removes objects has a mark in the archive meanwhile.
        """
        for _ in range(proof.NUM_SENDS):
            self._wait_for_prunes()
            sizes = self._listed()
            lost = [
                (key, blob)
                for key, blob in self._needed.items()
                if sizes.get(key) != blob.seal.size and not self._can_be_seen(key, blob.seal)
            ]
            if not lost:
                return
            for key, blob in lost:
                proof.send_proved(self.storage, key, blob, self.progress)
        raise ArchiveError(
            f"{self.storage.place}/{lost[0][0]} was sent {proof.NUM_SENDS} times and is gone "
            "again; see that nothing else removes objects from the archive, then archive again"
        )

    def _listed(self) -> dict[str, int]:
        return {one.key: one.size for one in self.storage.list(f"{self.run_name}/")}

    def _can_be_seen(self, key: str, seal: Seal) -> bool:
        """Return whether an object is there although a listing does not have it: it may be late."""
        stored = self.storage.stat(key)
        return stored is not None and stored.size == seal.size

    def _wait_for_prunes(self) -> None:
        """Wait until nobody removes unreferenced objects; a mark that stays was left by a kill."""
        waited = 0.0
        while marks := catalog.read(self.storage, self.run_name).marks:
            if waited >= MARK_PATIENCE_SECONDS:
                raise ArchiveError(
                    f"{self.storage.place}/{marks[0].key} says that 'rlrun prune --remote' is at "
                    "work; if none is, run it once more: it removes what a killed one left"
                )
            self.sleep(MARK_POLL_SECONDS)
            waited += MARK_POLL_SECONDS
