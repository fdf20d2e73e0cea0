"""Runs under a root: made whole or not at all, and found by name or by activity."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.calls import recorded
from support.dead import left_by_the_dead, of_process

from rlrun import __version__
from rlrun.errors import DamagedError, RunExistsError, RunNotFoundError, UsageError
from rlrun.runs import files, leftovers, lock, pins, store
from rlrun.runs.layout import RunDir
from rlrun.runs.store import NewRun

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def create(root: Path, name: str | None, num_threads: int | None = 2) -> RunDir:
    return store.create_run(root, NewRun("seed: 7\n", num_threads), name=name, now=NOW)


def age(run: RunDir, *, last_active: float) -> None:
    """Make everything in the run as old as that."""
    for path in (*run.path.rglob("*"), run.path):
        os.utime(path, (last_active, last_active))


def test_a_new_run_has_its_configuration_its_identity_and_its_folders(tmp_path: Path) -> None:
    run = create(tmp_path, "sums")
    assert run.path == tmp_path / "training_runs" / "sums"
    assert run.config.read_text() == "seed: 7\n"
    identity = store.read_identity(run)
    assert len(identity.id) == 32
    assert identity.created == "2026-01-31T12:00:00+00:00"
    assert (identity.rlrun_version, identity.num_threads) == (__version__, 2)
    assert identity.parent is None
    for folder in (run.training_state, run.logs, run.segments, run.tensorboard):
        assert folder.is_dir()


def test_a_run_is_written_aside_and_appears_with_one_rename(tmp_path: Path) -> None:
    with recorded() as calls:
        run = create(tmp_path, "sums")
    assert calls[-2:] == ["rename sums", "fsync training_runs"]
    assert [call for call in calls if call.endswith(" sums")] == ["rename sums"]
    assert (
        calls.index("fsync run.json")
        < calls.index(f"fsync {leftovers.unfinished(run.path).name}")
        < calls.index("rename sums")
    )


def test_what_a_killed_creation_left_is_removed(tmp_path: Path) -> None:
    leftover = left_by_the_dead(tmp_path / "training_runs" / "sums")
    (leftover / "logs").mkdir(parents=True)
    (leftover / "config.yaml").write_text("seed: 1\n")
    run = create(tmp_path, "sums")
    assert run.config.read_text() == "seed: 7\n"
    assert not leftover.exists()


def test_what_another_process_is_creating_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "training_runs"
    underway = of_process(folder / "other", os.getppid())
    underway.mkdir(parents=True)
    create(tmp_path, "sums")
    assert underway.is_dir()


def test_a_name_that_another_process_takes_meanwhile_is_refused_or_numbered(
    tmp_path: Path,
) -> None:
    def take_it(operation: str, path: Path) -> None:
        is_last_moment = operation == "rename" and path.name == "sums"
        if is_last_moment or (operation == "rename" and path.name == "run_2026-01-31_12-00-00"):
            (path / "logs").mkdir(parents=True, exist_ok=True)

    with files.watched(take_it):
        with pytest.raises(RunExistsError):
            create(tmp_path, "sums")
        assert create(tmp_path, None).name == "run_2026-01-31_12-00-00_2"
    assert not list((tmp_path / "training_runs").glob(".*"))


def test_every_run_has_its_own_id(tmp_path: Path) -> None:
    first, second = create(tmp_path, "a"), create(tmp_path, "b")
    assert store.read_identity(first).id != store.read_identity(second).id


def test_without_a_number_a_run_gets_the_threads_this_process_may_use(tmp_path: Path) -> None:
    run = create(tmp_path, "sums", num_threads=None)
    assert store.read_identity(run).num_threads == len(os.sched_getaffinity(0))


def test_a_taken_name_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    create(tmp_path, "sums")
    with pytest.raises(RunExistsError) as caught:
        create(tmp_path, "sums")
    assert str(caught.value) == (
        f"run 'sums' already exists in {tmp_path / 'training_runs'}; continue it with "
        "'rlrun resume sums', or choose another --name"
    )


def test_a_name_that_is_none_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        create(tmp_path, "../elsewhere")
    assert store.list_runs(tmp_path) == []


def test_a_run_without_a_name_is_called_after_the_time_and_numbered_when_that_is_taken(
    tmp_path: Path,
) -> None:
    names = [create(tmp_path, None).name for _ in range(3)]
    assert names == [
        "run_2026-01-31_12-00-00",
        "run_2026-01-31_12-00-00_2",
        "run_2026-01-31_12-00-00_3",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parent": null}', '{"parent": {"x": 1}}'])
def test_an_identity_that_cannot_be_read_is_damage(text: str, run: RunDir) -> None:
    run.identity.write_text(text)
    with pytest.raises(DamagedError, match=r"run\.json cannot be read .*; restore it from a copy"):
        store.read_identity(run)


def test_an_absent_identity_is_damage(run: RunDir) -> None:
    run.identity.unlink()
    with pytest.raises(DamagedError, match=r"run\.json cannot be read"):
        store.read_identity(run)


def test_a_parent_is_read_back(run: RunDir) -> None:
    text = run.identity.read_text().replace(
        '"parent": null', '"parent": {"run_id": "ab", "name": "old", "step": 4}'
    )
    run.identity.write_text(text)
    assert store.read_identity(run).parent == store.Parent("ab", "old", 4)


def test_runs_are_listed_by_name_and_other_folders_are_not(tmp_path: Path) -> None:
    for name in ("b", "a"):
        create(tmp_path, name)
    folder = tmp_path / "training_runs"
    (folder / "older" / "training_state").mkdir(parents=True)  # another tool's, same tree
    (folder / "notes").mkdir()
    (folder / ".c.tmp" / "training_state").mkdir(parents=True)
    (folder / "file").touch()
    assert [run.name for run in store.list_runs(tmp_path)] == ["a", "b", "older"]


def test_a_root_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert store.list_runs(tmp_path / "absent") == []


def test_a_run_is_found_by_its_name(tmp_path: Path) -> None:
    create(tmp_path, "a")
    assert store.find_run(tmp_path, "a").name == "a"


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for name in ("sums-easy", "gsm8k"):
        create(tmp_path, name)
    with pytest.raises(
        RunNotFoundError, match=r"no run 'sum-easy' in .*; did you mean 'sums-easy'"
    ):
        store.find_run(tmp_path, "sum-easy")
    with pytest.raises(RunNotFoundError, match="'rlrun list' shows those that are"):
        store.find_run(tmp_path, "zzz")


def test_without_a_name_the_most_recently_active_run_is_meant(tmp_path: Path) -> None:
    first, second = create(tmp_path, "a"), create(tmp_path, "b")
    age(first, last_active=2000.0)
    age(second, last_active=1000.0)
    assert store.find_run(tmp_path, None) == first
    for path in (second.journal, second.train_log, second.sessions, second.lock):
        path.touch()
        assert store.find_run(tmp_path, None) == second
        path.unlink()
        age(second, last_active=1000.0)


def test_tidying_and_pinning_are_no_activity(tmp_path: Path) -> None:
    first, second = create(tmp_path, "a"), create(tmp_path, "b")
    age(first, last_active=2000.0)
    age(second, last_active=1000.0)
    held = lock.Lock(second, lambda: lock.TIDYING, heartbeat_seconds=None)
    assert store.find_run(tmp_path, None) == first
    held.release()
    pins.write_pin(second, 3)
    assert store.find_run(tmp_path, None) == first


def test_runs_that_were_active_together_are_told_apart_by_name(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        age(create(tmp_path, name), last_active=1000.0)
    assert store.find_run(tmp_path, None).name == "c"


def test_without_any_run_the_way_to_start_one_is_shown(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="start one with 'rlrun train'"):
        store.find_run(tmp_path, None)


def test_another_configuration_replaces_the_old_one_whole(run: RunDir) -> None:
    with recorded() as calls:
        store.update_config(run, "seed: 8\n")
    assert run.config.read_text() == "seed: 8\n"
    assert calls[-2:] == ["rename config.yaml", "fsync sums"]


def test_a_file_that_goes_between_two_looks_at_a_run_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that ends removes its lock file, and one that seals renames its journal."""
    run = create(tmp_path, "sums")
    for path in (run.lock, run.journal):
        path.touch()
    exists = Path.exists

    def exists_no_more(path: Path) -> bool:
        is_there = exists(path)
        if path in (run.lock, run.journal):
            path.unlink(missing_ok=True)
        return is_there

    monkeypatch.setattr(Path, "exists", exists_no_more)
    assert store.find_run(tmp_path, None) == run
    assert store.last_active(run) > 0
    assert store.is_untouched(run)
