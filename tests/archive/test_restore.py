import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dying import dying_at, num_operations
from support.run_maker import RunMaker

from rlrun.archive import catalog, keys
from rlrun.archive.cleanup import Cleaner
from rlrun.archive.push import Pusher
from rlrun.archive.restore import Restored, Restorer
from rlrun.errors import (
    DamagedError,
    LockedError,
    RunExistsError,
    RunNotFoundError,
    StorageError,
    UsageError,
)
from rlrun.runs import archived, canonical, checkpoints, files
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Rules


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder but the notes that this machine keeps for itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != "archived.jsonl"
    }


@pytest.fixture
def restore(root: Path, storage: Any, push: Any) -> Callable[..., Restored]:
    """Push the run, let something happen, then restore it."""
    push()

    def act(which: Any = "latest", where: Any = storage, **options: Any) -> Restored:
        return Restorer(where, root, "sums", transfers=2, **options).restore(which)

    return act


@pytest.fixture
def lost(restore: Any, made: RunMaker) -> dict[str, bytes]:
    """The run was pushed and its machine is gone; what it had."""
    before = tree(made.run.path)
    shutil.rmtree(made.run.path)
    return before


def test_a_lost_run_comes_back_with_all_its_bytes(lost: Any, restore: Any, made: Any) -> None:
    restored = restore("all")
    assert restored.is_new
    assert restored.new_steps == (10, 20, 30)
    assert tree(made.run.path) == lost
    assert checkpoints.linked_step(made.run) == 30


def test_the_newest_alone_comes_back_by_default(lost: Any, restore: Any, made: Any) -> None:
    restore()
    assert checkpoints.list_steps(made.run) == [30]


def test_one_step_comes_back(lost: Any, restore: Any, made: Any) -> None:
    restore(20)
    assert checkpoints.list_steps(made.run) == [20]
    assert checkpoints.linked_step(made.run) == 20


def test_a_step_that_is_not_there_is_told(lost: Any, restore: Any, made: Any) -> None:
    with pytest.raises(RunNotFoundError, match="it has 10, 20, 30"):
        restore(15)
    assert not made.run.path.exists()


def test_a_run_that_is_not_there_is_told(root: Path, storage: Any, restore: Any) -> None:
    with pytest.raises(RunNotFoundError, match="it has sums"):
        Restorer(storage, root, "other").restore("latest")


def test_a_cleaned_step_comes_back_into_its_run(restore: Any, made: Any, storage: Any) -> None:
    before = tree(made.run.training_state)
    Cleaner(made.run, storage, Rules(keep_latest=1)).clean()
    restored = restore("all")
    assert not restored.is_new
    assert (restored.new_steps, restored.known_steps) == ((10, 20), (30,))
    assert tree(made.run.training_state) == before
    assert checkpoints.linked_step(made.run) == 30


def test_what_is_here_already_is_not_fetched(restore: Any, spy: Any) -> None:
    restore("all", spy)
    assert not [key for call, key in spy.calls if call == "read" and "weights" in key]


def test_under_another_name_it_is_another_folder(restore: Any, made: Any, root: Path) -> None:
    before = tree(made.run.path)
    restored = restore("all", as_name="again")
    assert restored.run.name == "again"
    assert tree(restored.run.path) == before == tree(made.run.path)


def test_a_damaged_step_here_is_put_aside_for_the_archived_one(restore: Any, made: Any) -> None:
    weights = made.run.step(30) / "model" / "weights"
    weights.write_bytes(b"54321")
    restore()
    assert weights.read_bytes() == b"12345"
    assert (made.run.quarantine / "step_30.0" / "model" / "weights").read_bytes() == b"54321"


def test_a_step_that_differs_is_not_overwritten(restore: Any, made: Any, root: Path) -> None:
    shutil.rmtree(made.run.step(30))
    info = {"run_id": made.id, "step": 30, "session": 1}
    checkpoints.publish(made.run, 30, {"model/weights": b"other"}, info)
    with pytest.raises(RunExistsError, match="differs from step 30 in the archive"):
        restore()
    assert (made.run.step(30) / "model" / "weights").read_bytes() == b"other"
    restored = restore(is_forced=True)
    assert (made.run.step(30) / "model" / "weights").read_bytes() == b"12345"
    (aside,) = (root / "archive" / "replaced").iterdir()
    assert (aside / "training_state/step_30/model/weights").read_bytes() == b"other"
    assert str(aside) in restored.notes[0]


