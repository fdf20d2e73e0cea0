"""Where a session begins, by hand for each way in which another may have ended."""

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import journal as made
from support.calls import recorded

from rlrun.errors import DamagedError, RunNotFoundError, StorageError, UsageError
from rlrun.runs import checkpoints, jsonl, pins
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.trainer import recovery

RUN_ID = "0123456789abcdef"


def save(run: RunDir, step: int) -> None:
    checkpoints.publish(
        run, step, {"weights": b"w"}, {"run_id": RUN_ID, "step": step, "session": 1}
    )


def damage(run: RunDir, step: int) -> None:
    (run.step(step) / "weights").write_bytes(b"x")


def log(run: RunDir, steps: Iterable[int]) -> None:
    for path in (run.train_log, run.ratios):
        with path.open("ab") as file:
            file.writelines(jsonl.encode({"step": step}, checked=False) for step in steps)


def journal(run: RunDir, batches: Iterable[int], *, groups: Iterable[int] = ()) -> None:
    """Append batches of one step each, and finished groups of no batch."""
    opened = RolloutJournal(run)
    for step in batches:
        opened.append_group(made.group(step))
        opened.append_batch(made.batch(step))
    for step in groups:
        opened.append_group(made.group(step))
    opened.close()


def find(run: RunDir, from_step: int | None = None) -> recovery.StartingPoint:
    return recovery.find_starting_point(run, run_id=RUN_ID, from_step=from_step)


def test_a_new_run_begins_at_step_0(run: RunDir) -> None:
    start = find(run)
    assert (start.step, start.frontier, start.notes) == (0, 0, ())
    assert (start.checkpoint, start.manifest) == (None, None)


def test_with_a_checkpoint_alone_the_frontier_is_the_checkpoint(run: RunDir) -> None:
    save(run, 4)
    start = find(run)
    assert (start.step, start.frontier) == (4, 4)
    assert start.manifest is not None
    assert start.manifest["step"] == 4


def test_a_log_that_is_ahead_of_the_checkpoint_is_the_frontier(run: RunDir) -> None:
    save(run, 2)
    log(run, range(1, 6))
    journal(run, [3, 4, 5])
    start = find(run)
    assert (start.step, start.frontier, start.notes) == (2, 5, ())


def test_steps_that_the_journal_lacks_are_no_replays_and_that_is_said(run: RunDir) -> None:
    save(run, 2)
    log(run, range(1, 6))
    journal(run, [3])
    start = find(run)
    assert start.frontier == 3
    assert start.notes == ("the journal lacks what steps 4 to 5 were made of: made anew",)


def test_a_step_that_the_system_does_not_let_us_read_is_not_taken_for_damaged(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 2)
    save(run, 4)

    def refuse(folder: Path) -> Any:
        if folder == run.step(4):
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(folder)

    read = checkpoints.manifest.read
    monkeypatch.setattr(checkpoints.manifest, "read", refuse)
    with pytest.raises(StorageError, match="step 4 of run 'sums' cannot be judged: it cannot be"):
        find(run)


def test_an_older_start_leaves_what_is_behind_it_unread(run: RunDir) -> None:
    for step in (2, 4):
        save(run, step)
    log(run, range(1, 5))
    journal(run, [1, 2, 3, 4])
    whole = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join(whole[:4]) + b"bad\n" + b"".join(whole[5:]))
    start = recovery.find_older_starting_point(run, run_id=RUN_ID, step=2)
    assert (start.step, start.frontier, start.recovered.batches) == (2, 2, {})


def test_a_pinned_step_is_not_left_behind(run: RunDir) -> None:
    for step in (2, 4):
        save(run, step)
    pins.write_pin(run, 4)
    with pytest.raises(UsageError, match="step 4 of run 'sums' is pinned, so it cannot be left"):
        recovery.find_older_starting_point(run, run_id=RUN_ID, step=2)


def test_a_journal_that_is_ahead_says_that_the_step_before_its_last_batch_was_taken(
    run: RunDir,
) -> None:
    """The batch of step 5 was committed because step 4 was taken; step 5 perhaps was not."""
    save(run, 2)
    log(run, range(1, 3))
    journal(run, [3, 4, 5])
    start = find(run)
    assert (start.step, start.frontier) == (2, 4)
    assert list(start.recovered.batches) == [3, 4, 5]


def test_a_journal_of_a_run_that_was_never_saved_counts_too(run: RunDir) -> None:
    journal(run, [1, 2, 3])
    start = find(run)
    assert (start.step, start.frontier) == (0, 2)


def test_finished_groups_alone_move_no_frontier(run: RunDir) -> None:
    save(run, 2)
    journal(run, [], groups=[3])
    start = find(run)
    assert (start.step, start.frontier) == (2, 2)
    assert list(start.recovered.pending_groups(3)) == [0]


def test_a_log_that_is_behind_or_torn_does_not_move_the_frontier_back(run: RunDir) -> None:
    save(run, 4)
    log(run, [1, 2])
    with run.train_log.open("ab") as file:
        file.write(b'{"step":9')
    assert find(run).frontier == 4


def test_an_invalid_step_is_passed_over_with_a_note(run: RunDir) -> None:
    for step in (2, 4, 6):
        save(run, step)
    damage(run, 6)
    damage(run, 4)
    start = find(run)
    assert start.step == 2
    assert start.notes == (
        "step 6 does not verify (weights does not match its SHA-256); it is in quarantine/, going "
        "on from step 2 and replaying 0 journaled steps",
        "step 4 does not verify (weights does not match its SHA-256); it is in quarantine/, going "
        "on from step 2 and replaying 0 journaled steps",
    )


