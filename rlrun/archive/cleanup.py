"""Remove checkpoints here whose copies in the archive this very command has proved."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rlrun.archive import blobs, catalog, proof, snapshot
from rlrun.archive.catalog import Catalog
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress, each
from rlrun.errors import DamagedError, MissingObjectError, RunNotFoundError
from rlrun.runs import archived, checkpoints, lock, pins, retention, rewind, store
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Fate, Pruner, Rules


@dataclass(frozen=True, slots=True)
class Doubt:
    """A checkpoint that no rule keeps, and why it stays: its copy is not proved."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of each checkpoint here."""

    fates: tuple[Fate, ...]
    doubts: tuple[Doubt, ...]


@dataclass(slots=True)
class Cleaner:
    """Cleans one run up after a push to one archive."""

    run: RunDir
    storage: Storage
    rules: Rules
    transfers: int = 8
    progress: Progress = field(default_factory=Progress)

    def survey(self, will_be_pushed: Sequence[int] = ()) -> Cleaned:
        """Return what would go: no rule keeps it, and the archive lists it, or will.

        Nothing is proved and nothing is changed.
        """
        pruner = Pruner(self.run, store.read_identity(self.run).id)
        found = catalog.read(self.storage, self.run.name)
        fates, doubts = [], []
        for fate in pruner.survey(self.rules):
            reason = None
            if fate.goes and fate.step not in will_be_pushed:
                reason = self._unlisted(found, self._step(fate.step))
            if reason:
                doubts.append(Doubt(fate.step, reason))
            fates.append(self._stays(fate, reason) if reason else fate)
        return Cleaned(tuple(fates), tuple(doubts))

    def clean(self) -> Cleaned:
        """Remove what no rule keeps and what is proved to be in the archive, the oldest first.

        Raises LockedError while a session holds the run.  Whatever ends it in between leaves whole
        checkpoints, or what the next command removes.
        """
        held = lock.Lock(self.run, lambda: lock.TIDYING)
        try:
            rewind.finish_pending(self.run, session=lock.TIDYING)
            checkpoints.remove_leftovers(self.run)
            pruner = self._pruner_in_order()
            fates, doubts = [], []
            for fate in pruner.survey(self.rules):
                reason = self._remove(fate) if fate.goes else None
                if reason:
                    doubts.append(Doubt(fate.step, reason))
                fates.append(self._stays(fate, reason) if reason else fate)
            return Cleaned(tuple(fates), tuple(doubts))
        finally:
            held.release()

    def _pruner_in_order(self) -> Pruner:
        """Return what judges the checkpoints, after the link names the newest: its target stays."""
        run_id = store.read_identity(self.run).id
        newest, _ = checkpoints.newest_valid(self.run, run_id=run_id, with_hashes=True)
        number = newest.step if newest else None
        checkpoints.repair_link(self.run, number, session=lock.TIDYING)
        pruner = Pruner(self.run, run_id)
        if newest is not None:
            pruner.note(newest)
        return pruner

    def _stays(self, fate: Fate, reason: str) -> Fate:
        return replace(fate, goes=False, reason=reason)

    def _step(self, number: int) -> Step:
        run_id = store.read_identity(self.run).id
        return checkpoints.inspect(self.run, number, run_id=run_id, with_hashes=False)

    def _unlisted(self, found: Catalog, step: Step) -> str | None:
        own = step.manifest
        if own is None or found.of_hash(step.step, own["manifest_hash"]) is None:
            return "the archive does not list it"
        return None

    def _remove(self, fate: Fate) -> str | None:
        """Prove a checkpoint's copy and remove it here; return why it stays, None if it is gone."""
        step = self._step(fate.step)
        self.progress.begin(f"proving step {fate.step}")
        try:
            with pins.hold(step.path):
                reason, copy = self._doubt(step)
        except (DamagedError, RunNotFoundError) as error:
            return str(error)
        if copy is None:
            return reason
        fact = (step.step, str(copy.manifest_hash), copy.num_bytes)
        archived.note(self.run, "proved", [fact], self.storage.place)
        why = f"archived: proved to be in {self.storage.place} under {copy.step_key().folder}"
        if not retention.remove_step(self.run, step, why):
            return "pinned or in use meanwhile"
        archived.note(self.run, "removed", [fact], self.storage.place)
        return None

    def _doubt(self, step: Step) -> tuple[str, Archived | None]:
        """Return what the archive's copy is, or why it is not proved to be this checkpoint.

        Its manifest and each object are looked at now: nothing that was found earlier, or that the
        archive says only in a listing, is taken for proof.
        """
        sources = snapshot.of_step(step)  # every byte here is read again
        here = snapshot.archived_step(self.run, step, sources)
        key = here.step_key()
        try:
            there = catalog.fetch(self.storage, self.run.name, key)
        except (MissingObjectError, DamagedError) as error:
            return str(error), None
        if there != here:
            return "the manifest in the archive lists other files than it has", None
        marks = catalog.read(self.storage, self.run.name).marks
        if marks:  # it may have looked before the manifest came; one that begins now sees it
            where = f"{self.storage.place}/{marks[0].key}"
            return f"{where} says that 'rlrun prune --remote' is at work; wait for it", None
        self.progress.expect(here.num_bytes)
        doubts = [one for one in each(self._doubt_of, here.entries, at_once=self.transfers) if one]
        if doubts:
            return doubts[0], None
        reason = self._unlisted_now(here)
        return (reason, None) if reason else ("", here)

    def _doubt_of(self, entry: Entry) -> str | None:
        key = f"{self.run.name}/{entry.key}"
        problem = proof.doubt(self.storage, key, entry.seal, note=self.progress.heed)
        self.progress.note(entry.seal.size)
        return None if problem is None else f"{self.storage.place}/{key} {problem}"

    def _unlisted_now(self, copy: Archived) -> str | None:
        """Return what a fresh listing lacks of a copy that was proved, None if it has all."""
        prefix, key = f"{self.run.name}/", copy.step_key()
        size = blobs.of_bytes(copy.to_bytes()).seal.size
        wanted = {entry.key: entry.seal.size for entry in copy.entries} | {key.manifest: size}
        found = {
            one.key.removeprefix(prefix): one.size
            for start in (key.manifest, f"{key.folder}/")
            for one in self.storage.list(prefix + start)
        }
        lacking = sorted(name for name, size in wanted.items() if found.get(name) != size)
        if not lacking:
            return None
        return f"a fresh listing of {self.storage.place} does not have {prefix}{lacking[0]} as sent"
