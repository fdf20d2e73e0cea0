"""Push a run: what the archive lacks is sent and proved, and each manifest after what it lists."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rlrun.archive import blobs, catalog, manifests, owners, proof, reading, snapshot
from rlrun.archive.blobs import Blob, Seal
from rlrun.archive.catalog import Catalog
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.manifests import Archived
from rlrun.archive.snapshot import Source
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import SMALL_AT_ONCE, SMALL_BYTES, Progress, each
from rlrun.errors import (
    ArchiveError,
    DamagedError,
    MissingObjectError,
    RunNotFoundError,
)
from rlrun.runs import archived, checkpoints, pins, store
from rlrun.runs.archived import Copy
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir

MARK_POLL_SECONDS = 1.0
MARK_PATIENCE_SECONDS = 120.0
_REMOVED = "it was removed meanwhile"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was not pushed, and why."""

    step: int
    reason: str
    is_damaged: bool = True  # else it is another tool's, or was removed meanwhile


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    run_name: str
    new_steps: tuple[StepKey, ...]
    known_steps: tuple[StepKey, ...]  # archived before, and here too
    skipped: tuple[Skipped, ...]
    has_new_records: bool
    num_objects: int  # that were sent
    num_bytes: int

    @property
    def is_unchanged(self) -> bool:
        """Whether the archive had everything."""
        return not self.new_steps and not self.has_new_records


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push would do."""

    new_steps: tuple[Step, ...]
    known_steps: tuple[StepKey, ...]
    skipped: tuple[Skipped, ...]


@dataclass(slots=True)
class Pusher:
    """Pushes one run to one archive."""

    run: RunDir
    root: Path
    storage: Storage
    evaluations: Mapping[str, Path] = field(default_factory=dict)  # name to folder
    transfers: int = 8  # of objects at once; of small ones SMALL_AT_ONCE times as many
    is_repairing: bool = False  # what the archive has is proved again, and sent where it is not
    progress: Progress = field(default_factory=Progress)
    sleep: Callable[[float], None] = time.sleep
    _has_looked: bool = False  # at what the archive has of the run
    _sizes: dict[str, int] = field(default_factory=dict)  # of what was listed, by key
    _trusted: dict[str, Seal] = field(default_factory=dict)  # proved before the push, by key
    _needed: dict[str, Blob] = field(default_factory=dict)  # by the new manifests, by key
    _room: threading.Semaphore = field(init=False)  # for objects that are not small
    _copies: Mapping[tuple[int, str], Copy] = field(default_factory=dict)
    _facts: list[tuple[int, str, int]] = field(default_factory=list)  # of what was pushed
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _num_objects: int = 0
    _num_bytes: int = 0

    def __post_init__(self) -> None:
        self._room = threading.Semaphore(self.transfers)

    def plan(self, found: Catalog) -> Plan:
        """Return which checkpoints are to be sent, ascending; reads their manifests alone.

        Raises ArchiveError if the archive has another run of this name.
        """
        run_id = store.read_identity(self.run).id
        owners.require(self.storage, found, run_id)
        self._copies = archived.copies(self.run)
        numbers = checkpoints.list_steps(self.run)
        steps = [checkpoints.inspect(self.run, number, run_id=run_id, with_hashes=False)
                 for number in numbers]  # fmt: skip
        own = [(step, found.of_hash(step.step, step.manifest["manifest_hash"]))
               for step in steps if step.manifest is not None]  # fmt: skip
        are_sound = each(self._is_sound, own, at_once=self.transfers)
        judged = list(zip(own, are_sound, strict=True))
        return Plan(
            tuple(step for (step, _), is_sound in judged if not is_sound or self.is_repairing),
            tuple(key for (_, key), is_sound in judged if key is not None and is_sound),
            tuple(_skipped(step) for step in steps if step.manifest is None),
        )

    def _is_sound(self, pair: tuple[Step, StepKey | None]) -> bool:
        """Return whether a manifest that is listed is whole: noted here as proved, or read now.

        A push that was killed, or a store that does not look at what it takes, may have left less.
        """
        step, key = pair
        if key is None:
            return False
        own = str((step.manifest or {})["manifest_hash"])
        copy = self._copies.get((step.step, own))
        if copy is not None and copy.place == self.storage.place:
            return True
        try:
            there = catalog.fetch(self.storage, self.run.name, key)
        except (DamagedError, MissingObjectError):
            return False
        prefix = f"{self.run.name}/"
        sizes = {one.key: one.size for one in self.storage.list(f"{prefix}{key.folder}/")}
        return there.manifest_hash == own and all(
            sizes.get(prefix + entry.key) == entry.seal.size for entry in there.entries
        )

    def push(self) -> Pushed:
        """Send what is missing; whatever ends it in between, the next push goes on."""
        found = catalog.read(self.storage, self.run.name)
        plan = self.plan(found)
        if plan.new_steps:
            self._look(found)
        self.progress.expect(sum(map(_size_of, plan.new_steps)))
        newest = found.newest_records or self._push_records(found, None)
        self.progress.begin("checkpoints")
        done = self._push_steps(plan.new_steps)
        new_steps = [one for one in done if isinstance(one, StepKey)]
        skipped = [*plan.skipped, *(one for one in done if isinstance(one, Skipped))]
        newest = self._push_records(found, newest) or newest
        has_new_records = newest != found.newest_records
        if new_steps or has_new_records:
            self._see_that_all_stays()
        if self._facts:  # known to be there from now on
            archived.note(self.run, "pushed", sorted(self._facts), self.storage.place)
        return Pushed(
            self.run.name,
            tuple(new_steps),
            plan.known_steps,
            tuple(skipped),
            has_new_records,
            self._num_objects,
            self._num_bytes,
        )

    def _look(self, found: Catalog) -> None:
        """Note what the archive has of the run, and what of that is proved; then claim its name.

        Nothing is sent before.
        """
        if self._has_looked:
            return
        self._has_looked = True
        self._sizes = {one.key: one.size for one in self.storage.list(f"{self.run.name}/")}
        owners.claim(self.storage, found, store.read_identity(self.run).id)
        newest = None if self.is_repairing else self.fetched(found.newest_records)
        if newest is not None:
            self._refuse_older(newest)
            prefix = f"{self.run.name}/"
            self._trusted = {prefix + entry.key: entry.seal for entry in newest.entries}

    def _refuse_older(self, newest: Archived) -> None:
        """Raise ArchiveError if the archived ledger goes on from the one here: that is the older.

        Its records would hide the newer ones from whoever restores the run.
        """
        here = self.run.sessions.read_bytes() if self.run.sessions.is_file() else b""
        for entry in newest.only(snapshot.SESSIONS).entries:
            if len(here) >= entry.seal.size:
                return
            there = reading.read_sealed(self.storage, f"{self.run.name}/{entry.key}", entry.seal)
            if there.startswith(here):
                raise ArchiveError(
                    f"{self.storage.place} has run '{self.run.name}' as it was gone on with "
                    f"elsewhere; bring this copy up with 'rlrun restore {self.run.name}', then "
                    "archive again"
                )

    def fetched(self, key: RecordsKey | None) -> Archived | None:
        """Return the manifest of some records, None if it is damaged."""
        try:
            return catalog.fetch(self.storage, self.run.name, key) if key else None
        except (DamagedError, MissingObjectError):
            return None

    def _push_steps(self, steps: Sequence[Step]) -> list[StepKey | Skipped]:
        """Push several checkpoints at once where they are many, else the files of each."""
        most = self.transfers * SMALL_AT_ONCE
        several = max(1, min(most, len(steps)))

        def push(step: Step) -> StepKey | Skipped:
            try:
                return self._push_step(step, at_once=max(1, most // several))
            except DamagedError as reason:  # the others may be pushed
                return Skipped(step.step, str(reason))
            except RunNotFoundError:
                return Skipped(step.step, _REMOVED, is_damaged=False)

        return each(push, steps, at_once=several)

    def _push_step(self, step: Step, *, at_once: int) -> StepKey:
        with pins.hold(step.path):
            with self._room:
                sources = snapshot.of_step(step)
            found = snapshot.archived_step(self.run, step, sources)
            self._send(found, sources, at_once=at_once)
        self._put_manifest(found, found.step_key())
        self._facts.append((step.step, str(found.manifest_hash), found.num_bytes))
        return found.step_key()

    def _push_records(self, found: Catalog, newest: RecordsKey | None) -> RecordsKey | None:
        """Send the records unless they are as at the last push; return what they are now.

        They are sent in front of the first checkpoint, which is worth nothing without them, and
        again behind the last if a session has written meanwhile.
        """
        self.progress.begin("records")
        sources = snapshot.of_records(self.root, self.run, self.evaluations)
        before = self.fetched(newest)
        records = snapshot.archived_records(self.run, sources, before)
        key = newest if newest and newest.short_hash == records.short_hash else None
        if key and not self.is_repairing and before == records:
            return None
        self._look(found)
        self.progress.expect(records.num_bytes)
        self._send(records, sources, at_once=self.transfers * SMALL_AT_ONCE)
        key = key or records.records_key(self._last_number() + 1)  # else that one is sent again
        self._put_manifest(records, key)
        return key

    def _last_number(self) -> int:
        """Return the number of the newest records there are now: others may have pushed some."""
        newest = catalog.read(self.storage, self.run.name).newest_records
        return newest.number if newest else 0

    def _send(self, found: Archived, sources: Sequence[Source], *, at_once: int) -> None:
        """Send the objects of a manifest that are not there, and prove each."""
        by_path = {source.path: source.blob for source in sources}
        wanted = {
            f"{self.run.name}/{entry.key}": by_path[entry.path]
            for entry in found.entries
            if entry.path in by_path  # else another machine has sent it
        }
        sizes = each(self._send_one, wanted.items(), at_once=at_once)
        with self._lock:
            self._num_objects += sum(size is not None for size in sizes)
            self._num_bytes += sum(size or 0 for size in sizes)
            self._needed.update(wanted)

    def _send_one(self, pair: tuple[str, Blob]) -> int | None:
        """Return how many bytes had to be sent, None if the object was there."""
        key, blob = pair
        with nullcontext() if blob.seal.size <= SMALL_BYTES else self._room:
            if self._is_there(key, blob.seal):
                self.progress.note(blob.seal.size)
                return None
            proof.send_proved(self.storage, key, blob, self.progress)
        return blob.seal.size

    def _is_there(self, key: str, seal: Seal) -> bool:
        """Return whether an object is proved to be there: by an earlier push, or now."""
        if self._sizes.get(key) != seal.size:
            return False
        if self._trusted.get(key) == seal:
            return True
        return proof.doubt(self.storage, key, seal, note=self.progress.heed) is None

    def _put_manifest(self, found: Archived, key: StepKey | RecordsKey) -> None:
        full = f"{self.run.name}/{key.manifest}"
        data = found.to_bytes()
        if len(data) > manifests.MAX_BYTES:  # nobody would read it
            raise ArchiveError(
                f"{self.storage.place}/{full} would list {len(found.entries)} files, more than a "
                "manifest takes; move some of the run's records or evaluations elsewhere"
            )
        proof.send_proved(self.storage, full, blobs.of_bytes(data), Progress())

    def _see_that_all_stays(self) -> None:
        """Send again what a prune took that had not seen the new manifests.

        Whoever removes objects has a mark in the archive meanwhile.
        """
        for _ in range(proof.NUM_SENDS):
            self._wait_for_prunes()
            sizes = {one.key: one.size for one in self.storage.list(f"{self.run.name}/")}
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

    def _can_be_seen(self, key: str, seal: Seal) -> bool:
        """Return whether an object is there although a listing does not have it: it may be late."""
        stored = self.storage.stat(key)
        return stored is not None and stored.size == seal.size

    def _wait_for_prunes(self) -> None:
        """Wait until nobody removes unreferenced objects; a mark that stays was left by a kill."""
        waited = 0.0
        while marks := catalog.read(self.storage, self.run.name).marks:
            if waited >= MARK_PATIENCE_SECONDS:
                raise ArchiveError(
                    f"{self.storage.place}/{marks[0].key} says that 'rlrun prune --remote' is at "
                    "work; if none is, run it once more: it removes what a killed one left"
                )
            self.sleep(MARK_POLL_SECONDS)
            waited += MARK_POLL_SECONDS


def _skipped(step: Step) -> Skipped:
    if not step.path.exists():
        return Skipped(step.step, _REMOVED, is_damaged=False)
    if step.is_foreign:
        return Skipped(step.step, "another tool's", is_damaged=False)
    return Skipped(step.step, f"it does not verify: {step.problem}")


def _size_of(step: Step) -> int:
    own = step.manifest or {"files": {}}
    return sum(int(entry["size"]) for entry in own["files"].values())
