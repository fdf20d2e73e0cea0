"""Restore a run or some of its checkpoints: fetched, checked, published by its format's rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from rlrun.archive import catalog, lineage, placing, reading, snapshot, standing
from rlrun.archive.catalog import Catalog
from rlrun.archive.fetching import Fetcher, staging
from rlrun.archive.keys import StepKey
from rlrun.archive.lineage import Cover, Start, Which
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.reading import damaged
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress
from rlrun.errors import (
    ArchiveError,
    DamagedError,
    MissingObjectError,
    RunExistsError,
    RunNotFoundError,
    UsageError,
)
from rlrun.runs import archived, checkpoints, copies, files, jsonl, leftovers, lock, store
from rlrun.runs.layout import RunDir, check_name, runs_folder

_MODEL = "model/"
_TELLING = (snapshot.SESSIONS, standing.STEPS)
"""Of records: what tells which steps they cover, and how a run here stands to the archive."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    run: RunDir
    is_new: bool  # the run was not here
    new_steps: tuple[int, ...]
    known_steps: tuple[int, ...]  # that were here with the same bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Judged:
    """The checkpoints that are asked for, and whether what is here is in their way."""

    here: tuple[Archived, ...]
    missing: tuple[Archived, ...]
    is_blocked: bool


@dataclass(slots=True)
class Restorer:
    """Restores one run from one archive."""

    storage: Storage
    root: Path
    run_name: str
    as_name: str | None = None
    is_forced: bool = False  # what differs here is moved aside
    transfers: int = 8
    progress: Progress = field(default_factory=Progress)
    _notes: list[str] = field(default_factory=list)
    _damage: list[str] = field(default_factory=list)  # of records, the newest first

    @property
    def run(self) -> RunDir:
        """Where the run is to be."""
        return RunDir(runs_folder(self.root) / check_name(self.as_name or self.run_name))

    def restore(self, which: Which) -> Restored:
        """Have the run here with these checkpoints; whatever ends it, the same command goes on.

        Raises RunExistsError if what is here differs and nothing may be moved aside.
        """
        run = self.run
        found = catalog.require(self.storage, self.run_name)
        readable = self._records(found)
        first = next(readable)
        with staging(self.root, self.run_name, first.run_id) as folder:
            fetcher = Fetcher(self.storage, folder, self.transfers, self.progress)
            self.progress.begin("records")
            records, judged = self._gathered(which, found, fetcher, chain([first], readable))
            if judged.is_blocked:
                self._move_aside()
            self.progress.begin("checkpoints")
            fetcher.fetch(judged.missing)
            is_new = not run.path.exists()
            publish = placing.publish_new if is_new else placing.publish_into
            publish(run, fetcher, records, judged.missing)
            self._notes += placing.add_evaluations(self.root, fetcher, records, name=run.name)
        facts = [_fact(step) for step in (*judged.here, *judged.missing)]
        archived.note(run, "restored", sorted(facts), self.storage.place)
        missing, here = _numbers(judged.missing), _numbers(judged.here)
        return Restored(run, is_new, missing, here, tuple(self._notes))

    def restore_model(self, step: int | None) -> Path:
        """Have one checkpoint's `model/` here, of the newest step if none is named; return where.

        It is put beside the runs, and any step will do: a model needs no course to be of.  Of the
        run's present course it is where there is a choice.
        """
        found = catalog.require(self.storage, self.run_name)
        chosen = catalog.fetch(self.storage, self.run_name, self._model_key(found, step))
        name = check_name(self.as_name or f"{self.run_name}_step_{chosen.step}")
        target = self.root / "archive" / "models" / name
        wanted = chosen.only(_MODEL)
        with staging(self.root, f"{self.run_name}-model", chosen.run_id) as folder:
            fetcher = Fetcher(self.storage, folder, self.transfers, self.progress)
            if not self._has_model(wanted, target):
                self.progress.begin(f"model of step {chosen.step}")
                fetcher.fetch([wanted])
                self._publish_model(fetcher, wanted, target)
        return target

    def _model_key(self, found: Catalog, step: int | None) -> StepKey:
        keys = [key for key in found.steps if step is None or key.step == step]
        if not keys:
            lineage.choose(found.steps, "latest" if step is None else step, ())
            raise DamagedError(
                f"{self.storage.place} has no checkpoint of run '{self.run_name}'; archive one"
            )
        known = self._starts(found)
        present = [key for key in keys if not lineage.is_abandoned(key.step, key.session, known)]
        return max(present or keys, key=lambda key: (key.step, key.session))

    def _starts(self, found: Catalog) -> list[Start]:
        """Return where the archived sessions began, nothing if no records tell."""
        if found.newest_records is None:
            return []
        try:
            records = next(self._records(found))
            entry = records.only(snapshot.SESSIONS).entries[0]
            text = reading.read_sealed(self.storage, f"{self.run_name}/{entry.key}", entry.seal)
        except (DamagedError, ArchiveError, IndexError):  # a model can do without
            return []
        return lineage.starts(text)

    def _has_model(self, wanted: Archived, target: Path) -> bool:
        """Return whether a model is at its place; RunExistsError if another is, and is to stay."""
        if not target.exists():
            return False
        is_copy = _is_copy(wanted, target)
        if not is_copy and not self.is_forced:
            raise RunExistsError(
                f"{target} is there already and differs; give another name with --as NAME, or "
                "move it aside with --force"
            )
        return is_copy

    def _publish_model(self, fetcher: Fetcher, wanted: Archived, target: Path) -> None:
        if target.exists():
            self._aside(target)
        files.ensure_dir(target.parent)
        leftovers.remove_dead(target.parent)
        hidden = leftovers.unfinished(target)
        if hidden.exists():
            files.remove_tree(hidden)
        placer = placing.Placer(fetcher)
        for entry in wanted.entries:
            placer.place(entry, hidden / entry.path)
        placer.sync()
        files.sync_dir(hidden)
        files.rename(hidden, target)
        files.sync_dir(target.parent)

    def _records(self, found: Catalog) -> Iterator[Archived]:
        """Yield the records that read, the newest first; DamagedError where there are no others."""
        if not found.records:
            raise DamagedError(
                f"{self.storage.place} has checkpoints of run '{self.run_name}' but not its "
                "records: the push was broken off; archive it again where it is still there, or "
                "restore a model alone with --model-only"
            )
        for key in reversed(found.records):
            try:
                yield catalog.fetch(self.storage, self.run_name, key)
            except MissingObjectError:  # although it was listed
                where = f"{self.run_name}/{key.manifest}"
                self._damage.append(str(damaged(self.storage, where, "is not there")))
            except DamagedError as error:
                self._damage.append(str(error))
        raise DamagedError(self._damage[0])

    def _gathered(
        self, which: Which, found: Catalog, fetcher: Fetcher, readable: Iterator[Archived]
    ) -> tuple[Archived, _Judged]:
        """Have the newest records here that are whole, but for what a run can go on without.

        What is refused is refused before anything large is fetched.
        """
        while True:
            self._notes.clear()  # those are about records that are passed over
            records = next(readable)
            telling, needed, spare = _parts(records)
            if not self._has_fetched(fetcher, telling):
                continue
            try:
                judged = self._judged(which, found, fetcher, records)
            except (RunNotFoundError, UsageError, RunExistsError):
                fetcher.forget(telling)  # the same command would be refused again
                raise
            fetcher.check_space([records, *judged.missing])
            if self._has_fetched(fetcher, needed):
                break
        lost = fetcher.fetch_what_is_whole(spare)
        if self._damage:
            self._notes.insert(
                0,
                "the newest records in the archive are damaged, so those of an earlier push were "
                f"taken: what was logged since is not here; {self._damage[0]}",
            )
        self._notes += [f"{entry.path} was left out: {problem}" for entry, problem in lost]
        return snapshot.without(records, [entry.path for entry, _ in lost]), judged

    def _has_fetched(self, fetcher: Fetcher, part: Archived) -> bool:
        """Fetch a part of some records; return False if it is damaged, and take note of that."""
        try:
            fetcher.fetch([part])
        except DamagedError as error:
            self._damage.append(str(error))
            return False
        return True

    def _judged(self, which: Which, found: Catalog, fetcher: Fetcher, records: Archived) -> _Judged:
        """Return what becomes of each checkpoint that is asked for.

        Raises RunExistsError if what is here is in the way, and is not to be moved aside.
        """
        keys = self._chosen(found, which, fetcher, records)
        steps = [self._manifest(key, records) for key in keys]
        here = [step for step in steps if self._is_here(step)]
        missing = [step for step in steps if step not in here]
        obstacle = self._obstacle(fetcher, records, missing) if self.run.path.exists() else None
        if obstacle is None:
            return _Judged(tuple(here), tuple(missing), is_blocked=False)
        if not self.is_forced:
            raise RunExistsError(
                f"{obstacle}; restore it beside that with --as NAME, or move what is here aside, "
                "nothing deleted, with --force"
            )
        return _Judged((), tuple(steps), is_blocked=True)

    def _chosen(
        self, found: Catalog, which: Which, fetcher: Fetcher, records: Archived
    ) -> list[StepKey]:
        """Return the checkpoints that are asked for and that the records of the run will cover."""
        is_ours = self._keeps_its_records(fetcher, records)
        ledger = placing.ledger_text(fetcher, records)
        entry = next((one for one in records.entries if one.path == standing.STEPS), None)
        log = fetcher.path_of(entry) if entry else None
        if is_ours:
            ledger, log = standing.of_run(self.run).ledger, self.run.train_log
        known = lineage.starts(ledger)
        cover = Cover(lineage.last_session(ledger), _last_step(log))
        late = lineage.uncovered(found.steps, known, cover)
        if late and which in ("latest", "all"):
            self._notes.append(
                f"{self.storage.place} has {named(late)} too, but no records of it (a push was "
                "broken off, or they are damaged); archive the run again where it is still there, "
                "or restore a model alone with --model-only"
            )
        return lineage.choose(found.steps, which, known, cover)

    def _keeps_its_records(self, fetcher: Fetcher, records: Archived) -> bool:
        """Return whether the run is here and the archived records will not take its own's place."""
        run = self.run
        if self.is_forced or not run.identity.is_file():
            return False
        is_same = store.read_identity(run).id == records.run_id
        return is_same and placing.relation_of(run, fetcher, records) == "same or ahead"

    def _manifest(self, key: StepKey, records: Archived) -> Archived:
        found = catalog.fetch(self.storage, self.run_name, key)
        if found.run_id != records.run_id:
            raise DamagedError(
                f"{self.storage.place}/{self.run_name}/{key.manifest} is of another run than the "
                "records beside it; restore another step"
            )
        return found

    def _is_here(self, step: Archived) -> bool:
        """Return whether a checkpoint is here, every byte of it."""
        number = step.step or 0
        if not self.run.identity.is_file() or not self.run.step(number).is_dir():
            return False
        here = checkpoints.inspect(self.run, number, run_id=step.run_id, with_hashes=True)
        return here.manifest is not None and here.manifest["manifest_hash"] == step.manifest_hash

    def _obstacle(
        self, fetcher: Fetcher, records: Archived, missing: Sequence[Archived]
    ) -> str | None:
        """Return why what is here cannot take what is in the archive, None if it can."""
        run = self.run
        if not run.identity.is_file():
            return f"{run.path} is there and is no run of rlrun's"
        if store.read_identity(run).id != records.run_id:
            return f"{run.path} is another run of the same name"
        if placing.relation_of(run, fetcher, records) == "diverged":
            return (
                f"run '{run.name}' was gone on with both here and elsewhere since it was archived"
            )
        for step in missing:
            here = checkpoints.inspect(run, step.step or 0, run_id=step.run_id, with_hashes=True)
            if here.path.exists() and (here.is_valid or here.is_foreign):
                return f"{here.path} differs from step {step.step} in the archive"
        return None

    def _move_aside(self) -> None:
        held = lock.Lock(self.run, lambda: lock.TIDYING)
        try:
            self._aside(self.run.path)
        finally:
            held.release()

    def _aside(self, path: Path) -> None:
        folder = self.root / "archive" / "replaced"
        target = next(name for name in _names(folder, path.name) if not name.exists())
        files.ensure_dir(folder)
        files.rename(path, target)
        files.sync_dir(target.parent)
        files.sync_dir(path.parent)
        self._notes.append(f"what was here is now {target}")


