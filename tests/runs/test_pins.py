"""A pin needs no lock; a reader and a remover never have a checkpoint at the same time."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.calls import recorded

from rlrun.errors import RunNotFoundError, StorageError
from rlrun.runs import checkpoints, lock, pins
from rlrun.runs.layout import RunDir


@pytest.fixture
def step_dir(run: RunDir) -> Path:
    checkpoints.publish(run, 3, {"weights": b"12345"}, {"run_id": "me", "step": 3, "session": 1})
    return run.step(3)


def never(_: float) -> None:
    pytest.fail("there was nothing to wait for")


def test_a_pin_is_there_until_it_is_taken_away(run: RunDir) -> None:
    assert (pins.is_pinned(run, 3), pins.list_pinned(run)) == (False, frozenset())
    assert pins.write_pin(run, 3)
    assert not pins.write_pin(run, 3)
    assert (pins.is_pinned(run, 3), pins.list_pinned(run)) == (True, {3})
    assert pins.remove_pin(run, 3)
    assert not pins.remove_pin(run, 3)
    assert pins.list_pinned(run) == frozenset()


def test_a_pin_is_durable_when_it_counts(run: RunDir) -> None:
    with recorded() as calls:
        pins.write_pin(run, 3)
    assert calls == [
        "mkdir pins", "fsync sums", "open step_3", "fsync step_3", "close step_3", "fsync pins"
    ]  # fmt: skip


def test_other_files_among_the_pins_are_none(run: RunDir) -> None:
    run.pins.mkdir()
    (run.pins / "notes.txt").write_text("step 3 is the good one")
    assert pins.list_pinned(run) == frozenset()


def test_a_checkpoint_is_in_use_while_somebody_holds_it(step_dir: Path) -> None:
    assert not pins.is_in_use(step_dir)
    with pins.hold(step_dir, sleep=never), pins.hold(step_dir, sleep=never):
        assert pins.is_in_use(step_dir)
        with pins.taken(step_dir) as is_free:
            assert not is_free
    assert not pins.is_in_use(step_dir)


def test_a_checkpoint_that_is_not_there_cannot_be_held(run: RunDir) -> None:
    with (
        pytest.raises(RunNotFoundError, match=r"there is no checkpoint .*step_9"),
        pins.hold(run.step(9), sleep=never),
    ):
        pass


def test_one_that_was_moved_aside_and_comes_back_is_waited_for(run: RunDir, step_dir: Path) -> None:
    aside = step_dir.rename(run.removed_step(3))
    with pins.hold(step_dir, sleep=lambda _: aside.rename(step_dir) and None):
        assert pins.is_in_use(step_dir)


def test_one_that_was_moved_aside_for_good_is_given_up(run: RunDir, step_dir: Path) -> None:
    step_dir.rename(run.removed_step(3))
    waits: list[float] = []
    with pytest.raises(RunNotFoundError), pins.hold(step_dir, sleep=waits.append):
        pass
    assert sum(waits) == pytest.approx(pins.PATIENCE_SECONDS)


def test_a_checkpoint_that_becomes_another_one_while_it_is_locked_is_locked_anew(
    run: RunDir, step_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock: Callable[..., None] = pins.fcntl.flock

    def replaced_before(descriptor: int, how: int) -> None:
        monkeypatch.setattr(pins.fcntl, "flock", lock)
        step_dir.rename(run.path / "old")
        checkpoints.publish(
            run, 3, {"weights": b"54321"}, {"run_id": "me", "step": 3, "session": 1}
        )
        lock(descriptor, how)

    monkeypatch.setattr(pins.fcntl, "flock", replaced_before)
    with pins.hold(step_dir, sleep=lambda _: None):
        assert pins.is_in_use(step_dir)


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pins.fcntl, "flock", refuse)


@pytest.mark.parametrize("number", lock.NO_LOCKS)
def test_on_a_file_system_without_locks_nothing_is_held_and_that_is_said(
    number: int, step_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    refuse_locks(monkeypatch, number)
    with (
        pytest.raises(StorageError, match=r"has no file locks .*; move the run to one that has"),
        pins.hold(step_dir, sleep=never),
    ):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == num_open


def test_what_else_the_kernel_says_instead_of_locking_is_said_too(
    step_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, errno.EIO)
    with (
        pytest.raises(StorageError, match=r"cannot lock .*: Input/output error; check the disk"),
        pins.hold(step_dir, sleep=never),
    ):
        pass


def test_without_kernel_locks_nothing_is_taken(
    step_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, errno.EOPNOTSUPP)
    with pytest.raises(StorageError, match=r"cannot find out whether .* Operation not supported"):
        pins.is_in_use(step_dir)


def test_what_has_no_manifest_cannot_be_taken(run: RunDir) -> None:
    run.step(3).mkdir()
    with pytest.raises(StorageError, match="No such file"):
        pins.is_in_use(run.step(3))
