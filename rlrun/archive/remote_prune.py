"""`rlrun prune --remote`: what broken pushes left in an archive goes, nothing that is listed."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from rlrun.archive import blobs, catalog, keys
from rlrun.archive.catalog import Catalog
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.proof import send_proved
from rlrun.archive.storage import Storage, Stored, Unfinished
from rlrun.archive.transfers import Progress
from rlrun.errors import ArchiveError, LockedError
from rlrun.runs import canonical, leftovers

GRACE_SECONDS = 24 * 3600.0
"""How old, by the store's clock, what is removed must be: a push may be at work on younger."""
STALE_MARK_SECONDS = 3600.0
MOST_SECONDS = 1800.0  # between the mark and the last removal; then the next prune goes on
KEPT_RECORDS = 3  # the newest; what is older is superseded
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in the archive that is to go."""

    key: str
    num_bytes: int
    what: str


@dataclass(frozen=True, slots=True)
class RemotePruned:
    """What went from one run in an archive, or would."""

    run_name: str
    leftovers: tuple[Leftover, ...]
    num_too_young: int  # that would go if they were older


@dataclass(slots=True)
class RemotePruner:
    """Prunes one run in one archive."""

    storage: Storage
    run_name: str
    progress: Progress = field(default_factory=Progress)
    clock: Callable[[], float] = time.monotonic
    grace_seconds: float = GRACE_SECONDS

    def survey(self, now: float) -> RemotePruned:
        """Return what would go at a moment of the store's clock; changes nothing."""
        found = catalog.read(self.storage, self.run_name)
        spare, num_too_young, _ = self._leftovers(found, now)
        uploads = [self._upload(one) for one in self._uploads(now)]
        return RemotePruned(self.run_name, (*spare, *uploads), num_too_young)

    def prune(self) -> RemotePruned:
        """Remove what no manifest needs and is older than a day, and uploads that were given up.

        A push that is at work sees the mark, waits, and looks whether what it needs is still there.
        Raises LockedError while another prune is at work, DamagedError if a manifest does not read:
        then nobody can tell what it needs.
        """
        begun = self.clock()
        own = keys.prune_mark(self.run_name, leftovers.here(), os.getpid(), uuid4().hex)
        text = blobs.of_bytes(canonical.pretty({"host": socket.gethostname()}).encode())
        try:
            send_proved(self.storage, own, text, Progress())
            found = catalog.read(self.storage, self.run_name)
            now = self._moment(found, own)
            self._judge_marks(found, own, now)
            spare, num_too_young, names = self._leftovers(found, now)
            uploads = self._uploads(now)
            for upload in uploads:
                self.storage.discard(upload)
            self._remove(spare, names, begun)
        except BaseException:
            with suppress(ArchiveError):  # the failure under way says it all
                self.storage.delete([own])
            raise
        self.storage.delete([own])
        gone = [*spare, *map(self._upload, uploads)]
        return RemotePruned(self.run_name, tuple(gone), num_too_young)

    def _moment(self, found: Catalog, own: str) -> float:
        """Return the time by the store's clock, which our mark was just stamped with."""
        stamped = [one.changed for one in found.marks if one.key == own]
        if not stamped:
            raise ArchiveError(
                f"{self.storage.place} does not list {own}, which was just stored; its listings "
                "are late: wait a minute, then prune again"
            )
        return stamped[0]

    def _judge_marks(self, found: Catalog, own: str, now: float) -> None:
        """Remove the marks that killed prunes left; LockedError for one that may be at work."""
        for mark in found.marks:
            if mark.key == own:
                continue
            if now - mark.changed < STALE_MARK_SECONDS and not self._is_dead(mark):
                raise LockedError(
                    f"{self.storage.place}/{mark.key} says that another 'rlrun prune --remote' is "
                    "at work; wait until it is done: one that was killed counts for an hour"
                )
            self.storage.delete([mark.key])

    def _is_dead(self, mark: Stored) -> bool:
        """Return whether the process that left a mark was on this machine and is gone."""
        machine, pid = keys.parse_prune_mark(mark.key.rsplit("/", 1)[1]) or ("", 0)
        if machine != leftovers.here():
            return False
        # of this process: an earlier prune, whose last request failed
        return pid == os.getpid() or not leftovers.is_alive(pid)

    def _leftovers(self, found: Catalog, now: float) -> tuple[list[Leftover], int, frozenset[str]]:
        """Return what may go, how many are too young, and the manifests that this rests on."""
        superseded = found.records[:-KEPT_RECORDS]
        kept: list[StepKey | RecordsKey] = [*found.steps, *found.records[-KEPT_RECORDS:]]
        needed: set[str] = set()
        run_ids: set[str] = set()
        for key in kept:
            archived = catalog.fetch(self.storage, self.run_name, key)
            needed.update(entry.key for entry in archived.entries)
            run_ids.add(archived.run_id)
        prefix = f"{self.run_name}/"
        spare: list[Leftover] = []
        num_too_young = 0
        old_records = {key.manifest: key for key in superseded}
        for stored in self.storage.list(prefix):
            key_in_run = stored.key.removeprefix(prefix)
            what = _claim(key_in_run, run_ids) or self._what(key_in_run, needed, old_records)
            if what is None:
                continue
            if now - stored.changed < self.grace_seconds:
                num_too_young += 1
            else:
                spare.append(Leftover(stored.key, stored.size, what))
        return spare, num_too_young, found.manifests

    def _what(self, key: str, needed: set[str], old_records: dict[str, RecordsKey]) -> str | None:
        """Return what an object is that may go, None if it may not."""
        if key in old_records:
            return "superseded records"
        return "unreferenced" if keys.is_ours(key) and key not in needed else None

    def _remove(self, spare: list[Leftover], names: frozenset[str], begun: float) -> None:
        prefix = keys.manifests(self.run_name)
        listed = [one for one in spare if one.key.startswith(prefix)]
        others = [one for one in spare if not one.key.startswith(prefix)]
        gone: set[str] = set()
        for group in (listed, others):  # what is listed is complete: its manifest goes before it
            for start in range(0, len(group), _BATCH):
                batch = group[start : start + _BATCH]
                self._check_still(names - gone, begun)
                self.storage.delete([one.key for one in batch])
                gone |= {one.key.rsplit("/", 1)[1] for one in batch}
                self.progress.note(len(batch))

    def _check_still(self, names: frozenset[str], begun: float) -> None:
        """Raise unless the manifests are those that the removal rests on, and it is not late."""
        if catalog.read(self.storage, self.run_name).manifests != names:
            raise LockedError(
                f"{self.storage.place} has other manifests of run '{self.run_name}' than a moment "
                "ago: it was pushed meanwhile; what was not removed stays, prune again"
            )
        if self.clock() - begun > MOST_SECONDS:
            raise ArchiveError(
                f"removing from {self.storage.place} takes too long to be safe beside a push; "
                "prune again, it goes on"
            )

    def _uploads(self, now: float) -> list[Unfinished]:
        found = self.storage.unfinished(f"{self.run_name}/")
        return [one for one in found if now - one.begun >= self.grace_seconds]

    def _upload(self, one: Unfinished) -> Leftover:
        return Leftover(one.key, 0, "unfinished upload")


def _claim(key: str, run_ids: set[str]) -> str | None:
    """Return what a claim is whose run has nothing else here, None if the key is another's."""
    owner = keys.parse_owner(key.removeprefix(f"{keys.MANIFESTS}/"))
    is_empty = owner is not None and owner not in run_ids
    return "claim of a run that was never archived" if is_empty else None