def test_the_newest_step_may_be_asked_for_by_number(run: RunDir) -> None:
    save(run, 2)
    save(run, 4)
    assert find(run, from_step=4).step == 4


def test_an_older_step_is_refused_with_both_ways_out(run: RunDir) -> None:
    save(run, 2)
    save(run, 4)
    with pytest.raises(UsageError) as caught:
        find(run, from_step=2)
    assert str(caught.value) == (
        "step 2 of run 'sums' is not the newest: step 4 is; add --rewind to go back to it (what is "
        "behind it moves to abandoned/, nothing is deleted), or --fork NEW_NAME to go on from it "
        "in another run"
    )


def test_a_step_asked_for_must_be_there_and_verify(run: RunDir) -> None:
    save(run, 4)
    with pytest.raises(RunNotFoundError, match="no step 3; it has 4"):
        find(run, from_step=3)
    damage(run, 4)
    with pytest.raises(DamagedError, match="step 4 of run 'sums' does not verify"):
        find(run, from_step=4)


def test_looking_changes_nothing(run: RunDir) -> None:
    save(run, 2)
    log(run, range(1, 6))
    journal(run, [3, 4])
    with recorded() as calls:
        find(run)
    assert calls == []


def test_tidying_removes_leftovers_and_mends_the_link(run: RunDir) -> None:
    save(run, 2)
    run.unfinished_step(4).mkdir()
    run.latest_link.unlink()
    run.latest_link.symlink_to("step_4")
    recovery.tidy(run, find(run), session=1)
    assert not run.unfinished_step(4).exists()
    assert str(run.latest_link.readlink()) == "step_2"


def test_tidying_a_run_at_step_0_removes_a_link_to_nothing(run: RunDir) -> None:
    run.latest_link.symlink_to("step_4")
    recovery.tidy(run, find(run), session=1)
    assert not run.latest_link.is_symlink()


def test_a_checkpoint_inside_a_window_is_not_gone_on_from_without_the_windows_batch(
    run: RunDir,
) -> None:
    info = {"run_id": RUN_ID, "step": 2, "session": 1}
    window = {"first_step": 1, "last_step": 3}
    checkpoints.publish(run, 2, {"weights": b"w"}, {**info, "window": window})
    with pytest.raises(DamagedError, match="lacks the batch of steps 1 to 3"):
        find(run)


# ---- a damaged journal


def spoil_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = b"{}\n"
    path.write_bytes(b"".join(lines))


def test_a_lost_record_of_the_journal_costs_what_follows_it_and_that_is_said(run: RunDir) -> None:
    save(run, 2)
    log(run, range(1, 6))
    journal(run, [3, 4, 5])
    spoil_line(run.journal, 4)
    start = find(run)
    assert (start.frontier, list(start.recovered.batches)) == (3, [3])
    assert start.notes == (
        f"line 4 of {run.journal} is damaged and others follow it: what cannot be used is in "
        "quarantine/, and made anew",
        "the journal lacks what steps 4 to 5 were made of: made anew",
    )
    recovery.tidy(run, start, session=2)
    assert find(run).recovered == start.recovered


def test_without_a_valid_checkpoint_a_damaged_journal_is_not_begun_anew(run: RunDir) -> None:
    save(run, 2)
    damage(run, 2)
    journal(run, [3, 4])
    with pytest.raises(
        DamagedError, match="so it would begin anew; restore logs/ or training_state"
    ):
        find(run)


def test_without_a_valid_checkpoint_a_journal_that_does_not_reach_it_is_not_begun_anew(
    run: RunDir,
) -> None:
    save(run, 2)
    damage(run, 2)
    log(run, [1, 2])
    with pytest.raises(DamagedError, match="the journal lacks what steps 1 to 2 were made of, so"):
        find(run)
    journal(run, [1])
    with pytest.raises(DamagedError, match="the journal lacks what steps 2 to 2 were made of, so"):
        find(run)
    journal(run, [2])
    assert (find(run).step, find(run).frontier) == (0, 2)


def save_in_window(run: RunDir, step: int) -> None:
    info = {"run_id": RUN_ID, "step": step, "session": 1}
    window = {"first_step": 3, "last_step": 5}
    checkpoints.publish(run, step, {"weights": b"w"}, {**info, "window": window})


def test_a_checkpoint_whose_window_is_lost_makes_way_for_the_one_before_the_window(
    run: RunDir,
) -> None:
    save(run, 2)
    save_in_window(run, 3)
    save_in_window(run, 4)
    log(run, range(1, 5))
    start = find(run)
    assert (start.step, start.frontier, start.lost) == (2, 2, (3, 4))
    assert [step.step for step in start.passed] == [4, 3]
    assert "step 4 does not verify (the journal lacks the batch of steps 3 to 5" in start.notes[0]
    recovery.tidy(run, start, session=2)
    assert checkpoints.list_steps(run) == [2]
    assert (run.quarantine / "step_4.0" / "weights").is_file()


def test_a_checkpoint_whose_window_is_lost_is_not_left_when_it_is_asked_for(run: RunDir) -> None:
    save(run, 2)
    save_in_window(run, 3)
    with pytest.raises(DamagedError, match="lacks the batch of steps 3 to 5"):
        find(run, from_step=3)
