"""A damaged journal: what follows from the checkpoint without a gap is used, the rest set aside."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import journal as made
from support.calls import recorded

from rlrun.runs import files, jsonl, rollout_journal, salvage
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal


@pytest.fixture
def journaled(run: RunDir) -> RunDir:
    """Batches of the steps 1 to 6, 1 to 4 sealed two by two, and a finished group of step 7."""
    journal = RolloutJournal(run)
    for step in range(1, 7):
        journal.append_group(made.group(step))
        journal.append_batch(made.batch(step))
        if step in (2, 4):
            journal.seal(step)
    journal.append_group(made.group(7))
    journal.close()
    return run


def put(path: Path, number: int, line: bytes = b"{}\n") -> None:
    """Put something else in a line's place, counted from 1."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line
    path.write_bytes(b"".join(lines))


def steps(run: RunDir, step: int) -> tuple[list[int], list[str]]:
    recovered = salvage.look(run, step).recovered
    return sorted(recovered.batches), sorted(recovered.groups)


def mend(run: RunDir, step: int) -> None:
    problem = salvage.look(run, step).problem
    assert problem is not None
    salvage.mend(run, step, problem, session=2)


def test_a_whole_journal_is_used_as_it_is(journaled: RunDir) -> None:
    found = salvage.look(journaled, 2)
    assert found.problem is None
    assert found.recovered == rollout_journal.recover(journaled, 2)


def test_damage_in_front_of_the_checkpoints_segments_is_not_even_looked_at(
    journaled: RunDir,
) -> None:
    put(journaled.segment(1, 2), 1)
    assert salvage.look(journaled, 2).problem is None


@pytest.mark.parametrize(
    ("number", "batches", "groups"),
    [
        (1, [], []),  # the group of step 5: its batch is of no use, nor what follows
        (2, [], ["5.0.1"]),  # the batch of step 5: it is made again of its group
        (3, [5], ["5.0.1"]),
        (4, [5], ["5.0.1", "6.0.1"]),
    ],
)
def test_what_follows_a_lost_record_is_not_used(
    number: int, batches: list[int], groups: list[str], journaled: RunDir
) -> None:
    put(journaled.journal, number)
    before = journaled.journal.read_bytes()
    assert steps(journaled, 4) == (batches, groups)
    mend(journaled, 4)
    assert salvage.look(journaled, 4).problem is None
    assert steps(journaled, 4) == (batches, groups)
    (aside,) = journaled.quarantine.glob("rollouts*")
    assert aside.read_bytes() == before
    assert rollout_journal.sealed_segments(journaled)[-1][:2] == (3, 4)


def test_what_is_in_front_of_the_checkpoint_stays_although_a_line_of_it_is_lost(
    journaled: RunDir,
) -> None:
    put(journaled.journal, 1)
    assert steps(journaled, 6) == ([], ["6.0.1", "7.0.1"])
    mend(journaled, 6)
    assert [r["first_step"] for r in jsonl.read(journaled.journal, checked=True)] == [5, 6, 6, 7]


def damage(run: RunDir) -> None:
    put(run.segment(3, 4), 3)


def cut_short(run: RunDir) -> None:
    path = run.segment(3, 4)
    path.write_bytes(path.read_bytes()[:-9])


def lose_a_line(run: RunDir) -> None:
    put(run.segment(3, 4), 4, b"")


@pytest.mark.parametrize("spoil", [damage, cut_short])
def test_a_sealed_segment_is_set_aside_with_what_follows_and_what_it_still_holds_is_kept(
    spoil: Callable[[RunDir], None], journaled: RunDir
) -> None:
    spoil(journaled)
    known = [3], (["3.0.1"] if spoil is damage else ["3.0.1", "4.0.1"])
    assert steps(journaled, 2) == known
    mend(journaled, 2)
    assert [path.name for _, _, path in rollout_journal.sealed_segments(journaled)] == [
        "step_1-2.jsonl"
    ]
    assert steps(journaled, 2) == known
    aside = sorted(path.name for path in journaled.quarantine.glob("*"))
    assert aside == ["reasons.jsonl", "rollouts.jsonl.0", "step_3-4.jsonl.0"]


def test_a_segment_that_lacks_a_line_and_reads_stays_and_what_follows_is_set_aside(
    journaled: RunDir,
) -> None:
    lose_a_line(journaled)
    mend(journaled, 2)
    assert steps(journaled, 2) == ([3], ["3.0.1", "4.0.1"])
    assert rollout_journal.sealed_segments(journaled)[-1][:2] == (3, 4)
    assert journaled.journal.read_bytes() == b""


def test_a_segment_that_is_gone_takes_the_later_ones_with_it(journaled: RunDir) -> None:
    journaled.segment(1, 2).unlink()
    assert steps(journaled, 0) == ([], [])
    mend(journaled, 0)
    assert rollout_journal.sealed_segments(journaled) == []
    assert journaled.journal.read_bytes() == b""
    assert salvage.look(journaled, 0).problem is None


def test_broken_off_at_any_call_it_is_mended_the_next_time(journaled: RunDir) -> None:
    damage(journaled)
    with recorded() as calls:
        mend(RunDir(shutil.copytree(journaled.path, journaled.path.with_name("trial"))), 2)

    for number in range(len(calls)):
        run = RunDir(shutil.copytree(journaled.path, journaled.path.with_name(f"run{number}")))
        left = [None] * number

        def stop(*_: object, left: list[None] = left) -> None:
            left.pop()  # an IndexError when none is left

        with pytest.raises(IndexError), files.watched(stop):
            mend(run, 2)
        if salvage.look(run, 2).problem is not None:
            mend(run, 2)
        assert steps(run, 2) == ([3], ["3.0.1"]), calls[number]
        lines = run.journal.read_bytes().splitlines()
        assert len(lines) == len(set(lines)) == 2, calls[number]
