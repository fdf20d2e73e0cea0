"""Going back: what is behind the step moves to one folder, and the run looks as it did then."""

import shutil
from collections.abc import Iterable

import pytest
from support import journal as made
from support.calls import recorded
from support.memory import folder_in_memory

from rlrun.errors import DamagedError, StorageError
from rlrun.runs import checkpoints, jsonl, rewind, rollout_journal
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal


def save(run: RunDir, step: int) -> None:
    info = {"run_id": "ab", "step": step, "session": 1}
    checkpoints.publish(run, step, {"weights": b"w"}, info)


def log(run: RunDir, steps: Iterable[int]) -> None:
    for path in (run.train_log, run.ratios):
        path.write_bytes(b"".join(jsonl.encode({"step": n}, checked=False) for n in steps))


def take(run: RunDir, *windows: tuple[int, int], saves: Iterable[int] = ()) -> None:
    """Journal batches, and seal and save at some of their steps."""
    journal = RolloutJournal(run)
    for first, last in windows:
        journal.append_group(made.group(first))
        journal.append_batch(made.batch(first, last))
        for step in range(first, last + 1):
            if step in saves:
                journal.seal(step)
                save(run, step)
    journal.close()
    log(run, range(1, windows[-1][1] + 1))


def go_back(run: RunDir, step: int) -> RunDir:
    intent = rewind.begin(run, step)
    rewind.finish(run, intent, session=2)
    return RunDir(run.abandoned_root / intent.folder)


def steps_of(run: RunDir) -> list[int]:
    return [record["step"] for record in jsonl.read(run.train_log)]


def batches_of(run: RunDir) -> list[int]:
    return sorted(rollout_journal.recover(run, 0).batches)


def test_newer_steps_segments_and_log_tails_move_and_the_rest_stays(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), (3, 3), (4, 4), saves=(1, 2, 3))
    behind = go_back(run, 2)
    assert checkpoints.list_steps(run) == [1, 2]
    assert checkpoints.list_steps(behind) == [3]
    assert (steps_of(run), batches_of(run)) == ([1, 2], [1, 2])
    assert steps_of(behind) == [3, 4]
    assert [path.name for path in behind.segments.iterdir()] == ["step_3-3.jsonl"]
    assert [r["first_step"] for r in jsonl.read(behind.journal, checked=True)] == [4, 4]
    assert checkpoints.linked_step(run) == 2
    assert not run.rewind.exists()


def test_a_segment_that_reaches_over_the_step_is_cut_and_kept_whole_elsewhere(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), (3, 3), saves=(3,))
    save(run, 2)
    behind = go_back(run, 2)
    assert [path.name for path in run.segments.iterdir()] == ["step_1-2.jsonl"]
    assert [path.name for path in behind.segments.iterdir()] == ["step_1-3.jsonl"]
    assert batches_of(run) == [1, 2]


def test_a_window_that_the_step_cuts_keeps_its_batch(run: RunDir) -> None:
    take(run, (1, 3), (4, 6), saves=(3, 6))
    save(run, 5)
    behind = go_back(run, 5)
    assert sorted(path.name for path in run.segments.iterdir()) == [
        "step_1-3.jsonl",
        "step_4-6.jsonl",
    ]
    assert checkpoints.list_steps(behind) == [6]
    assert list(rollout_journal.recover(run, 5).batches) == [4]


def test_a_segment_that_is_damaged_from_its_beginning_moves_whole(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), (3, 3), saves=(3,))
    save(run, 2)
    path = run.segment(1, 3)
    path.write_bytes(b"spoiled\n" + path.read_bytes())
    behind = go_back(run, 2)
    assert list(run.segments.iterdir()) == []
    assert [path.name for path in behind.segments.iterdir()] == ["step_1-3.jsonl"]
    assert not run.rewind.exists()


def test_to_step_0_everything_moves(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), saves=(1,))
    go_back(run, 0)
    assert (checkpoints.list_steps(run), steps_of(run), batches_of(run)) == ([], [], [])
    assert not run.latest_link.is_symlink()


def test_a_foreign_step_stays_where_it_is(run: RunDir) -> None:
    take(run, (1, 1), saves=(1,))
    run.step(9).mkdir()
    go_back(run, 1)
    assert run.step(9).is_dir()


def test_each_rewind_has_a_folder_of_its_own(run: RunDir) -> None:
    for number in range(2):
        take(run, (1, 1), (2, 2), saves=(1, 2))
        behind = go_back(run, 0)
        assert behind.path.name == f"rewind_{number}"
        assert checkpoints.list_steps(behind) == [1, 2]


def test_the_intent_is_durable_before_anything_moves(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), saves=(1, 2))
    with recorded() as calls:
        go_back(run, 1)
    first_move = next(n for n, call in enumerate(calls) if call.startswith("rename step_"))
    assert calls.index("rename rewind.json") < calls.index("fsync sums") < first_move
    assert calls[-2:] == ["unlink rewind.json", "fsync sums"]


def test_an_intent_is_found_again_and_finishing_it_twice_changes_nothing(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), saves=(1, 2))
    intent = rewind.begin(run, 1)
    assert rewind.pending(run) == intent
    rewind.finish(run, intent, session=2)
    files_then = sorted(path for path in run.path.rglob("*"))
    rewind.finish(run, rewind.begin(run, 1), session=2)
    files_now = [path for path in sorted(run.path.rglob("*")) if "rewind_1" not in str(path)]
    assert files_now == files_then
    assert rewind.pending(run) is None


def test_an_intent_that_does_not_read_is_said_with_the_way_out(run: RunDir) -> None:
    run.rewind.write_text("{")
    with pytest.raises(DamagedError, match=r"rewind\.json cannot be read .*; remove it, then"):
        rewind.pending(run)


def test_a_run_that_spans_two_file_systems_is_refused_before_anything_moves(run: RunDir) -> None:
    take(run, (1, 1), (2, 2), saves=(1, 2))
    with folder_in_memory() as memory:
        if memory.stat().st_dev == run.path.stat().st_dev:
            pytest.skip("there is no second file system here")
        shutil.move(run.training_state, memory / "training_state")
        run.training_state.symlink_to(memory / "training_state")
        with pytest.raises(StorageError, match=r"is on another file system than .*--fork NEW_NAME"):
            rewind.begin(run, 1)
    assert not run.rewind.exists()
