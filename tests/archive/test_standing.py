from typing import Any

import pytest

from rlrun.archive import catalog, standing
from rlrun.archive.manifests import Archived
from rlrun.archive.standing import Extent
from rlrun.errors import ArchiveError, DamagedError

ONE, TWO, THREE = (f'{{"event":"{name}"}}\n'.encode() for name in ("one", "two", "three"))


def relation(here: bytes, there: bytes) -> str:
    return standing.relation(Extent(here), Extent(there))


def test_ledgers_tell_how_two_copies_of_a_run_stand_to_each_other() -> None:
    assert relation(ONE, ONE) == "same or ahead"
    assert relation(ONE + TWO, ONE) == "same or ahead"
    assert relation(ONE, b"") == "same or ahead"
    assert relation(ONE, ONE + TWO) == "behind"
    assert relation(b"", ONE) == "behind"
    assert relation(ONE + TWO, ONE + THREE) == "diverged"
    assert relation(ONE + TWO + THREE, ONE + THREE) == "diverged"


def test_a_torn_tail_that_the_next_session_cuts_is_no_other_course() -> None:
    torn = ONE + b'{"event":"tw'
    assert relation(ONE + THREE, torn) == "same or ahead"
    assert relation(torn, ONE + THREE) == "behind"
    assert relation(ONE + THREE, ONE + b'{"event":"\n') == "same or ahead"


def test_a_record_that_was_lost_and_mended_is_no_other_course() -> None:
    mended = b'{"kept_in":"quarantine/sessions.jsonl.0","line":1}\n' + TWO
    assert relation(mended + THREE, ONE + TWO) == "same or ahead"
    assert relation(b"?\n" + TWO, ONE + TWO) == "same or ahead"
    assert relation(ONE + TWO, mended + THREE) == "behind"
    assert relation(mended, ONE + THREE) == "diverged"


@pytest.mark.parametrize(
    ("log", "journal", "expected"),
    [
        (100, 50, "same or ahead"),
        (99, 60, "behind"),
        (100, 49, "behind"),
        (101, 10, "same or ahead"),  # a segment was cut for a step that was taken since
        (100, 51, "same or ahead"),
    ],
)
def test_copies_of_one_session_are_told_apart_by_its_logs(
    log: int, journal: int, expected: str
) -> None:
    assert standing.relation(Extent(ONE, log, journal), Extent(ONE, 100, 50)) == expected


def test_a_longer_ledger_counts_for_more_than_a_longer_log() -> None:
    assert standing.relation(Extent(ONE + TWO, 10), Extent(ONE, 100)) == "same or ahead"
    assert standing.relation(Extent(ONE, 100), Extent(ONE + TWO, 10)) == "behind"


@pytest.fixture
def archived(push: Any, storage: Any, made: Any) -> Archived:
    made.journals("group")
    (made.run.segments / "step_1-10.jsonl").write_bytes(b"{}\n")
    push()
    newest = catalog.read(storage, "sums").newest_records
    assert newest is not None
    return catalog.fetch(storage, "sums", newest)


def test_the_extent_of_a_run_is_that_of_its_records(archived: Archived, made: Any) -> None:
    here = standing.of_run(made.run)
    assert here == standing.of_records(archived, made.run.sessions.read_bytes())
    assert here.num_log_bytes == made.run.train_log.stat().st_size
    assert here.num_journal_bytes == made.run.journal.stat().st_size + len(b"{}\n")


def test_a_ledger_is_read_only_where_the_one_here_does_not_begin_with_it(
    archived: Archived, spy: Any, made: Any
) -> None:
    ledger = made.run.sessions.read_bytes()
    assert standing.ledger_of(spy, archived, ledger + TWO) == ledger
    assert spy.count("read") == 0
    assert standing.ledger_of(spy, archived, ledger[:-1]) == ledger
    assert spy.count("read") == 1


def test_a_lost_ledger_is_damage_with_its_way_out(archived: Archived, storage: Any) -> None:
    entry = next(one for one in archived.entries if one.path.endswith("sessions.jsonl"))
    (storage.folder / "sums" / entry.key).unlink()
    with pytest.raises(DamagedError, match=r"is not there; .*--repair"):
        standing.ledger_of(storage, archived, b"")


def test_what_does_not_go_on_from_the_archive_is_refused_with_the_way_out(
    archived: Archived, storage: Any, made: Any
) -> None:
    here = standing.of_run(made.run)
    standing.refuse_stale(storage, here, archived)
    older = Extent(here.ledger, here.num_log_bytes - 1, here.num_journal_bytes)
    with pytest.raises(ArchiveError, match=r"elsewhere; bring .* 'rlrun restore sums'"):
        standing.refuse_stale(storage, older, archived)
    with pytest.raises(ArchiveError, match=r"both here and elsewhere.*--to.*--as NAME"):
        standing.refuse_stale(storage, Extent(ONE), archived)
