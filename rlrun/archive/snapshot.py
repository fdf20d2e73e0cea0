"""What of a run is pushed: a checkpoint's files, and its records while a session may write."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rlrun.archive import blobs, keys
from rlrun.archive.blobs import Blob, HeldBlob
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.transfers import SMALL_BYTES
from rlrun.errors import ArchiveError, DamagedError, LockedError
from rlrun.runs import archived, manifest, rollout_journal, store
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir, evaluations_folder

RUN = "run"
SESSIONS = f"{RUN}/logs/sessions.jsonl"
EVALUATIONS = "eval_runs"
_KEPT_BYTES = 2**20  # of a checkpoint's small files, in memory until they are sent
_NUM_LOOKS = 20  # at a journal whose segment is sealed meanwhile
_TABLE = "consolidated_metrics.csv"  # of all steps of an evaluation
_PLAN = (
    "eval_config.yaml",
    "questions.jsonl",
)  # of an evaluation: the one says what is in the other
_OPTIONAL = (f"{RUN}/tensorboard/", f"{RUN}/abandoned/")
_WORKER_LOG = f"{RUN}/logs/worker.log"
_LEFT_OUT = {"lock", "lock.json", "rewind.json"}  # of an evaluation, of a run


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a snapshot."""

    path: str  # in the manifest
    blob: Blob


def of_step(step: Step) -> list[Source]:
    """Return a checkpoint's files, each read once; DamagedError if one is not what it should be.

    The caller keeps the checkpoint from being removed meanwhile.
    """
    if step.manifest is None:
        raise DamagedError(
            f"{step.path} does not verify: {step.problem}; 'rlrun verify' tells more"
        )
    found = []
    room = _KEPT_BYTES
    for name, entry in sorted(step.manifest["files"].items()):
        if not keys.is_safe_path(name):
            raise DamagedError(f"{str(step.path / name)!a} has a name that no archive takes")
        is_kept = entry["size"] <= min(room, SMALL_BYTES)
        room -= entry["size"] if is_kept else 0
        blob: Blob = (blobs.of_small_file if is_kept else blobs.of_file)(step.path / name)
        if (blob.seal.size, blob.seal.sha256) != (entry["size"], entry["sha256"]):
            raise DamagedError(
                f"{step.path / name} does not match its SHA-256, so step {step.step} was not "
                "pushed; the next session puts it aside, and goes on from an older one"
            )
        found.append(Source(name, blob))
    own = blobs.of_file(step.path / manifest.FILE_NAME)
    return sorted([*found, Source(manifest.FILE_NAME, own)], key=lambda one: one.path)


def of_records(root: Path, run: RunDir, evaluations: Mapping[str, Path]) -> list[Source]:
    """Return the files of a run that are no checkpoint, with its evaluations (name to folder).

    Logs that a session appends to are taken up to the size that they have at one moment.
    """
    sizes, journal = _look(run)
    found = [
        _source(path, f"{RUN}/{path.relative_to(run.path).as_posix()}", size)
        for path, size in sizes.items()
    ]
    if journal is not None:
        found.append(Source(f"{RUN}/{run.journal.relative_to(run.path).as_posix()}", journal))
    for name, folder in sorted(evaluations.items()):
        parent = evaluations_folder(root)
        for path in _files_of_evaluation(folder):
            inner = path.relative_to(parent / name).as_posix()
            found.append(_source(path, f"{EVALUATIONS}/{name}/{inner}"))
    return sorted(found, key=lambda one: one.path)


def _source(path: Path, name: str, size: int | None = None) -> Source:
    if not keys.is_safe_path(name):
        raise ArchiveError(
            f"{str(path)!a} has a name that no archive takes, with a backslash or letters that "
            "cannot be printed; rename it or move it elsewhere, then archive again"
        )
    return Source(name, blobs.of_file(path, size=size))


def _look(run: RunDir) -> tuple[dict[Path, int], HeldBlob | None]:
    """Return the files of the run's records with their sizes, as they were at one moment.

    The active segment of the journal is apart, and held: it may be sealed before it is read.
    """
    for _ in range(_NUM_LOOKS):
        before = _journal_state(run)
        sizes = dict(_sizes(_record_files(run)))
        if run.rewind.exists():
            break
        journal = _held(run.journal, sizes.pop(run.journal, None))
        if _journal_state(run) == before:
            return sizes, journal
    raise LockedError(
        f"run '{run.name}' is being put in order by another command or a session's start; archive "
        "it again when that is over ('rlrun prune' finishes what was broken off)"
    )


def _sizes(paths: Iterator[Path]) -> Iterator[tuple[Path, int]]:
    for path in paths:
        with suppress(FileNotFoundError):  # a pin was taken away just now
            yield path, path.stat().st_size


