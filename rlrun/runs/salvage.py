"""What can still be used of a journal that was damaged, and the journal put right.

What a lost record leaves behind it without a beginning is set aside, to be made anew: section 11 of
docs/design.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rlrun.errors import DamagedError
from rlrun.runs import files, jsonl, quarantine, rollout_journal
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import Recovered


@dataclass(frozen=True, slots=True)
class Salvage:
    """What the journal holds beyond a step that can be used, and what is wrong with it."""

    recovered: Recovered
    problem: str | None  # None: it is whole


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: bytes
    record: Record | None  # None: it does not read


def look(run: RunDir, step: int) -> Salvage:
    """Return what is usable beyond `step`; changes nothing."""
    try:
        recovered = rollout_journal.recover(run, step)
        _require_whole(run, step)
    except DamagedError as error:
        rows = _rows(run, step)
        records = [row.record for row in rows if row.record is not None]
        is_usable = _usable(records, step)
        usable = [record for record in records if is_usable(record)]
        batches = (one for one in usable if one["kind"] == "batch" and one["last_step"] > step)
        groups = (one for one in usable if one["kind"] == "group")
        recovered = Recovered(
            {one["first_step"]: one for one in batches}, {one["id"]: one for one in groups}
        )
        return Salvage(recovered, str(error).partition("; ")[0])
    return Salvage(recovered, None)


def _require_whole(run: RunDir, step: int) -> None:
    """Raise DamagedError if a sealed segment has a torn end: it was whole when it was sealed."""
    for path in rollout_journal.needed_files(run, step)[:-1]:
        if jsonl.whole_size(path, checked=True) < path.stat().st_size:
            raise DamagedError(f"the end of {path} is damaged; restore the file from a copy")


def mend(run: RunDir, step: int, problem: str, *, session: int) -> None:
    """Leave in the journal what is usable beyond `step`; the files as they were are set aside.

    Killed at any moment, it leaves what the next session mends in the same way.  Only the holder of
    the lock may call it.
    """
    rows = _rows(run, step)
    is_usable = _usable((row.record for row in rows if row.record is not None), step)
    usable = [row for row in rows if row.record is not None and is_usable(row.record)]
    bad = {row.path for row in rows if row.record is None or not is_usable(row.record)}
    sealed = [path for _, _, path in rollout_journal.sealed_segments(run)]
    first = min((sealed.index(path) for path in bad if path in sealed), default=len(sealed))
    moving = sealed[first:]
    if run.journal in bad:
        quarantine.keep_copy(run, run.journal, problem, session=session)
    kept = (row.line for row in usable if row.path in (*moving, run.journal))
    files.replace(run.journal, b"".join(dict.fromkeys(kept)))
    for path in reversed(moving):
        quarantine.set_aside(run, path, problem, session=session)


def _rows(run: RunDir, step: int) -> list[_Row]:
    return [
        _Row(path, line, record)
        for path in rollout_journal.needed_files(run, step)
        for line, record in jsonl.read_raw(path, checked=True)
    ]


def _usable(records: Iterable[Record], step: int) -> Callable[[Record], bool]:
    """Return which records are up to `step`, or follow each other from there without a gap."""
    known = list(records)
    ids = {record["id"] for record in known if record["kind"] == "group"}
    ends = {
        served: record["last_step"]
        for record in known
        if record["kind"] == "batch" and ids.issuperset(record["groups"])
        for served in range(record["first_step"], record["last_step"] + 1)
    }
    reached = step
    while reached + 1 in ends:
        reached = ends[reached + 1]

    def is_usable(record: Record) -> bool:
        if record["kind"] == "group":
            return bool(record["first_step"] <= reached + 1)
        return bool(record["last_step"] <= reached)

    return is_usable
