"""Fetched files put where they belong in a run: hidden until all of it is there, then renamed."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from rlrun.archive import lineage, snapshot, standing
from rlrun.archive.fetching import Fetcher
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.standing import Relation
from rlrun.errors import DamagedError, RunExistsError, StorageError
from rlrun.runs import checkpoints, files, leftovers, lock, manifest, quarantine, rewind
from rlrun.runs.layout import RunDir, evaluations_folder
from rlrun.runs.manifest import NotAStepError

# of the records that take the place of older ones: they tell the age
_LAST = (standing.JOURNAL, standing.STEPS, snapshot.SESSIONS)
_CHUNK_BYTES = 2**20


def inner_path(path: str, top: str) -> str | None:
    """Return a path of a records' manifest below its first folder; None if that is another."""
    first, _, rest = path.partition("/")
    return rest if first == top and rest else None


class Placer:
    """Copies fetched files to their places; a restore that was killed finds them still there."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._folders: set[Path] = set()

    def place(self, entry: Entry, target: Path) -> None:
        """Put an entry's bytes at a path that is not there yet."""
        files.ensure_dir(target.parent)
        self._folders.add(target.parent)
        files.write_new_from(target, _chunks(self._fetcher.path_of(entry)))

    def place_whole(self, entry: Entry, target: Path) -> None:
        """Put an entry's bytes at a path where everybody looks: all of them, or none."""
        hidden = target.with_name(f".{entry.seal.sha256[:32]}.tmp")
        if hidden.exists():  # of a restore that was killed
            files.unlink(hidden)
        self.place(entry, hidden)
        files.rename(hidden, target)

    def sync(self) -> None:
        """Make the names of all that was placed durable."""
        for folder in sorted(self._folders, reverse=True):
            files.sync_dir(folder)
        self._folders.clear()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def publish_new(
    run: RunDir, fetcher: Fetcher, records: Archived, steps: Sequence[Archived]
) -> None:
    """Make a run in a hidden folder and let it appear with one rename.

    Raises RunExistsError if its name was taken meanwhile.
    """
    folder = run.path.parent
    files.ensure_dir(folder)
    leftovers.remove_dead(folder)
    hidden = RunDir(leftovers.unfinished(run.path))
    if hidden.path.exists():  # of a dead process that had our number
        files.remove_tree(hidden.path)
    for path in (hidden.training_state, hidden.segments, hidden.tensorboard):
        files.ensure_dir(path)
    placer = Placer(fetcher)
    for entry in records.entries:
        if inner := inner_path(entry.path, snapshot.RUN):
            placer.place(entry, hidden.path / inner)
    for step in steps:
        _place_step(placer, hidden.step(step.step or 0), step)
    placer.sync()
    newest = max((step.step or 0 for step in steps), default=None)
    checkpoints.repair_link(hidden, newest, session=lock.TIDYING)
    for path in (hidden.training_state, hidden.logs, hidden.path):
        files.sync_dir(path)
    try:
        files.rename(hidden.path, run.path)
    except FileExistsError:
        files.remove_tree(hidden.path)
        raise RunExistsError(
            f"run '{run.name}' appeared in {folder} meanwhile; restore again"
        ) from None
    files.sync_dir(folder)


def publish_into(
    run: RunDir, fetcher: Fetcher, records: Archived, steps: Sequence[Archived]
) -> None:
    """Add checkpoints to a run that is here, its records brought up to them if they are older.

    Raises LockedError while a session holds the run, RunExistsError if one has gone on with it
    since it was looked at.
    """
    held = lock.Lock(run, lambda: lock.TIDYING)
    try:
        rewind.finish_pending(run, session=lock.TIDYING)
        checkpoints.remove_leftovers(run)
        relation = relation_of(run, fetcher, records)
        if relation == "diverged":
            raise RunExistsError(f"run '{run.name}' was gone on with meanwhile; restore again")
        if relation == "behind":
            _bring_up(run, fetcher, records)
        placer = Placer(fetcher)
        for step in steps:
            _publish_step(run, placer, step)
        newest, _ = checkpoints.newest_valid(run, run_id=records.run_id, with_hashes=False)
        checkpoints.repair_link(run, newest.step if newest else None, session=lock.TIDYING)
    finally:
        held.release()


def relation_of(run: RunDir, fetcher: Fetcher, records: Archived) -> Relation:
    """Return how a run that is here stands to its archive."""
    there = standing.of_records(records, ledger_text(fetcher, records))
    return standing.relation(standing.of_run(run), there)


def _begins_with(path: Path, beginning: Path) -> bool:
    """Return whether a file begins with what another has; nothing, if that is not there."""
    if not beginning.is_file():
        return True
    with path.open("rb") as whole:
        return all(whole.read(len(chunk)) == chunk for chunk in _chunks(beginning))


