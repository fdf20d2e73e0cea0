"""What was journaled comes back, whichever segment holds it, and what is missing is noticed."""

from collections.abc import Iterable

import pytest
from support import journal as made
from support.calls import recorded

from rlrun.errors import DamagedError
from rlrun.runs import rollout_journal
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal


def write(
    run: RunDir, *, batches: Iterable[tuple[int, int]] = (), groups: Iterable[int] = ()
) -> None:
    """Append batches of one group each, and groups of no batch."""
    journal = RolloutJournal(run)
    for first, last in batches:
        journal.append_group(made.group(first))
        journal.append_batch(made.batch(first, last))
    for slot, first in enumerate(groups):
        journal.append_group(made.group(first, slot))
    journal.close()


def seal(run: RunDir, step: int) -> bool:
    journal = RolloutJournal(run)
    try:
        return journal.seal(step)
    finally:
        journal.close()


def names(run: RunDir) -> list[str]:
    return [path.name for _, _, path in rollout_journal.sealed_segments(run)]


def test_a_record_is_durable_when_its_append_returns(run: RunDir) -> None:
    journal = RolloutJournal(run)
    with recorded() as calls:
        journal.append_group(made.group(1))
        journal.append_batch(made.batch(1))
    journal.close()
    assert calls == ["write rollouts.jsonl", "fsync rollouts.jsonl"] * 2


def test_an_empty_journal_is_not_sealed(run: RunDir) -> None:
    assert not seal(run, 5)
    assert names(run) == []


def test_a_segment_is_sealed_at_the_last_step_it_serves(run: RunDir) -> None:
    write(run, batches=[(1, 2), (3, 4)])
    assert not seal(run, 3)
    assert seal(run, 4)
    assert names(run) == ["step_1-4.jsonl"]
    assert run.journal.read_bytes() == b""


def test_a_finished_group_of_the_next_batch_keeps_the_segment_open(run: RunDir) -> None:
    write(run, batches=[(1, 1)], groups=[2])
    assert not seal(run, 1)
    write(run, batches=[(2, 2)])
    assert seal(run, 2)
    assert names(run) == ["step_1-2.jsonl"]


def test_a_replay_that_catches_up_keeps_the_segment_open(run: RunDir) -> None:
    write(run, batches=[(1, 1), (2, 2), (3, 3)])
    assert not seal(run, 1)
    assert not seal(run, 2)
    assert seal(run, 3)


def test_steps_that_are_taken_again_do_not_replace_a_sealed_segment(run: RunDir) -> None:
    write(run, batches=[(1, 2)])
    assert seal(run, 2)
    sealed = run.segment(1, 2).read_bytes()
    write(run, batches=[(1, 2)], groups=[])
    assert not seal(run, 2)
    assert run.segment(1, 2).read_bytes() == sealed
    assert list(rollout_journal.recover(run, 0).batches) == [1]


def test_sealing_renames_and_syncs_both_folders_before_anything_else_is_written(
    run: RunDir,
) -> None:
    write(run, batches=[(1, 1)])
    journal = RolloutJournal(run)
    with recorded() as calls:
        journal.seal(1)
    journal.close()
    assert calls == [
        "close rollouts.jsonl",
        "rename step_1-1.jsonl",
        "fsync rollouts",
        "fsync logs",
        "open rollouts.jsonl",
        "fsync logs",
    ]


def test_a_journal_goes_on_after_it_was_sealed(run: RunDir) -> None:
    journal = RolloutJournal(run)
    for step in (1, 2):
        journal.append_group(made.group(step))
        journal.append_batch(made.batch(step))
        assert journal.seal(step)
    journal.close()
    assert names(run) == ["step_1-1.jsonl", "step_2-2.jsonl"]


def test_segments_are_listed_in_the_order_of_their_steps_and_other_files_are_not(
    run: RunDir,
) -> None:
    for name in (
        "step_10-12.jsonl",
        "step_9-9.jsonl",
        "step_1-8.jsonl",
        "notes.txt",
        "step_1.jsonl",
    ):
        (run.segments / name).touch()
    assert names(run) == ["step_1-8.jsonl", "step_9-9.jsonl", "step_10-12.jsonl"]


def test_a_run_without_a_journal_has_nothing_to_recover(run: RunDir) -> None:
    run.segments.rmdir()
    found = rollout_journal.recover(run, 0)
    assert (found.batches, found.groups) == ({}, {})
    assert rollout_journal.sealed_segments(run) == []


def four_steps_in_three_files(run: RunDir) -> None:
    """Steps 1 and 2 sealed, step 3 sealed, step 4 and a group of step 5 not."""
    write(run, batches=[(1, 1), (2, 2)])
    seal(run, 2)
    write(run, batches=[(3, 3)])
    seal(run, 3)
    write(run, batches=[(4, 4)], groups=[5])


@pytest.mark.parametrize(
    ("step", "batches"),
    [(0, [1, 2, 3, 4]), (1, [2, 3, 4]), (2, [3, 4]), (3, [4]), (4, []), (9, [])],
)
def test_recovery_returns_the_batches_beyond_a_step_from_every_segment(
    run: RunDir, step: int, batches: list[int]
) -> None:
    four_steps_in_three_files(run)
    found = rollout_journal.recover(run, step)
    assert list(found.batches) == batches
    assert {f"{first}.0.1" for first in (*batches, 5)} <= set(found.groups)


def test_recovery_reads_no_segment_that_ends_at_or_before_the_step(run: RunDir) -> None:
    four_steps_in_three_files(run)
    run.segment(1, 2).unlink()
    assert list(rollout_journal.recover(run, 2).batches) == [3, 4]


