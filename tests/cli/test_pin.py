"""`rlrun pin`."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.runs import checkpoints, copies, pins

Run = Callable[..., Any]


@pytest.fixture
def two(make_run: Run) -> Any:
    """The run 'a' with the steps 1 and 2."""
    maker = make_run("a")
    maker.saves(1)
    maker.saves(2)
    return maker


def test_a_pinned_step_survives_a_prune_until_it_is_unpinned(rlrun: Run, two: Any) -> None:
    said = rlrun("pin", "a", "1")
    assert (said.code, said.out) == (0, "step 1 of run 'a' is pinned\n")
    assert said.err == "next: rlrun status a\n"
    rlrun("prune", "a", "--keep-latest", "1")
    assert checkpoints.list_steps(two.run) == [1, 2]
    said = rlrun("pin", "a", "1", "--unpin")
    assert (said.code, said.out) == (0, "step 1 of run 'a' is no longer pinned\n")
    rlrun("prune", "a", "--keep-latest", "1")
    assert checkpoints.list_steps(two.run) == [2]


def test_pinning_and_unpinning_twice_is_no_error(rlrun: Run, two: Any) -> None:
    rlrun("pin", "a", "1")
    assert rlrun("pin", "a", "1").out == "step 1 of run 'a' was already pinned\n"
    rlrun("pin", "a", "1", "--unpin")
    said = rlrun("pin", "a", "1", "--unpin")
    assert (said.code, said.out) == (0, "step 1 of run 'a' was not pinned\n")


def test_it_needs_no_lock(rlrun: Run, two: Any) -> None:
    held = two.is_held_here()
    assert rlrun("pin", "a", "1").code == 0
    held.release()


def test_a_step_that_is_not_there_is_code_4_and_one_that_is_damaged_6(rlrun: Run, two: Any) -> None:
    (two.run.step(2) / "model" / "weights").write_bytes(b"54321")
    said = rlrun("pin", "a", "9")
    assert (said.code, said.err) == (4, "error: run 'a' has no step 9; it has 1, 2\n")
    assert rlrun("pin", "a", "2").code == 6
    assert pins.list_pinned(two.run) == frozenset()


def test_a_copy_is_whole_and_equal_and_made_once(rlrun: Run, two: Any, root: Path) -> None:
    said = rlrun("pin", "a", "1", "--copy")
    target = root / "archive" / "important_checkpoints" / "a_step_1"
    assert f"copied and verified: {target}" in said.out
    assert copies.hashes_of(target) == copies.hashes_of(two.run.step(1))
    again = rlrun("pin", "a", "1", "--copy")
    assert again.code == 0
    assert f"the same copy is there: {target}" in again.out


def test_another_copy_in_the_way_is_left_alone(rlrun: Run, two: Any, root: Path) -> None:
    target = root / "archive" / "important_checkpoints" / "a_step_1"
    target.mkdir(parents=True)
    (target / "mine").write_text("precious")
    said = rlrun("pin", "a", "1", "--copy")
    assert said.code == 4
    assert "is there already and differs" in said.err
    assert (target / "mine").read_text() == "precious"


def test_another_tool_s_step_can_be_pinned_and_copied(
    rlrun: Run, make_foreign_run: Run, root: Path
) -> None:
    run = make_foreign_run("old")
    (run.training_state / "step_41" / "model").mkdir(parents=True)
    (run.step(41) / "model" / "weights").write_bytes(b"theirs")
    assert rlrun("pin", "old", "40", "--copy").code == 0
    assert rlrun("pin", "old", "41", "--copy").code == 0
    copied = root / "archive" / "important_checkpoints" / "old_step_41"
    assert (copied / "model" / "weights").read_bytes() == b"theirs"


def test_to_copy_and_to_unpin_exclude_each_other(rlrun: Run, two: Any) -> None:
    assert rlrun("pin", "a", "1", "--copy", "--unpin").code == 2


@pytest.mark.parametrize("line", [["pin", "a", "3"], ["verify", "a"]])
def test_without_file_locks_it_is_a_sentence_and_code_9(
    line: list[str], rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make_run("a")
    maker.saves(3)

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(pins.fcntl, "flock", refuse)
    said = rlrun(*line)
    assert said.code == 9
    assert "has no file locks (No locks available)" in said.err
    assert not pins.is_pinned(maker.run, 3)