def _names(folder: Path, name: str) -> Iterator[Path]:
    """Yield names for what is moved aside now."""
    moment = f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}"
    yield folder / f"{name}_{moment}"
    yield from (folder / f"{name}_{moment}_{number}" for number in count(2))


def _parts(records: Archived) -> tuple[Archived, Archived, Archived]:
    """Return what of some records tells, what else a run needs, and what it can go on without."""
    telling: list[Entry] = []
    needed: list[Entry] = []
    spare: list[Entry] = []
    for entry in records.entries:
        is_spare = snapshot.is_optional(entry.path)
        part = telling if entry.path in _TELLING else spare if is_spare else needed
        part.append(entry)
    return (
        replace(records, entries=tuple(telling)),
        replace(records, entries=tuple(needed)),
        replace(records, entries=tuple(spare)),
    )


def _last_step(log: Path | None) -> int | None:
    """Return where a log of steps ends, None if there is none."""
    if log is None or not log.is_file():
        return None
    step = (jsonl.read_last(log) or {}).get("step")
    return step if type(step) is int else 0


def named(numbers: Sequence[int]) -> str:
    """Return `step 3`, or `steps 3, 5`."""
    return f"step{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _is_copy(wanted: Archived, folder: Path) -> bool:
    return copies.hashes_of(folder) == {one.path: one.seal.sha256 for one in wanted.entries}


def _fact(step: Archived) -> tuple[int, str, int]:
    return (step.step or 0, str(step.manifest_hash), step.num_bytes)


def _numbers(steps: Sequence[Archived]) -> tuple[int, ...]:
    return tuple(step.step or 0 for step in steps)