def test_another_run_of_the_name_is_not_touched(
    lost: Any, restore: Any, made: Any, make_run: Any
) -> None:
    other = make_run("sums")
    with pytest.raises(RunExistsError, match="another run of the same name"):
        restore()
    assert other.run.identity.is_file()


def test_another_tools_run_is_not_touched(lost: Any, restore: Any, make_foreign_run: Any) -> None:
    run = make_foreign_run("sums")
    before = tree(run.path)
    with pytest.raises(RunExistsError, match="no run of rlrun's"):
        restore()
    assert tree(run.path) == before


def was_read(spy: Any) -> set[str]:
    """Return the names of the files whose objects were read, manifests left out."""
    keys = [key for call, key in spy.calls if call == "read" and "/manifests/" not in key]
    return {key.rpartition("/")[2] for key in keys}


@pytest.mark.parametrize("kind", ["step", "another", "foreign", "differs"])
def test_what_is_refused_fetches_little_and_leaves_nothing(
    kind: str, restore: Any, made: Any, spy: Any, root: Path, make_run: Any, make_foreign_run: Any
) -> None:
    refusal: type[Exception] = RunNotFoundError if kind == "step" else RunExistsError
    if kind == "differs":
        shutil.rmtree(made.run.step(30))
        info = {"run_id": made.id, "step": 30, "session": 1}
        checkpoints.publish(made.run, 30, {"model/weights": b"other"}, info)
    elif kind != "step":
        shutil.rmtree(made.run.path)
        (make_run if kind == "another" else make_foreign_run)("sums")
    spy.calls.clear()
    with pytest.raises(refusal):
        restore(15 if kind == "step" else "latest", spy)
    assert was_read(spy) == {"sessions.jsonl", "train_log.jsonl"}
    assert list((root / "archive" / "restoring").iterdir()) == []


def test_what_is_refused_leaves_what_an_interrupted_restore_has_fetched(
    lost: Any, restore: Any, spy: Any, made: Any, root: Path
) -> None:
    def die(operation: str, path: Path) -> None:
        if operation == "rename" and path == made.run.path:
            raise KeyboardInterrupt

    with files.watched(die), pytest.raises(KeyboardInterrupt):
        restore("all", spy)
    with pytest.raises(RunNotFoundError):
        restore(15, spy)
    spy.calls.clear()
    restore("all", spy)
    assert was_read(spy) == {"sessions.jsonl", "train_log.jsonl"}


def test_a_model_that_is_in_the_way_is_refused_before_anything_is_fetched(
    restore: Any, spy: Any, root: Path
) -> None:
    target = root / "archive" / "models" / "sums_step_20"
    target.mkdir(parents=True)
    spy.calls.clear()
    with pytest.raises(RunExistsError, match="is there already and differs"):
        Restorer(spy, root, "sums").restore_model(20)
    assert "weights" not in was_read(spy)
    assert list((root / "archive" / "restoring").iterdir()) == []


def gone_on(made: RunMaker, session: int, first: int, last: int) -> None:
    made.opens(session)
    made.starts(session, from_step=first - 1)
    made.steps(first, last)
    made.saves(last, session=session)
    made.ends(session, step=last, outcome="steps_done")


