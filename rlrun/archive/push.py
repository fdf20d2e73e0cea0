"""Push a run: what the archive lacks is sent and proved, and each manifest after what it lists."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlrun.archive import catalog, owners, snapshot, standing
from rlrun.archive.catalog import Catalog
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.outgoing import Outgoing
from rlrun.archive.snapshot import Source
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import SMALL_AT_ONCE, Progress, each
from rlrun.errors import ArchiveError, DamagedError, MissingObjectError, RunNotFoundError
from rlrun.runs import archived, checkpoints, pins, store
from rlrun.runs.archived import Copy
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir

_NUM_TURNS = 5  # of sending records while others send theirs
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
    notes: tuple[str, ...] = ()

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
    _read: dict[RecordsKey, Archived | None] = field(default_factory=dict)  # None: damaged
    _sent: Archived | None = None  # the records, as this push has sent them
    _newest: RecordsKey | None = None  # records there, as far as this push knows
    _notes: list[str] = field(default_factory=list)
    _out: Outgoing = field(init=False)
    _copies: Mapping[tuple[int, str], Copy] = field(default_factory=dict)
    _facts: list[tuple[int, str, int]] = field(default_factory=list)  # of what was pushed

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
        self._out = Outgoing(self.storage, self.run.name, self.transfers, self.progress, self.sleep)
        found = catalog.read(self.storage, self.run.name)
        plan = self.plan(found)
        self.progress.expect(sum(map(_size_of, plan.new_steps)))
        if plan.new_steps or not found.newest_records:
            self._push_records(found)
        if plan.new_steps:
            self._look(found, self.newest_read(found))
        self.progress.begin("checkpoints")
        done = self._push_steps(plan.new_steps)
        new_steps = [one for one in done if isinstance(one, StepKey)]
        skipped = [*plan.skipped, *(one for one in done if isinstance(one, Skipped))]
        self._push_records(found)
        has_new_records = self._newest not in (None, found.newest_records)
        if new_steps or has_new_records:
            self._out.see_that_all_stays()
        if self._facts:  # known to be there from now on
            archived.note(self.run, "pushed", sorted(self._facts), self.storage.place)
        return Pushed(
            self.run.name,
            tuple(new_steps),
            plan.known_steps,
            tuple(skipped),
            has_new_records,
            self._out.num_objects,
            self._out.num_bytes,
            tuple(self._notes),
        )

    def newest_read(self, found: Catalog) -> Archived | None:
        """Return the newest records of the archive that read, None if there are none."""
        return next(filter(None, map(self._fetched, reversed(found.records))), None)

    def _fetched(self, key: RecordsKey) -> Archived | None:
        """Return the manifest of some records, None if it is damaged."""
        if key not in self._read:
            try:
                self._read[key] = catalog.fetch(self.storage, self.run.name, key)
            except (DamagedError, MissingObjectError):
                self._read[key] = None
        return self._read[key]

    def refuse_stale(self, found: Catalog, own: Archived, sources: Sequence[Source]) -> None:
        """Raise ArchiveError if the records here would hide what the archive has.

        The newest decide that read; where damage is to be repaired, whose ledger can be read too.
        """
        here = standing.of_records(own, snapshot.ledger_in(sources))
        for there in filter(None, map(self._fetched, reversed(found.records))):
            try:
                standing.refuse_stale(self.storage, here, there)
            except DamagedError:
                if not self.is_repairing:
                    raise
                continue
            return

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
            with self._out.room:
                sources = snapshot.of_step(step)
            found = snapshot.archived_step(self.run, step, sources)
            self._out.send(found, sources, at_once=at_once)
        self._out.put_manifest(found, found.step_key())
        self._facts.append((step.step, str(found.manifest_hash), found.num_bytes))
        return found.step_key()

    def _push_records(self, found: Catalog) -> None:
        """Send the records unless they are as the newest there, or as sent before by this push.

        They are sent in front of the first new checkpoint, which is worth nothing without them, and
        again behind the last if a session has written meanwhile.  Others may send theirs at the
        same time: those that are the newest in front of ours are those that ours were judged by.
        """
        self.progress.begin("records")
        sources = snapshot.of_records(self.root, self.run, self.evaluations)
        if self._sent is not None:
            if snapshot.archived_records(self.run, sources, self._sent) == self._sent:
                return
            found = catalog.read(self.storage, self.run.name)
        for _ in range(_NUM_TURNS):
            records = self._sent_records(found, sources)
            if records is None:
                self._newest = found.newest_records
                return
            now = catalog.read(self.storage, self.run.name)
            if now.newest_records == found.newest_records:
                self._put_records(found.newest_records, records)
                return
            found = now
        raise ArchiveError(
            f"{self.storage.place} gets other records of run '{self.run.name}' again and again; "
            "archive it again when nobody else does"
        )

    def _sent_records(self, found: Catalog, sources: Sequence[Source]) -> Archived | None:
        """Send what the records need, and return them; None if the archive has them as they are.

        Raises ArchiveError, before anything is sent, if they would hide what is there.
        """
        before = self.newest_read(found)
        records = snapshot.archived_records(self.run, sources, before)
        is_newest = before is not None and before == self._fetched(found.records[-1])
        if is_newest and before == records and (self._sent or not self.is_repairing):
            return None
        self.refuse_stale(found, records, sources)
        self._look(found, before)
        self.progress.expect(sum(one.blob.seal.size for one in sources))
        if before is not None and (lost := self._lost(records, sources)):
            records = self._without(lost, before, sources)
        self._out.send(records, sources, at_once=self.transfers * SMALL_AT_ONCE)
        return records

    def _put_records(self, newest: RecordsKey | None, records: Archived) -> None:
        is_same = newest is not None and newest.short_hash == records.short_hash
        number = newest.number + 1 if newest and not is_same else 1
        key = newest if newest and is_same else records.records_key(number)
        self._out.put_manifest(records, key)
        self._sent, self._newest, self._read[key] = records, key, records

    def _lost(self, records: Archived, sources: Sequence[Source]) -> list[str]:
        """Return what records carry on without having it here, and is not there any more."""
        here = {(one.path, one.blob.seal) for one in sources}
        carried = [one for one in records.entries if (one.path, one.seal) not in here]

        def is_there(entry: Entry) -> bool:
            key = f"{self.run.name}/{entry.key}"
            judge = self._out.is_proved if self.is_repairing else self._out.is_listed
            return judge(key, entry.seal)

        are_there = each(is_there, carried, at_once=self.transfers)
        return [one.path for one, found in zip(carried, are_there, strict=True) if not found]

    def _without(
        self, lost: Sequence[str], before: Archived, sources: Sequence[Source]
    ) -> Archived:
        """Return the records that carry on all but these of the ones before; that is noted."""
        kept = snapshot.without(before, lost)
        records = snapshot.archived_records(self.run, sources, kept)
        left = {one.path for one in records.entries}
        self._notes += [
            f"{one.path}, which is not here and was archived before, is lost in "
            f"{self.storage.place} and was left out; archive it again from where it still is"
            for one in before.entries
            if snapshot.is_of_evaluation(one.path) and one.path not in left
        ]
        return records

    def _look(self, found: Catalog, before: Archived | None) -> None:
        """See what the archive has of the run, and claim its name; nothing is sent before."""
        if not self._out.look():
            return
        owners.claim(self.storage, found, store.read_identity(self.run).id)
        if before is not None and not self.is_repairing:
            self._out.trust(before)


def _skipped(step: Step) -> Skipped:
    if not step.path.exists():
        return Skipped(step.step, _REMOVED, is_damaged=False)
    if step.is_foreign:
        return Skipped(step.step, "another tool's", is_damaged=False)
    return Skipped(step.step, f"it does not verify: {step.problem}")


def _size_of(step: Step) -> int:
    own = step.manifest or {"files": {}}
    return sum(int(entry["size"]) for entry in own["files"].values())
