import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.run_maker import RunMaker

from rlrun.archive import blobs, catalog, keys
from rlrun.archive.cleanup import Cleaned, Cleaner
from rlrun.archive.storage import Storage
from rlrun.errors import ArchiveError, LockedError
from rlrun.runs import archived, checkpoints, files, pins
from rlrun.runs.retention import Rules


@pytest.fixture
def clean(made: RunMaker, storage: Any, push: Any) -> Callable[..., Cleaned]:
    """Push the run, let something happen, then clean it up."""
    push()

    def act(where: Storage = storage, keep: int = 1) -> Cleaned:
        return Cleaner(made.run, where, Rules(keep_latest=keep), transfers=2).clean()

    return act


def object_of(storage: Any, step: int, path: str) -> Path:
    key = next(key for key in catalog.read(storage, "sums").steps if key.step == step)
    found: Path = storage.folder / "sums" / key.folder / path
    return found


def doubts_of(cleaned: Cleaned) -> dict[int, str]:
    return {doubt.step: doubt.reason for doubt in cleaned.doubts}


def test_what_is_proved_goes_and_the_newest_stays(clean: Any, made: Any) -> None:
    cleaned = clean()
    assert cleaned.doubts == ()
    assert checkpoints.list_steps(made.run) == [30]
    events = [(note.event, note.step) for note in archived.notes(made.run)]
    assert events[-4:] == [("proved", 10), ("removed", 10), ("proved", 20), ("removed", 20)]


def test_so_many_of_the_newest_stay_as_are_asked_for(clean: Any, made: Any) -> None:
    clean(keep=2)
    assert checkpoints.list_steps(made.run) == [20, 30]


def test_logs_and_configuration_stay(clean: Any, made: Any) -> None:
    before = {path for path in made.run.logs.rglob("*") if path.is_file()}
    clean()
    assert before <= {path for path in made.run.logs.rglob("*") if path.is_file()}
    assert made.run.config.is_file()


def test_a_pinned_one_and_one_in_use_stay(clean: Any, made: Any) -> None:
    pins.write_pin(made.run, 10)
    with pins.hold(made.run.step(20)):
        clean()
    assert checkpoints.list_steps(made.run) == [10, 20, 30]


def test_the_newest_that_verifies_stays_where_a_newer_does_not(clean: Any, made: Any) -> None:
    (made.run.step(30) / "model" / "weights").write_bytes(b"54321")
    clean()
    assert checkpoints.list_steps(made.run) == [20, 30]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: path.write_bytes(b"12344"),
    "cut": lambda path: path.write_bytes(b"1234"),
    "longer": lambda path: path.write_bytes(b"123456"),
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_step_whose_object_is_damaged_in_the_archive_stays(
    kind: str, clean: Any, made: Any, storage: Any
) -> None:
    DAMAGE[kind](object_of(storage, 20, "model/weights"))
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [20, 30]
    assert list(doubts_of(cleaned)) == [20]
    assert "model/weights" in doubts_of(cleaned)[20]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_step_whose_manifest_is_damaged_in_the_archive_stays(
    kind: str, clean: Any, made: Any, storage: Any
) -> None:
    key = catalog.read(storage, "sums").steps[0]
    DAMAGE[kind](storage.folder / "sums" / key.manifest)
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert list(doubts_of(cleaned)) == [10]


def test_a_step_that_was_damaged_here_since_it_was_pushed_stays(clean: Any, made: Any) -> None:
    (made.run.step(20) / "model" / "weights").write_bytes(b"54321")
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [20, 30]
    assert list(doubts_of(cleaned)) == [20]


def test_a_step_of_the_same_number_that_is_another_stays(
    clean: Any, made: Any, storage: Any
) -> None:
    ours, theirs = catalog.read(storage, "sums").steps[:2]
    manifest = storage.folder / "sums" / ours.manifest
    manifest.write_bytes((storage.folder / "sums" / theirs.manifest).read_bytes())
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert "not what its name says" in doubts_of(cleaned)[10]


def test_what_was_never_pushed_stays(clean: Any, made: Any) -> None:
    made.saves(40)
    made.saves(50)
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [40, 50]
    assert list(doubts_of(cleaned)) == [40]


def test_a_listing_that_lacks_a_step_is_a_doubt(clean: Any, made: Any, spy: Any) -> None:
    class Late(type(spy)):  # type: ignore[misc]
        def list(self, prefix: str) -> Any:
            return (one for one in super().list(prefix) if "/step_10-" not in one.key)

    cleaned = clean(Late(spy.folder))
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert "fresh listing" in doubts_of(cleaned)[10]