def test_an_older_copy_of_a_run_is_brought_up_to_what_went_on_elsewhere(
    restore: Any, made: Any, push: Any, root: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(made.run.path, old, symlinks=True)
    gone_on(made, 2, 31, 40)
    push()
    expected = tree(made.run.path)
    shutil.rmtree(made.run.path)
    shutil.copytree(old, made.run.path, symlinks=True)
    restored = restore()
    assert restored.new_steps == (40,)
    assert tree(made.run.path) == expected


def test_a_run_that_went_on_here_keeps_its_own_records(restore: Any, made: Any) -> None:
    shutil.rmtree(made.run.step(10))
    gone_on(made, 2, 31, 40)
    before = tree(made.run.logs)
    restore(10)
    assert tree(made.run.logs) == before
    assert checkpoints.list_steps(made.run) == [10, 20, 30, 40]


def test_a_run_that_went_on_in_two_places_is_left_alone(
    restore: Any, made: Any, push: Any, tmp_path: Path, root: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(made.run.path, old, symlinks=True)
    gone_on(made, 2, 31, 40)
    push()
    shutil.rmtree(made.run.path)
    shutil.copytree(old, made.run.path, symlinks=True)
    gone_on(made, 2, 31, 35)
    before = tree(made.run.path)
    with pytest.raises(RunExistsError, match=r"both here and elsewhere.*--as NAME"):
        restore()
    assert tree(made.run.path) == before
    assert restore(as_name="theirs").new_steps == (40,)


def test_steps_that_the_run_left_elsewhere_move_aside_here(
    restore: Any, made: Any, push: Any, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(made.run.path, old, symlinks=True)
    for step in (20, 30):
        shutil.rmtree(made.run.step(step))
    gone_on(made, 2, 11, 25)
    push()
    shutil.rmtree(made.run.path)
    shutil.copytree(old, made.run.path, symlinks=True)
    restore()
    assert checkpoints.list_steps(made.run) == [10, 25]
    aside = RunDir(made.run.abandoned_root / "restored_0")
    assert checkpoints.list_steps(aside) == [20, 30]
    with pytest.raises(UsageError, match="went back behind step 30"):
        restore(30)


@pytest.mark.parametrize("which", ["latest", "all"])
def test_an_object_that_is_damaged_in_the_archive_restores_nothing(
    which: str, lost: Any, restore: Any, made: Any, storage: Any
) -> None:
    newest = catalog.read(storage, "sums").steps[-1]
    (storage.folder / "sums" / newest.folder / "model" / "weights").write_bytes(b"54321")
    with pytest.raises(DamagedError, match="comes with other bytes"):
        restore(which)
    assert not made.run.path.exists()
    assert restore(20).new_steps == (20,)


def test_a_missing_object_restores_nothing(
    lost: Any, restore: Any, made: Any, storage: Any
) -> None:
    newest = catalog.read(storage, "sums").steps[-1]
    (storage.folder / "sums" / newest.folder / "model" / "weights").unlink()
    with pytest.raises(DamagedError, match=r"weights is not there; .*RUN --repair"):
        restore()
    assert not made.run.path.exists()


def forge(storage: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """Replace the newest checkpoint's manifest by one that is sealed and named as it should be."""
    key = catalog.read(storage, "sums").steps[-1]
    path = storage.folder / "sums" / key.manifest
    body = json.loads(path.read_bytes())
    del body["archive_hash"]
    change(body)
    sealed = {**body, "archive_hash": canonical.sha256_of(body)}
    path.unlink()
    size = sum(entry["size"] for entry in body["files"].values())
    name = keys.StepKey(key.step, body["manifest_hash"][:12], body["session"], size).manifest
    (storage.folder / "sums" / name).write_text(canonical.pretty(sealed))


def test_a_manifest_whose_paths_leave_the_run_restores_nothing(
    lost: Any, restore: Any, made: Any, storage: Any, root: Path
) -> None:
    def change(body: dict[str, Any]) -> None:
        body["files"]["../../../../planted"] = body["files"].pop("model/weights")

    forge(storage, change)
    with pytest.raises(DamagedError, match="leaves its folder"):
        restore()
    assert not list(root.rglob("planted"))
    assert not made.run.path.exists()


def test_a_manifest_of_other_files_restores_nothing(
    lost: Any, restore: Any, made: Any, storage: Any
) -> None:
    def change(body: dict[str, Any]) -> None:
        body["files"]["model/extra"] = body["files"]["model/weights"]

    forge(storage, change)
    with pytest.raises(DamagedError, match="does not verify"):
        restore()
    assert not made.run.path.exists()


def test_a_manifest_of_another_run_restores_nothing(
    lost: Any, restore: Any, made: Any, storage: Any
) -> None:
    forge(storage, lambda body: body.update(run_id="another"))
    with pytest.raises(DamagedError, match="of another run"):
        restore()
    assert not made.run.path.exists()


def test_killed_at_any_file_operation_the_same_command_ends_it(
    lost: Any, restore: Any, made: Any, root: Path
) -> None:
    num_calls = num_operations(restore)
    expected = tree(made.run.path)
    assert expected.items() <= lost.items()
    assert num_calls > 60
    for number in range(num_calls):
        shutil.rmtree(made.run.path)
        shutil.rmtree(root / "archive", ignore_errors=True)
        with dying_at(number), pytest.raises(KeyboardInterrupt):
            restore()
        restore()
        assert tree(made.run.path) == expected, number
        assert not list((root / "archive" / "restoring").iterdir()), number


def test_what_was_fetched_is_not_fetched_again(
    lost: Any, restore: Any, spy: Any, made: Any
) -> None:
    def die(operation: str, path: Path) -> None:
        if operation == "rename" and path == made.run.path:
            raise KeyboardInterrupt

    with files.watched(die), pytest.raises(KeyboardInterrupt):
        restore("all", spy)
    spy.calls.clear()
    restore("all", spy)
    assert all(key.startswith("sums/manifests/") for call, key in spy.calls if call == "read")


def test_a_file_that_broke_off_goes_on_where_it_was(
    lost: Any, restore: Any, spy: Any, made: Any, root: Path
) -> None:
    newest = catalog.read(spy, "sums").steps[-1]
    entry = next(
        one for one in catalog.fetch(spy, "sums", newest).entries if one.path == "model/weights"
    )
    folder = root / "archive" / "restoring" / f"sums-{made.id[:12]}"
    folder.mkdir(parents=True)
    (folder / f"{entry.seal.sha256}.part").write_bytes(b"123")
    starts = []
    real = type(spy).read

    def read(self: Any, key: str, start: int = 0) -> Any:
        starts.append((key.rsplit("/", 1)[1], start))
        return real(self, key, start)

    spy.__class__ = type("Noting", (type(spy),), {"read": read})
    restore("latest", spy)
    assert ("weights", 3) in starts
    assert (made.run.step(30) / "model" / "weights").read_bytes() == b"12345"


def test_a_part_with_other_bytes_is_fetched_anew(
    lost: Any, restore: Any, storage: Any, made: Any, root: Path
) -> None:
    newest = catalog.read(storage, "sums").steps[-1]
    entry = next(
        one for one in catalog.fetch(storage, "sums", newest).entries if one.path == "model/weights"
    )
    folder = root / "archive" / "restoring" / f"sums-{made.id[:12]}"
    folder.mkdir(parents=True)
    (folder / f"{entry.seal.sha256}.part").write_bytes(b"999")
    restore()
    assert (made.run.step(30) / "model" / "weights").read_bytes() == b"12345"


def test_two_at_once_are_one_and_a_refusal(lost: Any, restore: Any, made: Any, root: Path) -> None:
    import fcntl

    folder = root / "archive" / "restoring" / f"sums-{made.id[:12]}"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(LockedError, match="being restored by another"):
        restore()
    os.close(descriptor)
    restore()


def test_a_model_alone_comes_back_beside_the_runs(
    lost: Any, restore: Any, root: Path, storage: Any, made: Any
) -> None:
    target = Restorer(storage, root, "sums").restore_model(20)
    assert tree(target) == {"model/weights": b"12345"}
    assert not made.run.path.exists()
    assert Restorer(storage, root, "sums").restore_model(20) == target
    (target / "model" / "weights").write_bytes(b"other")
    with pytest.raises(RunExistsError):
        Restorer(storage, root, "sums").restore_model(20)
    Restorer(storage, root, "sums", is_forced=True).restore_model(20)
    assert tree(target) == {"model/weights": b"12345"}


def test_checkpoints_whose_records_never_arrived_are_told(
    lost: Any, restore: Any, storage: Any, made: Any
) -> None:
    for key in catalog.read(storage, "sums").records:
        (storage.folder / "sums" / key.manifest).unlink()
    with pytest.raises(DamagedError, match="not its records"):
        restore()


def test_evaluations_come_back_and_those_that_are_here_stay(
    made: Any, root: Path, storage: Any
) -> None:
    folder = root / "eval_runs" / "sums_gsm8k"
    (folder / "step_10_gsm8k").mkdir(parents=True)
    (folder / "eval_config.yaml").write_text("a: 1\n")
    (folder / "step_10_gsm8k" / "completions.jsonl").write_text("{}\n")
    (folder / "lock").write_text("")
    Pusher(made.run, root, storage, {"sums_gsm8k": folder}).push()
    (folder / "eval_config.yaml").write_text("a: 2\n")
    shutil.rmtree(folder / "step_10_gsm8k")
    restored = Restorer(storage, root, "sums").restore("latest")
    assert tree(folder) == {
        "eval_config.yaml": b"a: 2\n",
        "step_10_gsm8k/completions.jsonl": b"{}\n",
        "lock": b"",
    }
    assert "other contents" in restored.notes[0]
    Restorer(storage, root, "sums", as_name="again").restore("latest")
    assert (root / "eval_runs" / "again_gsm8k" / "eval_config.yaml").read_text() == "a: 1\n"


def test_a_restore_notes_what_this_machine_knows(lost: Any, restore: Any, made: Any) -> None:
    restore(20)
    assert [(note.event, note.step) for note in archived.notes(made.run)] == [("restored", 20)]


def test_a_killed_restore_leaves_no_half_of_an_evaluation(
    made: Any, root: Path, storage: Any
) -> None:
    folder = root / "eval_runs" / "sums_gsm8k"
    folder.mkdir(parents=True)
    (folder / "completions.jsonl").write_bytes(b"{}\n")
    Pusher(made.run, root, storage, {"sums_gsm8k": folder}).push()
    shutil.rmtree(folder)

    def die(operation: str, path: Path) -> None:
        if operation == "write" and path.parent == folder:
            raise KeyboardInterrupt

    with files.watched(die), pytest.raises(KeyboardInterrupt):
        Restorer(storage, root, "sums").restore("latest")
    assert not (folder / "completions.jsonl").exists()
    assert Restorer(storage, root, "sums").restore("latest").notes == ()
    assert tree(folder) == {"completions.jsonl": b"{}\n"}


@pytest.fixture
def followed(
    make_run: Callable[..., RunMaker], root: Path, storage: Any, tmp_path: Path
) -> tuple[RunMaker, RunDir, Callable[[], Restored]]:
    """A run whose first session goes on after another machine restored it at step 10."""
    made = make_run("sums")
    made.opens()
    made.starts()
    made.steps(1, 10)
    made.saves(10)
    Pusher(made.run, root, storage).push()
    elsewhere = tmp_path / "elsewhere"

    def follow() -> Restored:
        return Restorer(storage, elsewhere, "sums").restore("latest")

    return made, follow().run, follow


def test_records_follow_a_session_that_goes_on_elsewhere(
    followed: Any, root: Path, storage: Any
) -> None:
    made, there, follow = followed
    made.steps(11, 20)
    made.journals("group")
    made.saves(20)
    Pusher(made.run, root, storage).push()
    assert follow().new_steps == (20,)
    assert there.sessions.read_bytes() == made.run.sessions.read_bytes()
    assert there.train_log.read_bytes() == made.run.train_log.read_bytes()
    assert there.journal.read_bytes() == made.run.journal.read_bytes()


def kills_of(act: Callable[[], object], folder: Path, before: Path) -> Iterator[int]:
    """Break something off at each operation in turn, and do it again; yields behind each."""
    shutil.copytree(folder, before, symlinks=True)
    for number in range(num_operations(act)):
        shutil.rmtree(folder)
        shutil.copytree(before, folder, symlinks=True)
        with dying_at(number), pytest.raises(KeyboardInterrupt):
            act()
        act()
        yield number


def test_records_follow_a_session_after_any_kill(
    followed: Any, root: Path, storage: Any, tmp_path: Path
) -> None:
    made, there, follow = followed
    made.steps(11, 20)
    made.journals("group")
    Pusher(made.run, root, storage).push()
    for number in kills_of(follow, there.path, tmp_path / "before"):
        assert there.train_log.read_bytes() == made.run.train_log.read_bytes(), number
        assert there.journal.read_bytes() == made.run.journal.read_bytes(), number


def test_a_log_that_is_longer_here_stays(followed: Any) -> None:
    _, there, follow = followed
    with there.train_log.open("ab") as file:
        file.write(b"{}\n")
    longer = there.train_log.read_bytes()
    follow()
    assert there.train_log.read_bytes() == longer


def test_a_run_that_is_gone_on_with_while_it_is_restored_is_left_alone(
    followed: Any, root: Path, storage: Any, spy: Any, tmp_path: Path
) -> None:
    made, there, _ = followed
    made.steps(11, 20)
    made.saves(20)
    made.ends(1, step=20, outcome="stopped")
    Pusher(made.run, root, storage).push()

    def go_on(call: str, key: str) -> None:
        if call == "read" and key.endswith("model/weights"):
            with there.sessions.open("ab") as file:
                file.write(b'{"event":"open"}\n')

    spy.before = go_on
    with pytest.raises(RunExistsError, match="gone on with meanwhile"):
        Restorer(spy, tmp_path / "elsewhere", "sums").restore("latest")
    assert checkpoints.list_steps(there) == [10]


def test_a_model_is_of_the_present_course_where_there_is_a_choice(
    made: Any, root: Path, storage: Any, push: Any
) -> None:
    push()
    for step in (20, 30):
        shutil.rmtree(made.run.step(step))
    made.starts(2, from_step=10)
    for weights in (b"a", b"b", b"c"):  # in whatever order their hashes are
        made.saves(20, session=2, weights=weights)
        push()
        newest = Restorer(storage, root, "sums", weights.decode()).restore_model(None)
        assert tree(newest) == {"model/weights": weights}
        one = Restorer(storage, root, "sums", f"20{weights.decode()}").restore_model(20)
        assert tree(one) == {"model/weights": weights}
        for key in catalog.read(storage, "sums").steps:
            if key.session == 2:
                (storage.folder / "sums" / key.manifest).unlink()
        shutil.rmtree(made.run.step(20))
    left = Restorer(storage, root, "sums", "left").restore_model(30)
    assert tree(left) == {"model/weights": b"12345"}


def test_a_step_here_that_cannot_be_judged_is_not_put_aside(
    restore: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoints.manifest.read

    def read(folder: Path) -> Any:
        if folder == made.run.step(30):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(checkpoints.manifest, "read", read)
    with pytest.raises(StorageError, match="cannot be judged"):
        restore()
    assert made.run.step(30).is_dir()


def test_what_is_moved_aside_within_a_second_has_names_of_its_own(
    lost: Any, restore: Any, root: Path, storage: Any
) -> None:
    for content in ("a", "b", "c"):
        target = Restorer(storage, root, "sums", is_forced=True).restore_model(20)
        (target / "model" / "weights").write_text(content)
    aside = [path.read_text() for path in (root / "archive" / "replaced").rglob("weights")]
    assert sorted(aside) == ["a", "b"]


def newest_manifest(storage: Any) -> Path:
    newest = catalog.read(storage, "sums").newest_records
    assert newest is not None
    return storage.folder / "sums" / newest.manifest


def objects_of(storage: Any, number: int) -> dict[str, Path]:
    """Return the objects of an archive's records by path."""
    key = catalog.read(storage, "sums").records[number]
    entries = catalog.fetch(storage, "sums", key).entries
    return {entry.path: storage.folder / "sums" / entry.key for entry in entries}


@pytest.fixture
def archived_twice(restore: Any, made: Any, push: Any) -> bytes:
    """The run was pushed, went on and was pushed again, and is gone; its log at the first push."""
    log: bytes = made.run.train_log.read_bytes()
    gone_on(made, 2, 31, 40)
    push()
    shutil.rmtree(made.run.path)
    return log


@pytest.mark.parametrize("what", ["an object", "the manifest", "all of it"])
def test_where_the_newest_records_are_damaged_those_of_the_push_before_are_taken(
    what: str, archived_twice: bytes, restore: Any, made: Any, storage: Any, spy: Any
) -> None:
    newest = newest_manifest(storage)
    if what == "an object":
        objects_of(storage, -1)["run/logs/sessions.jsonl"].unlink()
    elif what == "the manifest":
        newest.write_bytes(b"{}")
    else:  # it goes when it was listed
        spy.before = lambda call, _key: newest.unlink(missing_ok=True) if call == "read" else None
    restored = restore(where=spy)
    assert restored.new_steps == (30,)
    assert made.run.train_log.read_bytes() == archived_twice
    assert restored.notes[0].startswith("the newest records in the archive are damaged")
    assert "--repair" in restored.notes[0]
    assert "has step 40 too, but no records of it" in restored.notes[1]


def test_records_that_all_lack_an_object_restore_nothing_and_name_what_helps(
    archived_twice: bytes, restore: Any, made: Any, storage: Any, root: Path
) -> None:
    objects_of(storage, -1)["run/config.yaml"].unlink()
    with pytest.raises(DamagedError, match=r"config.yaml is not there; .*--repair") as caught:
        restore()
    assert "another step" not in str(caught.value)
    assert not made.run.path.exists()
    assert tree(Restorer(storage, root, "sums").restore_model(40)) == {"model/weights": b"12345"}


def test_what_a_run_can_do_without_is_left_out_and_said(
    made: Any, root: Path, storage: Any
) -> None:
    folder = root / "eval_runs" / "sums_gsm8k"
    (folder / "step_10_gsm8k").mkdir(parents=True)
    (folder / "eval_config.yaml").write_text("a: 1\n")
    (folder / "step_10_gsm8k" / "completions.jsonl").write_text("{}\n")
    (folder / "step_10_gsm8k" / "metrics.csv").write_text("a\n")
    made.run.tensorboard.mkdir(exist_ok=True)
    (made.run.tensorboard / "events").write_bytes(b"1")
    Pusher(made.run, root, storage, {"sums_gsm8k": folder}).push()
    found = objects_of(storage, -1)
    lost = ["eval_runs/sums_gsm8k/step_10_gsm8k/metrics.csv", "run/tensorboard/events"]
    found[lost[0]].unlink()
    found[lost[1]].write_bytes(b"2")
    expected = tree(made.run.path)
    shutil.rmtree(made.run.path)
    shutil.rmtree(folder)
    restored = Restorer(storage, root, "sums").restore("all")
    assert [note.split(" ")[0] for note in restored.notes] == lost
    assert tree(folder) == {
        "eval_config.yaml": b"a: 1\n", "step_10_gsm8k/completions.jsonl": b"{}\n"
    }  # fmt: skip
    assert tree(made.run.path) == {path: expected[path] for path in expected
                                   if path != "tensorboard/events"}  # fmt: skip


@pytest.fixture
def uncovered(archived_twice: bytes, storage: Any) -> None:
    """The second push was broken off: step 40 is there and the records end at 30."""
    newest_manifest(storage).unlink()


def test_the_newest_step_whose_records_came_is_restored_and_the_other_is_said(
    uncovered: None, restore: Any, made: Any
) -> None:
    restored = restore()
    assert restored.new_steps == (30,)
    (note,) = restored.notes
    assert "has step 40 too, but no records of it" in note
    assert restore("all").notes == restored.notes
    assert checkpoints.list_steps(made.run) == [10, 20, 30]


def test_a_step_whose_records_never_came_is_not_put_into_a_run(
    uncovered: None, restore: Any, made: Any, root: Path, storage: Any
) -> None:
    with pytest.raises(UsageError, match=r"no records of it.*--model-only.*10, 20, 30"):
        restore(40)
    assert not made.run.path.exists()
    assert tree(Restorer(storage, root, "sums").restore_model(40)) == {"model/weights": b"12345"}


def test_a_step_that_the_log_here_covers_comes_back_although_the_archived_one_ends_before(
    restore: Any, made: Any, push: Any, storage: Any
) -> None:
    gone_on(made, 2, 31, 40)
    push()
    newest_manifest(storage).unlink()
    shutil.rmtree(made.run.step(40))
    assert restore(40).new_steps == (40,)


def test_groups_that_a_session_finished_elsewhere_come_into_an_older_copy_after_any_kill(
    followed: Any, root: Path, storage: Any, tmp_path: Path
) -> None:
    made, there, follow = followed
    made.journals("group")
    made.run.tensorboard.mkdir(exist_ok=True)
    (made.run.tensorboard / "events").write_bytes(b"1")
    Pusher(made.run, root, storage).push()
    for number in kills_of(follow, there.path, tmp_path / "before"):
        assert there.journal.read_bytes() == made.run.journal.read_bytes(), number
        assert (there.tensorboard / "events").read_bytes() == b"1", number
