"""What the doctor says of a machine, each thing outside rlrun being put in its place."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.dead import left_by_the_dead

from rlrun.errors import StorageError
from rlrun.runs import checkpoints
from rlrun.sessions import doctor
from rlrun.sessions.doctor import Check, Surroundings

Make = Callable[..., Any]


def answers(out: str = "", *, code: int = 0, err: str = "") -> Callable[..., Any]:
    return lambda *_, **__: subprocess.CompletedProcess([], code, out, err)


def fails(error: Exception) -> Callable[..., Any]:
    def run(*_: object, **__: object) -> None:
        raise error

    return run


def around(**changes: Any) -> Surroundings:
    """A machine without a GPU that has every package."""
    whole: dict[str, Any] = {
        "environ": {}, "run": answers(), "find": lambda _: object(), "which": lambda _: None
    }  # fmt: skip
    return Surroundings(**{**whole, **changes})


def examined(root: Path, source: str | None = None, **changes: Any) -> dict[str, Check]:
    return {check.what: check for check in doctor.examine(root, source, around(**changes))}


def problems(checks: dict[str, Check]) -> list[str]:
    return [check.what for check in checks.values() if check.level == "problem"]


def test_a_sound_machine_has_no_problem_and_nothing_is_left_on_it(root: Path) -> None:
    checks = examined(root)
    assert problems(checks) == []
    assert "1 MB written and synced in" in checks["root"].said
    assert list(root.iterdir()) == []


def test_a_root_that_is_not_there_is_judged_by_the_folder_above_and_not_made(root: Path) -> None:
    checks = examined(root / "deep" / "runs")
    assert checks["root"].level == "ok"
    assert f"(not there yet; {root} is)" in checks["root"].said
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
    ],
)
def test_what_the_disk_refuses_is_said_with_the_way_out(
    error: OSError, said: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", fails(error))
    check = examined(root)["root"]
    assert (check.level, check.exit_code) == ("problem", 9)
    assert said in check.said
    assert list(root.iterdir()) == []


def test_a_read_only_file_system_is_a_problem_among_the_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = OSError(errno.EROFS, "Read-only file system")
    monkeypatch.setattr(doctor.files, "write_new", fails(StorageError("it is read-only")))
    monkeypatch.setattr(Path, "unlink", fails(refusal))
    checks = examined(root)
    assert (checks["root"].level, checks["root"].exit_code) == ("problem", 9)
    assert "it is read-only; runs cannot be kept in" in checks["root"].said
    assert "space" in checks


def test_a_file_system_without_locks_is_a_problem(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.fcntl, "flock", fails(OSError(95, "Operation not supported")))
    assert "files cannot be locked there" in examined(root)["root"].said
    monkeypatch.setattr(doctor.fcntl, "flock", lambda *_: None)
    check = examined(root)["root"]
    assert (check.level, check.exit_code) == ("problem", 9)
    assert "two processes can lock the same file there" in check.said


def test_a_slow_disk_is_a_note(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.5])
    monkeypatch.setattr(doctor.time, "monotonic", lambda: next(ticks))
    check = doctor._root(root, root)
    assert check.level == "note"
    assert "in 2500 ms" in check.said


@pytest.mark.parametrize(("free", "level"), [(4, "problem"), (20, "note"), (1000, "ok")])
def test_space_is_measured_in_checkpoints_of_the_newest_run(
    free: int, level: str, root: Path, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make_run("a")
    maker.saves(1)
    maker.run.step(9).mkdir()  # another tool's, and no measure
    size = checkpoints.num_bytes(maker.run.step(1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free * size // 5))
    check = examined(root)["space"]
    assert check.level == level
    assert f"fits {int(free / 5 / 1.05):,} times" in check.said
    assert "of run 'a'," in check.said


def test_a_size_that_nobody_can_know_is_not_guessed(root: Path, make_run: Make) -> None:
    make_run("a").run.identity.write_text("{}")
    assert "is not known: --config with a recipe tells it" in examined(root)["space"].said


def test_a_recipe_is_read_and_space_is_judged_by_it(root: Path) -> None:
    checks = examined(root, "tiny")
    assert checks["recipe"].level == "ok"
    assert "a checkpoint (of tiny, about" in checks["space"].said


def test_a_recipe_that_is_wrong_is_a_problem_of_its_own_code(root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("train:\n  max_steps: many\n")
    check = examined(root, str(recipe))["recipe"]
    assert (check.level, check.exit_code) == ("problem", 3)


def test_missing_packages_are_named_with_the_command_that_installs_them(root: Path) -> None:
    checks = examined(root, find=lambda name: None if name in ("torch", "boto3") else object())
    assert problems(checks) == ["extra train"]
    assert checks["extra train"].exit_code == 11
    assert "torch not installed; " in checks["extra train"].said
    assert "[train]" in checks["extra train"].said
    assert checks["extra s3"].level == "note"
    assert checks["extra hub"].level == "ok"


@pytest.mark.parametrize(
    ("torch", "level", "ending"),
    [
        ("2.8.0+cu128", "ok", ""),
        ("2.8.0+cpu", "note", "; but torch 2.8.0+cpu is the build for CPUs; install the one for "),
    ],
)
def test_gpus_are_listed_by_their_driver_with_their_memory(
    torch: str, level: str, ending: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = "0, NVIDIA H200, 100000, 143771\n1, NVIDIA GB10, [N/A], [N/A]\n"
    monkeypatch.setattr(doctor.metadata, "version", lambda _: torch)
    check = examined(root, which=lambda _: "/bin/nvidia-smi", run=answers(out))["device"]
    listed = "GPU 0: NVIDIA H200, 104.9 of 150.8 GB free; GPU 1: NVIDIA GB10"
    assert (check.level, check.said.removesuffix("CUDA")) == (level, f"{listed}{ending}")


@pytest.mark.parametrize(
    "run",
    [
        answers("NVIDIA-SMI has failed because it could not reach the driver\n", code=9),
        answers("No devices were found\n"),
        answers(code=9),
        answers(""),
        fails(subprocess.TimeoutExpired("nvidia-smi", 20)),
        fails(OSError(8, "Exec format error")),
    ],
)
def test_a_driver_that_does_not_answer_is_a_note(run: Callable[..., Any], root: Path) -> None:
    check = examined(root, which=lambda _: "/bin/nvidia-smi", run=run)["device"]
    assert check.level == "note"
    assert "check the driver" in check.said


@pytest.mark.parametrize(
    ("run", "level", "said"),
    [
        (answers("log\n0.12.1\n"), "ok", "/py has vllm 0.12.1"),
        (answers(code=1, err="Trace\nNo module named 'vllm'\n"), "problem", "(No module named"),
        (fails(FileNotFoundError(2, "No such file")), "problem", "cannot be started"),
        (fails(subprocess.TimeoutExpired("/py", 180)), "note", "within 180 s"),
    ],
)
def test_the_interpreter_of_vllm_is_asked(
    run: Callable[..., Any], level: str, said: str, root: Path
) -> None:
    check = examined(root, environ={"RLRUN_VLLM_PYTHON": "/py"}, run=run)["RLRUN_VLLM_PYTHON"]
    assert check.level == level
    assert said in check.said


def test_the_interpreter_that_the_recipe_names_goes_before(root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("train: {max_steps: 1}\neval: {python: /mine}\n")
    checks = examined(
        root, str(recipe), environ={"RLRUN_VLLM_PYTHON": "/py"}, run=answers("0.32.0\n")
    )
    assert "RLRUN_VLLM_PYTHON" not in checks
    assert checks["eval.python"].said == "/mine has vllm 0.32.0"


def test_what_killed_processes_left_is_noted(
    root: Path, make_run: Make, make_foreign_run: Make
) -> None:
    make_run("a").was_held_by_the_dead(1)
    make_foreign_run("old")
    left = left_by_the_dead(root / "training_runs" / "b")
    left.mkdir()
    checks = examined(root)
    assert problems(checks) == []
    assert checks["locks"].said.startswith("a: the owner of the lock is gone")
    assert checks["foreign runs"].said.startswith("old: another tool's")
    assert checks["leftovers"].said.startswith(f"{left.name}; ")
    assert checks["runs"].said.startswith("1 in ")


def test_a_lock_that_is_held_is_not_stale(root: Path, make_run: Make) -> None:
    held = make_run("a").is_held_here()
    assert "locks" not in examined(root)
    held.release()
