"""What this machine knows of a run's copies in archives: a hint, never proof."""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from rlrun.runs import files, jsonl
from rlrun.runs.layout import RunDir

Event = Literal["pushed", "proved", "removed", "restored"]
"""What happened: sent to an archive, every object proved again there, removed here after that, or
fetched from there."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened between a checkpoint here and its copy in an archive."""

    event: Event
    step: int
    manifest_hash: str
    num_bytes: int
    place: str  # the archive
    time: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Copy:
    """A checkpoint in an archive, as far as this machine knows."""

    step: int
    manifest_hash: str
    num_bytes: int
    place: str
    verified: str  # when it was last proved, or pushed with proof: ISO 8601, UTC


def path_of(run: RunDir) -> Path:
    """Return the file of the notes; it stays on this machine."""
    return run.logs / "archived.jsonl"


def note(run: RunDir, event: Event, copies: Sequence[tuple[int, str, int]], place: str) -> None:
    """Take note of checkpoints (step, hash of the manifest, bytes), durably."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files.ensure_dir(run.logs)
    descriptor = files.open_lock(path_of(run))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # several commands may be at work
        for step, manifest_hash, num_bytes in copies:
            one = Note(event, step, manifest_hash, num_bytes, place, now)
            jsonl.append(path_of(run), asdict(one))
    finally:
        os.close(descriptor)


def notes(run: RunDir) -> list[Note]:
    """Return what was noted, oldest first; a line that does not read is left out."""
    records = (record for _, record in jsonl.read_raw(path_of(run), checked=False))
    return [one for one in map(_note_of, records) if one is not None]


def _note_of(record: jsonl.Record | None) -> Note | None:
    try:
        found = Note(**record) if record else None
    except TypeError:
        return None
    if found is None or found.event not in get_args(Event):
        return None
    numbers, words = (found.step, found.num_bytes), (found.manifest_hash, found.place, found.time)
    is_sound = all(type(one) is int for one in numbers) and all(type(one) is str for one in words)
    return found if is_sound else None


def copies(run: RunDir) -> dict[tuple[int, str], Copy]:
    """Return the newest known copy of each checkpoint, by step and hash of its manifest."""
    found: dict[tuple[int, str], Copy] = {}
    for one in notes(run):
        found[one.step, one.manifest_hash] = Copy(
            one.step, one.manifest_hash, one.num_bytes, one.place, one.time
        )
    return found
