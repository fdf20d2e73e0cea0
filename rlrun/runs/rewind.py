"""Going back to an older step: what is behind it moves to `abandoned/`, nothing is deleted.

The intent is on disk before anything moves, and each move leaves what is done already as it is, so
a rewind that was interrupted is finished by whoever holds the run next.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from rlrun.errors import DamagedError, LockedError, StorageError
from rlrun.runs import canonical, checkpoints, files, jsonl, manifest, pins, step_logs
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.runs.manifest import NotAStepError
from rlrun.runs.rollout_journal import sealed_segments


@dataclass(frozen=True, slots=True)
class Rewind:
    """An intent: the run is to end at `step`, what is behind it to be in `abandoned/<folder>`."""

    step: int
    folder: str


def pending(run: RunDir) -> Rewind | None:
    """Return the rewind that was begun and not finished, if there is one."""
    if not run.rewind.exists():
        return None
    try:
        return Rewind(**json.loads(run.rewind.read_bytes()))
    except (ValueError, TypeError) as error:
        raise DamagedError(
            f"{run.rewind} cannot be read ({error}); remove it, then rewind again with --from"
        ) from error


def begin(run: RunDir, step: int) -> Rewind:
    """Record the intent to go back to `step`, which is 0 or was verified; durable on return.

    Raises StorageError if nothing could be moved to where it is to go.
    """
    for part in (run.training_state, run.logs):
        if part.stat().st_dev != run.path.stat().st_dev:
            raise StorageError(
                f"{part} is on another file system than {run.path}, so nothing can be moved from "
                "one to the other; move the run to one file system, or go on from the step in "
                "another run with --fork NEW_NAME"
            )
    names = (f"rewind_{number}" for number in count())
    folder = next(name for name in names if not (run.abandoned_root / name).exists())
    intent = Rewind(step, folder)
    files.replace(run.rewind, canonical.pretty(asdict(intent)).encode())
    return intent


def finish_pending(run: RunDir, *, session: int) -> str | None:
    """Finish a rewind that was broken off; return what there is to say of it, None if none was."""
    intent = pending(run)
    if intent is None:
        return None
    lost = finish(run, intent, session=session)
    return "; ".join([f"finished an interrupted rewind to step {intent.step}", *lost])


def finish(run: RunDir, intent: Rewind, *, session: int) -> tuple[str, ...]:
    """Move everything behind the step; what was moved before is left where it is.

    Returns what there is to say of records that the logs lost.
    """
    behind = RunDir(run.abandoned_root / intent.folder)
    for folder in (behind.training_state, behind.segments):
        files.ensure_dir(folder)
    _move_steps(run, behind, intent.step)
    _move_segments(run, behind, intent.step)
    _cut_journal(run, behind, intent.step)
    said = step_logs.cut(run, behind.logs, intent.step, session=session)
    checkpoints.repair_link(run, intent.step or None, session=session)
    files.unlink(run.rewind)
    files.sync_dir(run.path)
    return said


def _move_steps(run: RunDir, behind: RunDir, step: int) -> None:
    for number in reversed(checkpoints.list_steps(run)):
        if number > step and not _is_foreign(run.step(number)):
            _move_step(run, behind, number)


def _move_step(run: RunDir, behind: RunDir, number: int) -> None:
    """Move a step unless somebody reads it; the intent stands, so it is moved another time."""
    if not (run.step(number) / manifest.FILE_NAME).is_file():
        _move(run.step(number), behind.step(number))
        return
    with pins.taken(run.step(number)) as is_free:
        if not is_free:
            raise LockedError(
                f"step {number} of run '{run.name}' is being read by another process; try again "
                "when that is over: the next session, or 'rlrun prune', finishes going back"
            )
        _move(run.step(number), behind.step(number))


def _is_foreign(folder: Path) -> bool:
    try:
        manifest.read(folder)
    except NotAStepError as reason:
        return reason.is_foreign
    return False


def _move(source: Path, target: Path) -> None:
    files.rename(source, target)
    files.sync_dir(target.parent)
    files.sync_dir(source.parent)


def _move_segments(run: RunDir, behind: RunDir, step: int) -> None:
    for first, last, path in reversed(sealed_segments(run)):
        if first > step:
            _move(path, behind.segments / path.name)
        elif last > step:
            _cut_segment(run, behind, path, step)


def _cut_segment(run: RunDir, behind: RunDir, path: Path, step: int) -> None:
    """Replace a segment by its records up to a step; for a while both hold them."""
    kept = _lines_of(path, lambda record: record["first_step"] <= step)
    batches = [record for record, _ in kept if record["kind"] == "batch"]
    if not batches:  # it is damaged in front of them
        _move(path, behind.segments / path.name)
        return
    first = min(batch["first_step"] for batch in batches)
    target = run.segment(first, max(batch["last_step"] for batch in batches))
    if target == path:
        return  # the step lies in its last window, which is kept whole
    files.replace(target, b"".join(line for _, line in kept))
    _move(path, behind.segments / path.name)


def _cut_journal(run: RunDir, behind: RunDir, step: int) -> None:
    """Cut the active segment behind a step, a copy of all of it kept first."""
    if not run.journal.exists():
        return
    lines = _lines_of(run.journal, lambda record: record["first_step"] <= step)
    kept, whole = b"".join(line for _, line in lines), run.journal.read_bytes()
    if kept != whole:
        files.replace(behind.journal, whole)
        files.replace(run.journal, kept)


def _lines_of(path: Path, is_kept: Callable[[Record], bool]) -> list[tuple[Record, bytes]]:
    """Return the whole records of a segment that are kept, with their lines."""
    if not path.exists():
        return []
    data = path.read_bytes()
    found = jsonl.read_lines(path, checked=True, until_damage=True)
    return [(line.record, data[line.start : line.end]) for line in found if is_kept(line.record)]
