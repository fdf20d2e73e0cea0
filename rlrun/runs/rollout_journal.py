"""The rollout journal of a run: finished groups and committed batches, in segments.

A sealed segment `step_A-B` holds exactly the batches of steps A..B; the active one holds all that
came after.  Recovery from step S needs the segments with B > S and the active one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlrun.errors import DamagedError
from rlrun.runs import files, jsonl
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import SEGMENT_PATTERN, RunDir
from rlrun.runs.manifest import Manifest
from rlrun.runs.records import BatchRecord, GroupRecord


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the journal holds beyond a step."""

    batches: dict[int, Record]  # by first step
    groups: dict[str, Record]  # by id

    def pending_groups(self, first_step: int) -> dict[int, Record]:
        """Return finished groups, by slot, for a batch that was never committed."""
        if first_step in self.batches:
            return {}
        return {g["slot"]: g for g in self.groups.values() if g["first_step"] == first_step}


def sealed_segments(run: RunDir) -> list[tuple[int, int, Path]]:
    """Return (first step, last step, path) of the sealed segments, in order."""
    if not run.segments.is_dir():
        return []
    matches = ((SEGMENT_PATTERN.fullmatch(path.name), path) for path in run.segments.iterdir())
    return sorted((int(m[1]), int(m[2]), path) for m, path in matches if m)


def recover(run: RunDir, step: int, *, up_to: int | None = None) -> Recovered:
    """Return what was journaled beyond `step`, leaving out a torn tail.

    A batch stands in the result if it serves at least one step after `step`; with `up_to` only if
    it was begun by then, and what is bad behind that does not matter.  Raises DamagedError if a
    batch or a group between is missing or a line in the middle of a segment is bad.
    """
    batches: dict[int, Record] = {}
    groups: dict[str, Record] = {}
    for path in needed_files(run, step, up_to):
        for line in jsonl.read_lines(path, checked=True, until_damage=up_to is not None):
            record = line.record
            if up_to is not None and record["first_step"] > up_to:
                continue
            if record["kind"] == "group":
                groups[record["id"]] = record
            elif record["last_step"] > step:
                batches[record["first_step"]] = record
    _check_unbroken(run, step, batches, groups)
    for batch in batches.values():
        missing = [group for group in batch["groups"] if group not in groups]
        if missing:
            raise DamagedError(
                f"the journal of run '{run.name}' lacks group {missing[0]} of the batch at step "
                f"{batch['first_step']}; restore logs/ from a copy"
            )
    return Recovered(batches, groups)


def require_window(run: RunDir, found: Manifest, recovered: Recovered) -> None:
    """Raise DamagedError if a checkpoint lies in a window whose batch is not in the journal."""
    window = lost_window(found, recovered)
    if window is not None:
        raise DamagedError(
            f"the journal of run '{run.name}' lacks the batch of steps {window[0]} to "
            f"{window[1]}, which step {found['step']} lies in; restore logs/ from a copy"
        )


def lost_window(found: Manifest, recovered: Recovered) -> tuple[int, int] | None:
    """Return the first and last step of the window that a checkpoint cuts, if it is not there."""
    step = found["step"]
    window = found.get("window", {"first_step": step, "last_step": step})
    if window["last_step"] > step and window["first_step"] not in recovered.batches:
        return window["first_step"], window["last_step"]
    return None


def needed_files(run: RunDir, step: int, up_to: int | None = None) -> list[Path]:
    """Return the segments that may tell of what is beyond `step`, the active one last."""
    sealed = [
        path
        for first, last, path in sealed_segments(run)
        if last > step and (up_to is None or first <= up_to)
    ]
    return [*sealed, run.journal]


def _check_unbroken(
    run: RunDir, step: int, batches: Mapping[int, Record], groups: Mapping[str, Record]
) -> None:
    """Raise DamagedError unless batches follow each other from `step` on, and a begun one them."""
    expected = step + 1
    for first in sorted({group["first_step"] for group in groups.values()} | set(batches)):
        if first > expected:
            missing = (
                f"steps {expected} to {first - 1}" if first > expected + 1 else f"step {expected}"
            )
            raise DamagedError(
                f"the journal of run '{run.name}' lacks the batches of {missing} and has later "
                "ones; restore logs/ from a copy"
            )
        if first in batches:
            expected = batches[first]["last_step"] + 1


def _let_pass() -> None: ...


@dataclass(slots=True)
class RolloutJournal:
    """The active segment, open for appending.

    Opening it cuts a torn tail and makes durable what a session before it wrote, renamed and died:
    what is gone on from must not be lost any more.
    """

    run: RunDir
    guard: Callable[[], None] = _let_pass  # raises if the run is somebody else's by now
    _file: files.Appender = field(init=False)
    _first_step: int | None = field(init=False, default=None)  # of the oldest record in it
    _last_step: int = field(init=False, default=0)  # the furthest step that a record in it serves

    def __post_init__(self) -> None:
        files.ensure_dir(self.run.segments)
        files.sync_dir(self.run.segments)
        path = self.run.journal
        is_there = path.exists()
        if is_there:
            whole = jsonl.whole_size(path, checked=True)
            if whole < path.stat().st_size:
                files.truncate(path, whole)
            for record in jsonl.read(path, checked=True):
                self._note(record)
        self._file = files.Appender(path)
        if is_there:
            self._file.sync()

    def _note(self, record: Record) -> None:
        first = record["first_step"]
        self._first_step = first if self._first_step is None else min(self._first_step, first)
        self._last_step = max(self._last_step, record.get("last_step", first))

    def append_group(self, group: GroupRecord) -> None:
        """Make a finished group durable."""
        self._append(group.to_record())

    def append_batch(self, batch: BatchRecord) -> None:
        """Commit a batch: durable when this returns."""
        self._append(batch.to_record())

    def _append(self, record: Record) -> None:
        self.guard()
        self._file.append(jsonl.encode(record, checked=True), sync=True)
        self._note(record)

    def seal(self, step: int) -> bool:
        """Seal the segment if it holds nothing beyond `step`; return whether it did."""
        if self._first_step is None or self._last_step > step:
            return False
        target = self.run.segment(self._first_step, self._last_step)
        if target.exists():  # these steps are being taken again; what is sealed never changes
            return False
        self.guard()
        self._file.close()
        files.rename(self.run.journal, target)
        files.sync_dir(self.run.segments)
        files.sync_dir(self.run.logs)
        self._first_step, self._last_step = None, 0
        self._file = files.Appender(self.run.journal)
        return True

    def close(self) -> None:
        """Close the active segment."""
        self._file.close()
