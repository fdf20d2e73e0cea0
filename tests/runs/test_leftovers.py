"""Whose a folder is that is being made, and when it counts as left."""

import errno
import os
from pathlib import Path

import pytest
from support.dead import left_by_the_dead, of_process

from rlrun.errors import StorageError
from rlrun.runs import files, leftovers, lock


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "sums"


def made(path: Path, *, age_seconds: float = 0, now: float = 1e9) -> Path:
    """Make a folder with a file in it, written to so long ago."""
    path.mkdir()
    (path / "part").touch()
    for one in (path / "part", path):
        os.utime(one, (now - age_seconds, now - age_seconds))
    return path


def test_a_process_makes_a_folder_under_a_name_that_says_which_it_is(place: Path) -> None:
    name = leftovers.unfinished(place).name
    assert name.startswith(".sums.")
    assert name.endswith(f".{os.getpid()}.tmp")
    assert leftovers.unfinished(place) == leftovers.unfinished(place)


def test_what_the_living_make_stays_and_what_the_dead_left_goes(place: Path) -> None:
    living = made(leftovers.unfinished(place), age_seconds=1e8)
    other = made(of_process(place, os.getppid()), age_seconds=1e8)
    dead = made(left_by_the_dead(place))
    assert leftovers.dead(place.parent, now=1e9) == [dead]
    leftovers.remove_dead(place.parent)
    assert sorted(place.parent.iterdir()) == sorted([living, other])


def elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the name that a machine gives of which we cannot ask who lives."""
    with monkeypatch.context() as patched:
        patched.setattr(lock, "machine", lambda: "another boot")
        return left_by_the_dead(path)


def test_what_another_machine_makes_stays_until_nothing_of_it_has_changed_for_a_day(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = made(elsewhere(place, monkeypatch), age_seconds=leftovers.BOUND_SECONDS - 1)
    assert leftovers.dead(place.parent, now=1e9) == []
    assert leftovers.dead(place.parent, now=1e9 + 1) == [left]
    os.utime(left / "part", (1e9, 1e9))
    assert leftovers.dead(place.parent, now=1e9 + 1) == []


def test_one_that_does_not_say_where_it_is_made_may_be_another_machines(place: Path) -> None:
    left = made(place.with_name(".sums.4194304.tmp"))
    assert leftovers.dead(place.parent, now=1e9) == []
    assert leftovers.dead(place.parent, now=1e9 + leftovers.BOUND_SECONDS) == [left]


def test_another_space_of_pids_is_another_machine(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lock, "_PID_NAMESPACE", tmp_path / "none")
    name = left_by_the_dead(place)
    monkeypatch.undo()
    if lock._PID_NAMESPACE.is_symlink():
        made(name)
        assert leftovers.dead(place.parent, now=1e9) == []


@pytest.mark.parametrize(
    "name", [".config.yaml.tmp", ".sums.tmp", "sums.4194304.tmp", ".sums.x.tmp"]
)
def test_other_names_are_none_of_these(name: str, place: Path) -> None:
    made(place.with_name(name), age_seconds=1e8)
    assert leftovers.dead(place.parent, now=1e9) == []


def test_what_another_process_removes_meanwhile_is_no_failure(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = made(left_by_the_dead(place))

    def remove_first(operation: str, path: Path) -> None:
        if path.exists():
            path.rmdir() if path.is_dir() else path.unlink()

    with files.watched(remove_first):
        leftovers.remove_dead(place.parent)
    assert not left.exists()


def test_what_cannot_be_removed_is_said_and_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = made(left_by_the_dead(place))

    def refuse(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match=r"cannot unlink .*: Input/output error; check the disk"):
        leftovers.remove_dead(place.parent)
    monkeypatch.undo()
    assert (left / "part").exists()
