"""A checkpoint is published whole or not at all, and the newest that verifies is found."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.calls import recorded

from rlrun.errors import DamagedError, RunNotFoundError, StorageError
from rlrun.runs import checkpoints, manifest, pins
from rlrun.runs.layout import RunDir

RUN_ID = "0123456789abcdef"
CONTENTS = {"optimizer.pt": b"moments", "model/weights": b"weights", "model/config": b"{}"}


def publish(run: RunDir, step: int, contents: Mapping[str, bytes] = CONTENTS, **info: Any) -> None:
    checkpoints.publish(run, step, contents, {"run_id": RUN_ID, "step": step, "session": 1, **info})


def inspect(run: RunDir, step: int, *, with_hashes: bool = True) -> checkpoints.Step:
    return checkpoints.inspect(run, step, run_id=RUN_ID, with_hashes=with_hashes)


def newest(run: RunDir) -> tuple[int | None, list[int]]:
    """Return the newest valid step, and those passed over."""
    step, passed = checkpoints.newest_valid(run, run_id=RUN_ID, with_hashes=True)
    return step and step.step, [other.step for other in passed]


def damage(run: RunDir, step: int) -> None:
    path = run.step(step) / "optimizer.pt"
    path.write_bytes(path.read_bytes().swapcase())


def make_foreign(run: RunDir, step: int) -> None:
    run.step(step).mkdir()
    (run.step(step) / "weights").write_bytes(b"theirs")


def contents_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


# ---- publish


def test_a_published_step_is_valid_and_holds_what_was_given(run: RunDir) -> None:
    publish(run, 3, seconds=1.5)
    found = inspect(run, 3)
    assert found.is_valid
    assert found.manifest is not None
    assert found.manifest["seconds"] == 1.5
    files = contents_of(run.step(3))
    assert files.pop(manifest.FILE_NAME).endswith(b"}\n")
    assert files == CONTENTS


def test_the_calls_of_a_save_are_in_the_order_that_the_design_gives(run: RunDir) -> None:
    with recorded() as calls:
        publish(run, 3)
    written = ["model/config", "model/weights", "optimizer.pt", manifest.FILE_NAME]
    names = [Path(name).name for name in written]
    assert calls == [
        "mkdir .step_3.tmp",
        "mkdir model",
        *(f"{call} {name}" for name in names for call in ("open", "write", "fsync", "close")),
        "fsync model",
        "fsync .step_3.tmp",
        "rename step_3",
        "fsync training_state",
        "symlink .step_latest.tmp",
        "rename step_latest",
        "fsync training_state",
    ]


def test_an_unfinished_folder_of_an_earlier_attempt_is_not_part_of_the_step(run: RunDir) -> None:
    run.unfinished_step(3).mkdir()
    (run.unfinished_step(3) / "half").write_bytes(b"x")
    publish(run, 3)
    assert inspect(run, 3).is_valid


def test_a_valid_step_is_never_written_again(run: RunDir) -> None:
    publish(run, 3)
    before = contents_of(run.step(3))
    with recorded() as calls:
        publish(run, 3, {"optimizer.pt": b"another"}, seconds=9.0)
    assert contents_of(run.step(3)) == before
    assert not any(call.startswith("rename") for call in calls)
    assert not run.unfinished_step(3).exists()


def test_an_invalid_step_is_moved_aside_and_never_removed(run: RunDir) -> None:
    for attempt in range(2):
        publish(run, 3, seconds=attempt)
        damage(run, 3)
    publish(run, 3)
    assert inspect(run, 3).is_valid
    moved = sorted(path.name for path in run.quarantine.iterdir() if path.is_dir())
    assert moved == ["step_3.0", "step_3.1"]
    assert contents_of(run.quarantine / "step_3.1")["optimizer.pt"] == b"MOMENTS"


def test_an_invalid_step_finds_a_free_name_when_somebody_tidied(run: RunDir) -> None:
    for name in ("step_3.1", "step_2.0"):
        (run.quarantine / name / "kept").mkdir(parents=True)
    for _ in range(2):
        publish(run, 3)
        damage(run, 3)
    publish(run, 3)
    moved = sorted(path.name for path in run.quarantine.iterdir() if path.is_dir())
    assert moved == ["step_2.0", "step_3.0", "step_3.1", "step_3.2"]
    assert (run.quarantine / "step_3.1" / "kept").is_dir()


def test_an_invalid_step_is_moved_only_when_the_new_one_is_durable(run: RunDir) -> None:
    publish(run, 3)
    damage(run, 3)
    with recorded() as calls:
        publish(run, 3)
    moves = [
        calls.index(call) for call in ("fsync .step_3.tmp", "rename step_3.0", "rename step_3")
    ]
    assert moves == sorted(moves)


def test_a_foreign_step_is_neither_overwritten_nor_moved(run: RunDir) -> None:
    make_foreign(run, 3)
    with pytest.raises(StorageError, match=r"step_3 was written by another tool .* move it else"):
        publish(run, 3)
    assert contents_of(run.step(3)) == {"weights": b"theirs"}


def test_a_step_of_a_later_format_is_neither_overwritten_nor_moved(run: RunDir) -> None:
    run.step(3).mkdir()
    (run.step(3) / manifest.FILE_NAME).write_text('{"format_version": 2}')
    with pytest.raises(StorageError, match="stands in the way of a checkpoint"):
        publish(run, 3)


def test_a_save_without_room_is_refused_before_any_call(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(map(len, CONTENTS.values()))  # 16 bytes: 16.8 with a little to spare
    for free in (0, needed, 16):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        with recorded() as calls, pytest.raises(StorageError) as caught:
            publish(run, 3)
        assert calls == []
        assert "then 'rlrun resume sums' goes on without generating anything again" in str(
            caught.value
        )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=17))
    publish(run, 3)


def test_the_refusal_for_room_names_what_is_needed_and_what_there_is(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_999_000_000))
    with pytest.raises(
        StorageError, match=r"needs 2,000 MB and .*training_state has 1,999 MB free"
    ):
        checkpoints.check_space(run, 2_000_000_000)


# ---- what a folder is worth


def test_a_step_under_another_number_is_not_that_step(run: RunDir) -> None:
    publish(run, 3)
    run.step(3).rename(run.step(4))
    assert inspect(run, 4).problem == "it belongs to step 3 of run 01234567"


def test_a_step_of_another_run_is_not_valid_here(run: RunDir) -> None:
    publish(run, 3)
    found = checkpoints.inspect(run, 3, run_id="f" * 16, with_hashes=True)
    assert found.problem == "it belongs to step 3 of run 01234567"
    assert not found.is_foreign


def test_without_hashes_a_flipped_bit_is_not_looked_for(run: RunDir) -> None:
    publish(run, 3)
    damage(run, 3)
    assert inspect(run, 3, with_hashes=False).is_valid
    assert inspect(run, 3).problem == "optimizer.pt does not match its SHA-256"


def test_an_extra_a_missing_and_a_resized_file_are_named(run: RunDir) -> None:
    for step in (1, 2, 3):
        publish(run, step)
    (run.step(1) / "model" / "extra").touch()
    (run.step(2) / "model" / "config").unlink()
    (run.step(3) / "optimizer.pt").write_bytes(b"moment")
    assert inspect(run, 1).problem == "model/extra is not in the manifest"
    assert inspect(run, 2).problem == "model/config is missing"
    assert inspect(run, 3).problem == "optimizer.pt has 6 bytes, not 7"


def test_a_file_behind_a_link_is_missing(run: RunDir) -> None:
    publish(run, 1)
    publish(run, 2)
    path = run.step(2) / "optimizer.pt"
    path.unlink()
    path.symlink_to("../step_1/optimizer.pt")
    assert inspect(run, 2).problem == "optimizer.pt is missing"


def test_only_folders_named_after_a_step_are_listed_in_order(run: RunDir) -> None:
    for step in (10, 9, 0):
        publish(run, step)
    for name in ("step_01", ".step_3.tmp", "notes"):
        (run.training_state / name).mkdir()
    assert checkpoints.list_steps(run) == [0, 9, 10]


def test_a_run_without_a_training_state_has_no_steps(run: RunDir) -> None:
    run.training_state.rmdir()
    assert checkpoints.list_steps(run) == []
    assert newest(run) == (None, [])


# ---- choosing


def test_the_newest_valid_step_is_chosen_and_newer_invalid_ones_are_told(run: RunDir) -> None:
    for step in (2, 4, 9, 10):
        publish(run, step)
    damage(run, 10)
    damage(run, 9)
    damage(run, 2)
    assert newest(run) == (4, [10, 9])


def test_a_foreign_step_is_passed_over_without_a_word(run: RunDir) -> None:
    publish(run, 2)
    make_foreign(run, 3)
    assert newest(run) == (2, [])


def test_without_a_valid_step_there_is_none(run: RunDir) -> None:
    publish(run, 2)
    damage(run, 2)
    make_foreign(run, 1)
    assert newest(run) == (None, [2])


def test_choosing_changes_nothing(run: RunDir) -> None:
    publish(run, 2)
    publish(run, 3)
    damage(run, 3)
    with recorded() as calls:
        newest(run)
    assert calls == []


def test_a_step_that_is_required_must_be_there(run: RunDir) -> None:
    publish(run, 2)
    publish(run, 4)
    with pytest.raises(RunNotFoundError, match="run 'sums' has no step 3; it has 2, 4"):
        checkpoints.require(run, 3, run_id=RUN_ID)
    assert checkpoints.require(run, 4, run_id=RUN_ID).step == 4


def test_a_run_without_steps_says_so(run: RunDir) -> None:
    with pytest.raises(RunNotFoundError, match="it has none"):
        checkpoints.require(run, 3, run_id=RUN_ID)


def test_a_step_that_is_required_must_verify(run: RunDir) -> None:
    publish(run, 3)
    damage(run, 3)
    with pytest.raises(DamagedError, match=r"does not verify: optimizer\.pt .* '--from latest'"):
        checkpoints.require(run, 3, run_id=RUN_ID)


# ---- the link, and leftovers


def link_of(run: RunDir) -> str:
    return str(run.latest_link.readlink())


def test_the_link_is_relative_and_points_at_the_last_step_published(run: RunDir) -> None:
    publish(run, 2)
    publish(run, 3)
    assert link_of(run) == "step_3"
    assert (run.latest_link / "optimizer.pt").read_bytes() == b"moments"


@pytest.mark.parametrize("target", [None, "step_99", "/tmp", "step_2"])
def test_a_link_that_is_missing_dangling_foreign_or_behind_is_mended(
    target: str | None, run: RunDir
) -> None:
    publish(run, 2)
    publish(run, 3)
    run.latest_link.unlink()
    if target is not None:
        run.latest_link.symlink_to(target)
    checkpoints.repair_link(run, 3, session=1)
    assert link_of(run) == "step_3"


def test_a_folder_in_the_links_place_is_moved_aside(run: RunDir) -> None:
    """A copy made without links has the newest step twice."""
    publish(run, 3)
    run.latest_link.unlink()
    shutil.copytree(run.step(3), run.latest_link)
    checkpoints.repair_link(run, 3, session=1)
    assert link_of(run) == "step_3"
    assert contents_of(run.quarantine / "step_latest.0")["optimizer.pt"] == b"moments"


def test_a_link_that_is_right_is_left_alone(run: RunDir) -> None:
    publish(run, 3)
    with recorded() as calls:
        checkpoints.repair_link(run, 3, session=1)
    assert calls == []


def test_a_valid_step_that_is_kept_gets_its_link_back(run: RunDir) -> None:
    publish(run, 3)
    run.latest_link.unlink()
    publish(run, 3)
    assert link_of(run) == "step_3"


def test_without_a_step_there_is_no_link(run: RunDir) -> None:
    checkpoints.repair_link(run, None, session=1)
    run.latest_link.symlink_to("step_9")
    checkpoints.repair_link(run, None, session=1)
    assert not run.latest_link.is_symlink()


def test_leftovers_are_removed_and_nothing_else(run: RunDir) -> None:
    publish(run, 3)
    kept = contents_of(run.path)
    (run.unfinished_step(4) / "model").mkdir(parents=True)
    (run.unfinished_step(4) / "model" / "half").write_bytes(b"x")
    (run.training_state / ".step_latest.tmp").symlink_to("step_3")
    (run.path / ".config.yaml.tmp").write_bytes(b"half")
    run.abandoned(1).mkdir(parents=True)
    (run.abandoned(1) / ".ratios.jsonl.tmp").write_bytes(b"half")
    (run.abandoned(1) / "ratios.jsonl").write_bytes(b"whole")
    checkpoints.remove_leftovers(run)
    assert contents_of(run.path) == {**kept, "logs/abandoned/session_1/ratios.jsonl": b"whole"}
    assert [path for path in run.path.rglob("*") if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("is_pinned", "is_whole", "is_there", "comes_back"),
    [
        (True, True, False, True),
        (False, True, False, False),
        (True, False, False, False),  # its files were being unlinked before the pin came
        (True, True, True, False),  # it was saved again since
    ],
)
def test_a_step_that_was_being_removed_comes_back_only_whole_and_pinned(
    is_pinned: bool, is_whole: bool, is_there: bool, comes_back: bool, run: RunDir
) -> None:
    publish(run, 3)
    run.step(3).rename(run.removed_step(3))
    if not is_whole:
        (run.removed_step(3) / "optimizer.pt").unlink()
    if is_there:
        publish(run, 3, seconds=2.5)
    if is_pinned:
        pins.write_pin(run, 3)
    checkpoints.remove_leftovers(run)
    assert not run.removed_step(3).exists()
    assert inspect(run, 3).is_valid == (comes_back or is_there)


def test_the_size_of_a_folder_is_that_of_its_files(run: RunDir) -> None:
    publish(run, 3)
    files = contents_of(run.step(3))
    assert checkpoints.num_bytes(run.step(3)) == sum(map(len, files.values()))
    assert checkpoints.num_bytes(run.step(9)) == 0