def ledger_text(fetcher: Fetcher, records: Archived) -> bytes:
    """Return the archived ledger, empty for a run on which nobody had worked."""
    entry = next((entry for entry in records.entries if entry.path == snapshot.SESSIONS), None)
    return fetcher.path_of(entry).read_bytes() if entry else b""


def _place_step(placer: Placer, folder: Path, step: Archived) -> None:
    """Put a checkpoint into a folder; DamagedError if it does not verify there."""
    files.ensure_dir(folder)
    for entry in step.entries:
        placer.place(entry, folder / entry.path)
    try:
        found = manifest.read(folder)
        manifest.check_files(folder, found, with_hashes=True)
    except NotAStepError as error:
        raise DamagedError(
            f"step {step.step} of run '{step.run_name}' came from the archive as it was sent, and "
            f"does not verify: {error.reason}; restore another step"
        ) from None
    if (found["manifest_hash"], found["step"]) != (step.manifest_hash, step.step):
        raise DamagedError(
            f"the archive's step {step.step} of run '{step.run_name}' holds the checkpoint of "
            "another; restore another step"
        )


def _publish_step(run: RunDir, placer: Placer, step: Archived) -> None:
    number = step.step or 0
    target, hidden = run.step(number), run.unfinished_step(number)
    _place_step(placer, hidden, step)
    placer.sync()
    files.sync_dir(hidden)
    if target.exists() or target.is_symlink():
        found = checkpoints.inspect(run, number, run_id=step.run_id, with_hashes=True)
        if found.is_valid or found.is_foreign:
            raise RunExistsError(f"{target} appeared meanwhile; restore again")
        if found.is_unreadable:
            raise StorageError(
                f"{target} cannot be judged: {found.problem}; check the permissions, then restore "
                "again"
            )
        quarantine.set_aside(run, target, found.problem or "", session=lock.TIDYING)
    files.rename(hidden, target)
    files.sync_dir(run.training_state)


def _bring_up(run: RunDir, fetcher: Fetcher, records: Archived) -> None:
    """Put the archive's records in the place of older ones, which move to `abandoned/`.

    The journal, the log of steps and the ledger come last: until then the same command does all of
    it again.
    """
    theirs = {inner_path(entry.path, snapshot.RUN): entry for entry in records.entries}
    behind = RunDir(next(path for path in _names(run) if not path.exists()))
    known = lineage.starts(ledger_text(fetcher, records))
    for number in checkpoints.list_steps(run):
        found = checkpoints.inspect(run, number, run_id=records.run_id, with_hashes=False)
        if found.manifest and lineage.is_abandoned(number, found.manifest["session"], known):
            _move(run.step(number), behind.step(number))
    for path in sorted([run.journal, *run.segments.glob("*.jsonl")]):
        inner = path.relative_to(run.path).as_posix()
        if inner not in theirs and path.exists():
            _move(path, behind.path / inner)
    for entry in sorted(records.entries, key=_place_in_order):
        inside = inner_path(entry.path, snapshot.RUN)
        if inside is not None:
            _replace(fetcher.path_of(entry), run.path / inside, behind.path / inside)


def _place_in_order(entry: Entry) -> int:
    return next((n for n, last in enumerate(_LAST, 1) if entry.path.startswith(last)), 0)


def _names(run: RunDir) -> Iterator[Path]:
    return (run.abandoned_root / f"restored_{number}" for number in count())


def _move(source: Path, target: Path) -> None:
    files.ensure_dir(target.parent)
    files.rename(source, target)
    files.sync_dir(target.parent)
    files.sync_dir(source.parent)


def _replace(source: Path, path: Path, aside: Path) -> None:
    if not _begins_with(source, path):
        files.ensure_dir(aside.parent)
        files.replace_from(aside, _chunks(path))
    elif path.is_file() and path.stat().st_size == source.stat().st_size:
        return
    files.ensure_dir(path.parent)
    files.replace_from(path, _chunks(source))


def add_evaluations(root: Path, fetcher: Fetcher, records: Archived, *, name: str) -> list[str]:
    """Add the evaluations of a run, which is called `name` here; what is here stays as it is.

    Returns what there is to say of those that differ.
    """
    placer = Placer(fetcher)
    folder = evaluations_folder(root)
    kept: set[Path] = set()
    for entry in records.entries:
        inner = inner_path(entry.path, snapshot.EVALUATIONS)
        if inner is None or "/" not in inner:
            continue
        theirs, rest = inner.split("/", 1)
        evaluation = folder / (name + theirs.removeprefix(records.run_name))
        target = evaluation / rest
        if not target.exists():
            placer.place_whole(entry, target)
        elif _sha256_of(target) != entry.seal.sha256:
            kept.add(evaluation)
    placer.sync()
    return [f"{path} is here with other contents, which were kept" for path in sorted(kept)]


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
