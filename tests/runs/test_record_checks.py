"""Records that no model wrote, each check for itself; test_verification.py has a whole run."""

from typing import Any

from support import journal

from rlrun.runs import jsonl, record_checks
from rlrun.runs.layout import RunDir
from rlrun.runs.record_checks import Reader


def write(run: RunDir, *records: Any, segment: tuple[int, int] | None = None) -> None:
    path = run.journal if segment is None else run.segment(*segment)
    lines = (jsonl.encode(record.to_record(), checked=True) for record in records)
    path.write_bytes(b"".join(lines))


def journal_findings(run: RunDir, *, after: int = 0, newest: int = 0) -> list[str]:
    reader = Reader(run)
    record_checks.check_journal(reader, after=after, newest=newest)
    return [f"{one.severity} {one.what}" for one in reader.findings]


def whole(step: int) -> tuple[Any, Any]:
    return journal.group(step), journal.batch(step)


def test_batches_that_follow_each_other_with_their_groups_are_whole(run: RunDir) -> None:
    write(run, *whole(1), *whole(2), segment=(1, 2))
    write(run, *whole(3), journal.group(4))
    assert journal_findings(run, newest=3) == []


def test_a_batch_that_was_split_anew_stands_twice_and_is_no_damage(run: RunDir) -> None:
    write(run, *whole(1), segment=(1, 1))
    write(run, journal.batch(1, micro_batches=((0,), (1,))), *whole(2))
    assert journal_findings(run, newest=2) == []


def test_the_journal_of_a_fork_begins_behind_its_parent_s_step(run: RunDir) -> None:
    write(run, *whole(5))
    assert journal_findings(run, after=4, newest=5) == []
    write(run, journal.group(4), journal.batch(4, 5))  # the window that the fork cut
    assert journal_findings(run, after=4, newest=5) == []
    write(run, *whole(6))
    assert journal_findings(run, after=4, newest=6) == ["damage the batches of step 5 are missing"]


def test_a_group_of_another_session_does_not_stand_in_for_a_missing_one(run: RunDir) -> None:
    write(run, journal.group(1, session=2), journal.batch(1))
    assert journal_findings(run, newest=1) == [
        "damage group 1.0.1 of the batch at step 1 is missing"
    ]


def test_a_group_that_is_recorded_twice_is_damage(run: RunDir) -> None:
    write(run, journal.group(1), journal.group(1), journal.batch(1))
    assert journal_findings(run, newest=1) == ["damage group 1.0.1 is journaled again"]


def test_a_group_that_was_drawn_anew_under_other_settings_is_none(run: RunDir) -> None:
    write(run, journal.group(1), journal.group(1, session=2), journal.batch(1))
    assert journal_findings(run, newest=1) == []


def test_a_whole_line_that_is_no_record_of_ours_is_damage(run: RunDir) -> None:
    run.journal.write_bytes(jsonl.encode({"kind": "nap"}, checked=True))
    (finding,) = journal_findings(run)
    assert finding.startswith("damage line 1 is whole, but no record of a journal (KeyError")


def test_every_record_is_counted(run: RunDir) -> None:
    write(run, *whole(1))
    reader = Reader(run)
    record_checks.check_journal(reader, after=0, newest=1)
    assert reader.num_records == 2
