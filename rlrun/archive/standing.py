"""Which of two copies of a run's records went on from the other, told by how far each of them goes.

Every session begins with a record in the ledger.  Copies with equal ledgers are of one session,
which goes on on one machine alone: then the sizes of its logs tell, and no byte of them is read.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from rlrun.archive import reading, snapshot
from rlrun.archive.manifests import Archived
from rlrun.archive.storage import Storage
from rlrun.errors import ArchiveError
from rlrun.runs import jsonl, rollout_journal
from rlrun.runs.layout import RunDir

Relation = Literal["same or ahead", "behind", "diverged"]
STEPS = f"{snapshot.RUN}/logs/train_log.jsonl"
JOURNAL = f"{snapshot.RUN}/logs/rollouts"  # the active segment, and the folder of the sealed ones


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a run's records go in one place."""

    ledger: bytes
    num_log_bytes: int = 0  # of the log of steps
    num_journal_bytes: int = 0  # of all segments


def relation(here: Extent, there: Extent) -> Relation:
    """Return how a run here stands to its archive."""
    ours, theirs = _records(here.ledger), _records(there.ledger)
    if not all(map(_agree, ours, theirs)):
        return "diverged"
    if len(ours) != len(theirs):
        return "behind" if len(ours) < len(theirs) else "same or ahead"
    sizes = (here.num_log_bytes, here.num_journal_bytes)
    is_behind = sizes < (there.num_log_bytes, there.num_journal_bytes)
    return "behind" if is_behind else "same or ahead"


def _records(ledger: bytes) -> list[bytes]:
    """Return the lines of a ledger without a torn tail, which the next session cuts."""
    lines = ledger.split(b"\n")[:-1]
    return lines[:-1] if lines and jsonl.decode(lines[-1]) is None else lines


def _agree(one: bytes, other: bytes) -> bool:
    """Return whether two lines may be the same record: one that was lost may be any."""
    return one == other or any(_is_lost(jsonl.decode(line)) for line in (one, other))


def _is_lost(record: jsonl.Record | None) -> bool:
    return record is None or jsonl.KEPT_IN in record


def of_run(run: RunDir) -> Extent:
    """Return how far the records of a run here go."""
    paths = [run.journal, *(path for _, _, path in rollout_journal.sealed_segments(run))]
    return Extent(
        run.sessions.read_bytes() if run.sessions.is_file() else b"",
        run.train_log.stat().st_size if run.train_log.is_file() else 0,
        sum(path.stat().st_size for path in paths if path.is_file()),
    )


def of_records(records: Archived, ledger: bytes) -> Extent:
    """Return how far the records of a manifest go whose ledger is this."""
    sizes = {entry.path: entry.seal.size for entry in records.entries}
    journal = (size for path, size in sizes.items() if path.startswith(JOURNAL))
    return Extent(ledger, sizes.get(STEPS, 0), sum(journal))


def ledger_of(storage: Storage, there: Archived, here: bytes) -> bytes:
    """Return the archived ledger; it is not read where the one here begins with its bytes.

    Raises DamagedError if it has to be read and is not what it should be.
    """
    for entry in there.only(snapshot.SESSIONS).entries:
        beginning = here[: entry.seal.size]
        if hashlib.sha256(beginning).hexdigest() == entry.seal.sha256:
            return beginning
        return reading.read_sealed(storage, f"{there.run_name}/{entry.key}", entry.seal)
    return b""


def refuse_stale(storage: Storage, here: Extent, there: Archived) -> None:
    """Raise ArchiveError unless the records here are those of the archive, or went on from them.

    They would hide what the archive has from whoever restores the run.
    """
    found = relation(here, of_records(there, ledger_of(storage, there, here.ledger)))
    name = there.run_name
    if found == "behind":
        raise ArchiveError(
            f"{storage.place} has run '{name}' as it was gone on with elsewhere; bring this copy "
            f"up with 'rlrun restore {name}', then archive again"
        )
    if found == "diverged":
        raise ArchiveError(
            f"run '{name}' was gone on with both here and elsewhere since it was archived in "
            f"{storage.place}; archive this one elsewhere with --to, or bring the other here "
            f"beside it with 'rlrun restore {name} --as NAME'"
        )
