"""Remove checkpoints here whose copies in the archive this very command has proved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlrun.archive import blobs, catalog, proof, snapshot
from rlrun.archive.catalog import Catalog
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress, each
from rlrun.errors import DamagedError, MissingObjectError, RunNotFoundError
from rlrun.runs import archived, checkpoints, lock, pins, retention, rewind, store, unchanged
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Fate, Pruner, Rules


@dataclass(frozen=True, slots=True)
class Doubt:
    """A checkpoint that no rule keeps, and why it stays: its copy is not proved."""

    step: int
    reason: str
    is_damage: bool = False  # of the copy: `--repair` sends it again


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

        def judge(fate: Fate) -> Fate | Doubt:
            is_known = fate.step in will_be_pushed or self._is_listed(found, self._step(fate.step))
            return fate if is_known else Doubt(fate.step, "the archive does not list it")

        return _cleaned(pruner.survey(self.rules), judge)

    def clean(self) -> Cleaned:
        """Remove what no rule keeps and what is proved to be in the archive, the oldest first.

        Raises LockedError while a session holds the run.  Whatever ends it in between leaves whole
        checkpoints, or what the next command removes.
        """
        held = lock.Lock(self.run, lambda: lock.TIDYING)
        try:
            rewind.finish_pending(self.run, session=lock.TIDYING)
            checkpoints.remove_leftovers(self.run)
            return _cleaned(self._pruner_in_order().survey(self.rules), self._remove)
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

    def _step(self, number: int) -> Step:
        run_id = store.read_identity(self.run).id
        return checkpoints.inspect(self.run, number, run_id=run_id, with_hashes=False)

    def _is_listed(self, found: Catalog, step: Step) -> bool:
        own = step.manifest
        return own is not None and found.of_hash(step.step, own["manifest_hash"]) is not None

    def _remove(self, fate: Fate) -> Fate | Doubt:
        """Prove a checkpoint's copy and remove it here; return what became of it."""
        path = self.run.step(fate.step)
        self.progress.begin(f"proving step {fate.step}")
        try:
            with pins.hold(path):
                sealed = unchanged.look(path)  # before it is inspected, which wants no other file
                step = self._step(fate.step)
                copy = self._proved(step)
        except (DamagedError, RunNotFoundError) as error:  # what is here
            return Doubt(fate.step, str(error))
        if isinstance(copy, Doubt):
            return copy

        def guard(folder: Path) -> None:
            found = unchanged.difference(sealed, unchanged.look(folder))
            if found is not None:
                raise DamagedError(f"in {path} {found} since it was read; run the command again")

        fact = (step.step, str(copy.manifest_hash), copy.num_bytes)
        archived.note(self.run, "proved", [fact], self.storage.place)
        why = f"archived: proved to be in {self.storage.place} under {copy.step_key().folder}"
        try:
            is_gone = retention.remove_step(self.run, step, why, guard=guard)
        except DamagedError as error:  # it may have taken the proof an hour
            return Doubt(fate.step, str(error))
        if not is_gone:
            return replace(fate, goes=False, reason="pinned or in use meanwhile")
        archived.note(self.run, "removed", [fact], self.storage.place)
        return fate

    def _proved(self, step: Step) -> Archived | Doubt:
        """Return the archive's copy of a checkpoint if it is proved to be that.

        Its manifest and each object are looked at now: nothing that was found earlier, or that the
        archive says only in a listing, is taken for proof.
        """
        sources = snapshot.of_step(step)  # every byte here is read again
        here = snapshot.archived_step(self.run, step, sources)
        key = here.step_key()
        try:
            there = catalog.fetch(self.storage, self.run.name, key)
        except (MissingObjectError, DamagedError) as error:
            return Doubt(step.step, str(error), is_damage=True)
        if there != here:
            reason = "the manifest in the archive lists other files than it has"
            return Doubt(step.step, reason, is_damage=True)
        marks = catalog.read(self.storage, self.run.name).marks
        if marks:  # it may have looked before the manifest came; one that begins now sees it
            where = f"{self.storage.place}/{marks[0].key}"
            return Doubt(
                step.step,
                f"{where} says that 'rlrun prune --remote' is at work: wait for it; if none is, "
                "run it once more, it removes what a killed one left",
            )
        self.progress.expect(here.num_bytes)
        problems = each(self._problem_of, here.entries, at_once=self.transfers)
        problem = next(filter(None, problems), None) or self._unlisted_now(here)
        return Doubt(step.step, problem, is_damage=True) if problem else here

    def _problem_of(self, entry: Entry) -> str | None:
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


def _cleaned(fates: Sequence[Fate], judge: Callable[[Fate], Fate | Doubt]) -> Cleaned:
    """Return what became of each checkpoint, where those that no rule keeps are judged in order."""
    judged, doubts = [], []
    for fate in fates:
        outcome = judge(fate) if fate.goes else fate
        if isinstance(outcome, Doubt):
            doubts.append(outcome)
            outcome = replace(fate, goes=False, reason=outcome.reason)
        judged.append(outcome)
    return Cleaned(tuple(judged), tuple(doubts))