def test_a_batch_counts_as_long_as_one_of_its_steps_is_beyond(run: RunDir) -> None:
    write(run, batches=[(1, 3), (4, 6)])
    assert list(rollout_journal.recover(run, 2).batches) == [1, 4]
    assert list(rollout_journal.recover(run, 3).batches) == [4]


def test_records_come_back_as_they_were_written(run: RunDir) -> None:
    write(run, batches=[(1, 1)])
    found = rollout_journal.recover(run, 0)
    assert found.batches == {1: made.batch(1).to_record()}
    assert found.groups == {"1.0.1": made.group(1).to_record()}


def test_finished_groups_of_a_batch_that_was_not_committed_are_pending_by_slot(
    run: RunDir,
) -> None:
    write(run, batches=[(1, 1)], groups=[2, 2])
    found = rollout_journal.recover(run, 0)
    assert {slot: g["id"] for slot, g in found.pending_groups(2).items()} == {
        0: "2.0.1",
        1: "2.1.1",
    }
    assert found.pending_groups(1) == {}
    assert found.pending_groups(3) == {}


def test_a_missing_segment_between_two_is_damage_with_the_missing_steps(run: RunDir) -> None:
    four_steps_in_three_files(run)
    write(run, batches=[(5, 5)])
    seal(run, 5)
    run.segment(3, 3).unlink()
    with pytest.raises(DamagedError, match=r"lacks the batches of step 3 .* restore logs/"):
        rollout_journal.recover(run, 1)


def test_a_missing_segment_right_behind_the_checkpoint_is_damage(run: RunDir) -> None:
    four_steps_in_three_files(run)
    run.segment(1, 2).unlink()
    with pytest.raises(DamagedError, match="lacks the batches of steps 1 to 2"):
        rollout_journal.recover(run, 0)


def test_a_missing_segment_in_front_of_the_active_one_is_damage(run: RunDir) -> None:
    four_steps_in_three_files(run)
    run.segment(3, 3).unlink()
    with pytest.raises(DamagedError, match="lacks the batches of step 3"):
        rollout_journal.recover(run, 2)


def test_a_begun_batch_without_the_one_before_it_is_damage(run: RunDir) -> None:
    write(run, batches=[(1, 1)], groups=[3])
    with pytest.raises(DamagedError, match="lacks the batches of step 2"):
        rollout_journal.recover(run, 0)


def test_a_batch_without_one_of_its_groups_is_damage_that_names_the_group(run: RunDir) -> None:
    journal = RolloutJournal(run)
    journal.append_group(made.group(1))
    journal.append_batch(made.batch(1, groups=("1.0.1", "1.1.1")))
    journal.close()
    with pytest.raises(DamagedError, match=r"lacks group 1\.1\.1 of the batch at step 1"):
        rollout_journal.recover(run, 0)


def test_a_damaged_line_in_the_middle_is_damage(run: RunDir) -> None:
    write(run, batches=[(1, 1), (2, 2)])
    data = run.journal.read_bytes()
    run.journal.write_bytes(data.replace(b'"kind":"batch"', b'"kind":"botch"', 1))
    with pytest.raises(DamagedError, match=r"line 2 of .*rollouts\.jsonl is damaged"):
        rollout_journal.recover(run, 0)
    with pytest.raises(DamagedError, match="line 2"):
        RolloutJournal(run)


def test_recovery_leaves_a_torn_tail_out_and_the_file_alone(run: RunDir) -> None:
    write(run, batches=[(1, 1)])
    with run.journal.open("ab") as file:
        file.write(b'{"kind":"gro')
    torn = run.journal.read_bytes()
    with recorded() as calls:
        assert list(rollout_journal.recover(run, 0).batches) == [1]
    assert calls == []
    assert run.journal.read_bytes() == torn


def test_opening_cuts_a_torn_tail_so_that_the_next_record_is_whole(run: RunDir) -> None:
    write(run, batches=[(1, 1)])
    whole = run.journal.read_bytes()
    run.journal.write_bytes(whole + b'{"kind":"gro')
    write(run, batches=[(2, 2)])
    assert run.journal.read_bytes().startswith(whole)
    assert list(rollout_journal.recover(run, 0).batches) == [1, 2]


def test_opening_a_whole_journal_cuts_nothing_and_makes_it_durable(run: RunDir) -> None:
    write(run, batches=[(1, 1)])
    with recorded() as calls:
        RolloutJournal(run).close()
    assert calls == [
        "fsync rollouts",
        "open rollouts.jsonl",
        "fsync logs",
        "fsync rollouts.jsonl",
        "close rollouts.jsonl",
    ]


def test_a_journal_opened_again_knows_what_it_holds(run: RunDir) -> None:
    write(run, batches=[(3, 4)])
    assert not seal(run, 3)
    assert seal(run, 4)
    assert names(run) == ["step_3-4.jsonl"]


def test_opening_makes_the_folder_of_segments_of_a_run_that_has_none(run: RunDir) -> None:
    run.segments.rmdir()
    write(run, batches=[(1, 1)])
    assert run.segments.is_dir()


def test_a_step_inside_a_window_whose_batch_is_gone_is_damage(run: RunDir) -> None:
    found = {"step": 4, "window": {"first_step": 3, "last_step": 5}}
    nothing = rollout_journal.recover(run, 4)
    with pytest.raises(DamagedError, match="lacks the batch of steps 3 to 5, which step 4 lies in"):
        rollout_journal.require_window(run, found, nothing)
    rollout_journal.require_window(run, {**found, "step": 5}, nothing)  # the window's last step