def test_an_archive_that_cannot_be_reached_removes_nothing(clean: Any, made: Any, spy: Any) -> None:
    def fail(call: str, key: str) -> None:
        raise ArchiveError("the archive cannot be reached")

    spy.before = fail
    with pytest.raises(ArchiveError):
        clean(spy)
    assert checkpoints.list_steps(made.run) == [10, 20, 30]


def test_a_session_that_holds_the_run_is_not_disturbed(clean: Any, made: Any) -> None:
    held = made.is_held_here(2)
    try:
        with pytest.raises(LockedError):
            clean()
    finally:
        held.release()
    assert checkpoints.list_steps(made.run) == [10, 20, 30]


def test_every_object_is_looked_at_by_this_command_before_its_step_goes(
    clean: Any, made: Any, spy: Any
) -> None:
    seen: list[tuple[str, str]] = []

    def watch(call: str, key: str) -> None:
        if "step_10-" in key:
            assert made.run.step(10).is_dir()
            seen.append((call, key))

    spy.before = watch
    clean(spy)
    spy.before = lambda _call, _key: None
    key = next(key for key in catalog.read(spy, "sums").steps if key.step == 10)
    objects = [entry.key for entry in catalog.fetch(spy, "sums", key).entries]
    assert {f"sums/{key.manifest}", *(f"sums/{one}" for one in objects)} <= {
        name for call, name in seen if call == "read"
    }


def test_a_survey_says_what_would_go_and_changes_nothing(
    clean: Any, made: Any, storage: Any
) -> None:
    made.saves(40)
    made.saves(50)
    cleaner = Cleaner(made.run, storage, Rules(keep_latest=1))
    before = cleaner.survey(will_be_pushed=[40, 50])
    assert [fate.step for fate in before.fates if fate.goes] == [10, 20, 30, 40]
    only_listed = cleaner.survey()
    assert [fate.step for fate in only_listed.fates if fate.goes] == [10, 20, 30]
    assert list(doubts_of(only_listed)) == [40]
    assert checkpoints.list_steps(made.run) == [10, 20, 30, 40, 50]


def test_the_link_names_the_newest_before_its_target_goes(clean: Any, made: Any) -> None:
    checkpoints.repair_link(made.run, 10, session=1)
    clean()
    assert checkpoints.linked_step(made.run) == 30


def test_while_a_prune_is_at_work_in_the_archive_nothing_is_proved(
    clean: Any, made: Any, storage: Any
) -> None:
    mark = keys.prune_mark("sums", "0" * 8, 1, "0" * 32)
    storage.put(mark, blobs.of_bytes(b"{}"), lambda _: None)
    assert all("is at work" in reason for reason in doubts_of(clean()).values())
    assert checkpoints.list_steps(made.run) == [10, 20, 30]
    storage.delete([mark])
    assert doubts_of(clean()) == {}


def put_in(step: Path) -> None:
    (step / "notes.txt").write_text("mine")


def rewrite(step: Path) -> None:
    """Write other bytes, as many, and put the time of change back."""
    path = step / "model" / "weights"
    before = path.stat()
    path.write_bytes(b"54321")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


MEANWHILE = {
    put_in: ("notes.txt", "notes.txt is new since it was read; run the command again"),
    rewrite: ("model/weights", "model/weights has changed since it was read; run"),
}


@pytest.mark.parametrize("act", MEANWHILE)
def test_what_another_program_does_to_a_step_while_its_copy_is_proved_keeps_it(
    act: Callable[[Path], None], clean: Any, made: Any, spy: Any
) -> None:
    name, sentence = MEANWHILE[act]
    pending = [made.run.step(10)]

    def meanwhile(call: str, key: str) -> None:
        if "/step_10-" in key and pending:
            act(pending.pop())

    spy.before = meanwhile
    cleaned = clean(spy)
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert (made.run.step(10) / name).read_bytes() in (b"mine", b"54321")
    assert sentence in doubts_of(cleaned)[10]
    assert [fate.goes for fate in cleaned.fates] == [False, True, False]


def test_what_comes_into_a_step_at_the_moment_of_its_rename_keeps_it(clean: Any, made: Any) -> None:
    def meanwhile(operation: str, path: Path) -> None:
        if operation == "rename" and path == made.run.removed_step(10):
            put_in(made.run.step(10))

    with files.watched(meanwhile):
        cleaned = clean()
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert (made.run.step(10) / "notes.txt").read_text() == "mine"
    assert "notes.txt is new" in doubts_of(cleaned)[10]


def test_what_was_put_in_before_it_was_read_keeps_it_too(
    clean: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pending = pins.hold, [made.run.step(10)]

    def hold(path: Path) -> Any:
        if pending:
            put_in(pending.pop())
        return whole(path)

    monkeypatch.setattr(pins, "hold", hold)
    cleaned = clean()
    assert checkpoints.list_steps(made.run) == [10, 30]
    assert "notes.txt is not in the manifest" in doubts_of(cleaned)[10]