def _held(path: Path, size: int | None) -> HeldBlob | None:
    try:
        return None if size is None else HeldBlob(path, size)
    except FileNotFoundError:  # sealed just now
        return None


def _journal_state(run: RunDir) -> tuple[object, ...]:
    """Return what changes when a segment is sealed or the journal is cut."""
    sealed = [path.name for _, _, path in rollout_journal.sealed_segments(run)]
    try:
        found = run.journal.stat()
    except FileNotFoundError:
        return (*sealed, None)
    return (*sealed, found.st_ino)


def _record_files(run: RunDir) -> Iterator[Path]:
    plain = [run.config, run.identity]
    yield from (path for path in plain if path.is_file())
    for folder in (run.logs, run.tensorboard, run.pins):
        yield from (path for path in _walk(folder) if path != archived.path_of(run))
    for folder in sorted(run.abandoned_root.glob("*")):
        yield from _walk(RunDir(folder).logs)


def _files_of_evaluation(folder: Path) -> Iterator[Path]:
    yield from (path for path in _walk(folder) if path.name not in _LEFT_OUT)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder, what is being written and links left out."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or (path.name.startswith(".") and path.name.endswith(".tmp")):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def archived_step(run: RunDir, step: Step, sources: Sequence[Source]) -> Archived:
    """Return the manifest of a checkpoint whose files are these."""
    own = step.manifest or {}
    folder = keys.step_folder(step.step, own["manifest_hash"])
    entries = tuple(Entry(one.path, f"{folder}/{one.path}", one.blob.seal) for one in sources)
    return Archived(
        run.name, own["run_id"], entries, step.step, own["manifest_hash"], own.get("session", 0)
    )


def archived_records(run: RunDir, sources: Sequence[Source], before: Archived | None) -> Archived:
    """Return the manifest of a run's records whose files are these.

    What other machines evaluated stays in it as it was archived before.
    """
    here = {one.path: Entry(one.path, _shared_key(one), one.blob.seal) for one in sources}
    entries = before.entries if before else ()
    there = {one.path: one for one in entries if is_of_evaluation(one.path)}
    kept = {path: entry for path, entry in here.items() if not is_of_evaluation(path)}
    kept |= _evaluations({path: here[path] for path in here if path not in kept}, there)
    in_order = tuple(kept[path] for path in sorted(kept))
    return Archived(run.name, store.read_identity(run).id, in_order)


def _evaluations(here: Mapping[str, Entry], there: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return which files of evaluations are taken from here, and which stay as they are there.

    A step's folder is taken whole: from here, unless the one there has all its files and more.  A
    table of all steps is made of their folders, so it is that of whoever has them all.
    """
    ours, theirs = _by_unit(here), _by_unit(there)
    kept: dict[str, Entry] = {}
    incomplete = set()  # evaluations of which the archive has more than there is here
    for unit in sorted({*ours, *theirs}):
        found = ours.get(unit, {})
        if found.keys() < theirs.get(unit, {}).keys():
            found = theirs[unit]
            incomplete.add(_evaluation_of(unit))
        kept |= found
    for path in set(here) & set(there):
        if path.endswith(f"/{_TABLE}") and _evaluation_of(path) in incomplete:
            kept[path] = there[path]
    return kept


def _by_unit(entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """Return entries by what is taken whole: a step's folder of an evaluation, or one file."""
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for path, entry in entries.items():
        found["/".join(path.split("/")[:3])][path] = entry
    return found


def _evaluation_of(path: str) -> str:
    """Return the folder of an evaluation's file."""
    return "/".join(path.split("/")[:2])


def ledger_in(sources: Sequence[Source]) -> bytes:
    """Return the ledger of a snapshot, empty for a run on which nobody has worked."""
    found = (one.blob.read(0, one.blob.seal.size) for one in sources if one.path == SESSIONS)
    return next(found, b"")


def is_of_evaluation(path: str) -> bool:
    """Return whether a path of a records' manifest is of an evaluation."""
    return path.startswith(f"{EVALUATIONS}/")


def is_optional(path: str) -> bool:
    """Return whether a run can go on without what is at a path of its records' manifest."""
    return is_of_evaluation(path) or path == _WORKER_LOG or path.startswith(_OPTIONAL)


def without(records: Archived, lost: Collection[str]) -> Archived:
    """Return records without some of their paths.

    Of an evaluation whose plan or questions are lost neither stays: the next one makes both again.
    """
    spoiled = {_evaluation_of(path) for path in lost if path.rpartition("/")[2] in _PLAN}
    plans = {f"{evaluation}/{name}" for evaluation in spoiled for name in _PLAN}
    kept = tuple(one for one in records.entries if one.path not in {*lost, *plans})
    return replace(records, entries=kept)


def _shared_key(source: Source) -> str:
    return keys.shared(source.blob.seal.sha256, source.path)
