"""What is wrong with the records of a run: its journal, its logs, its ledger, read from end to end.

Damage is what is lost, or what no session mends by itself; a note is what the next one does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rlrun.errors import DamagedError
from rlrun.runs import jsonl, ledger, mending
from rlrun.runs.jsonl import Line, Record
from rlrun.runs.layout import RunDir
from rlrun.runs.records import BatchRecord, GroupRecord
from rlrun.runs.rollout_journal import sealed_segments

RESTORE = "restore the file from a copy of the run"
MENDED = "the next session mends it"
LOSSY = f"{RESTORE}, or let the next session go on without the records that are lost"
NOT_READ_BACK = "nothing reads it back into training"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as a session leaves it."""

    severity: Literal["damage", "note"]
    path: str  # relative to the run
    what: str
    remedy: str


@dataclass(slots=True)
class Reader:
    """Reads files of records whole; keeps count, and what it finds."""

    run: RunDir
    findings: list[Finding] = field(default_factory=list)
    num_records: int = 0

    def damage(self, path: Path, what: str, remedy: str = RESTORE) -> None:
        """Take note of what no session mends."""
        name = path.relative_to(self.run.path).as_posix()
        self.findings.append(Finding("damage", name, what, remedy))

    def note(self, path: Path, what: str, remedy: str = MENDED) -> None:
        """Take note of what is no damage."""
        name = path.relative_to(self.run.path).as_posix()
        self.findings.append(Finding("note", name, what, remedy))

    def lines(self, path: Path, *, checked: bool, may_be_torn: bool = True) -> Iterator[Line]:
        """Yield the whole records of a file; what else there is becomes a finding."""
        end = 0
        try:
            for line in jsonl.read_lines(path, checked=checked):
                self.num_records += 1
                end = line.end
                yield line
        except DamagedError as error:
            what, _, remedy = str(error).partition("; ")
            self.damage(path, what.replace(f" of {path}", ""), remedy if checked else LOSSY)
            return
        size = path.stat().st_size if path.exists() else 0
        if end < size and may_be_torn:
            what = f"its last record is torn: {size - end} bytes behind the last whole one"
            self.note(path, what)
        elif end < size:
            self.damage(path, f"its last record is torn at byte {end}, and it was sealed whole")


@dataclass(slots=True)
class _Journal:
    """What the journal holds, as far as its order and its completeness need it."""

    reader: Reader
    batches: dict[int, tuple[int, tuple[str, ...], Path]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)  # of groups

    def take(self, path: Path, *, may_be_torn: bool) -> tuple[int, int]:
        """Take a segment's records in; return the first and the last step that they serve."""
        first, last = 0, 0
        lines = self.reader.lines(path, checked=True, may_be_torn=may_be_torn)
        for number, line in enumerate(lines, start=1):
            try:
                begins, ends = self._note(line.record, path)
            except (KeyError, TypeError, ValueError) as error:
                what = f"line {number} is whole, but no record of a journal ({error!r})"
                self.reader.damage(path, what)
                continue
            first, last = min(first or begins, begins), max(last, ends)
        return first, last

    def _note(self, record: Record, path: Path) -> tuple[int, int]:
        if record["kind"] == "group":
            group = GroupRecord.from_record(record, {})
            if group.id in self.ids:
                self.reader.damage(path, f"group {group.id} is journaled again")
            self.ids.add(group.id)
            return group.first_step, group.first_step
        batch = BatchRecord.from_record(record)
        self.batches[batch.first_step] = (batch.last_step, batch.groups, path)
        return batch.first_step, batch.last_step

    def check_whole(self, after: int, newest: int) -> None:
        """Find what is missing between the steps `after` and `newest`, and groups of batches."""
        expected = after + 1
        for first, (last, groups, path) in sorted(self.batches.items()):
            self._check_gap(expected, first - 1, path)
            expected = max(expected, last + 1)
            for missing in sorted(set(groups) - self.ids):
                self.reader.damage(path, f"group {missing} of the batch at step {first} is missing")
        self._check_gap(expected, newest, self.reader.run.journal)

    def _check_gap(self, expected: int, before: int, path: Path) -> None:
        if expected <= before:
            span = f"step {before}" if expected == before else f"steps {expected} to {before}"
            self.reader.damage(
                path, f"the batches of {span} are missing", "restore logs/ from a copy"
            )


def check_journal(reader: Reader, *, after: int, newest: int) -> None:
    """Check every record's CRC, that segments hold what their names say, and that nothing lacks.

    The journal begins behind the step `after`, and every step up to `newest` has its batch.
    """
    journal = _Journal(reader)
    for first, last, path in _segments(reader.run):
        num_before = len(reader.findings)
        held = journal.take(path, may_be_torn=False)
        if held != (first, last) and len(reader.findings) == num_before:
            reader.damage(path, f"it holds the steps {held[0]} to {held[1]}, not {first} to {last}")
    journal.take(reader.run.journal, may_be_torn=True)
    journal.check_whole(after, newest)


def _segments(run: RunDir) -> list[tuple[int, int, Path]]:
    """Return the sealed segments; of two that a rewind cuts one from the other, the shorter."""
    found = sealed_segments(run)
    if not run.rewind.exists():
        return found
    shortest = {first: (first, last, path) for first, last, path in reversed(found)}
    return sorted(shortest.values())


def check_log(reader: Reader, path: Path, *, newest: int) -> None:
    """Check that a log has each step once, in order, and reaches the newest checkpoint."""
    expected, lost = 1, []
    for number, line in enumerate(reader.lines(path, checked=False), start=1):
        step = line.record.get("step")
        if step != expected:
            reader.damage(path, f"line {number} has step {step}, and {expected} is due", LOSSY)
            break
        if jsonl.KEPT_IN in line.record:
            lost.append(expected)
        expected += 1
    else:
        if expected <= newest:
            end = f"it ends at step {expected - 1}, before the checkpoint of {newest}"
            reader.damage(path, end, LOSSY)
    if lost:
        reader.note(path, f"the record of {mending.listed('step', lost)} is lost", NOT_READ_BACK)


def check_ledger(reader: Reader) -> None:
    """Check that the sessions' records read."""
    path = reader.run.sessions
    num_before = len(reader.findings)
    check_plain(reader, path)
    if all(one.severity == "note" for one in reader.findings[num_before:]):
        try:
            ledger.read(reader.run)
        except DamagedError as error:
            what, _, remedy = str(error).partition("; ")
            reader.damage(path, what.removeprefix(f"{path} has "), remedy)


def check_plain(reader: Reader, path: Path) -> None:
    """Check that the records of a file read."""
    lines = reader.lines(path, checked=False)
    lost = [line.record["line"] for line in lines if jsonl.KEPT_IN in line.record]
    if lost:
        reader.note(path, f"the record of {mending.listed('line', lost)} is lost", NOT_READ_BACK)
