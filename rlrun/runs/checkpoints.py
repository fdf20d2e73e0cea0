"""The checkpoints of a run: publish one, list them, choose one.

A step exists if and only if its folder verifies; `step_latest` is only a hint.
"""

import errno
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from rlrun.errors import DamagedError, NoSpaceError, RunNotFoundError, StorageError, UsageError
from rlrun.runs import canonical, files, manifest, pins, quarantine
from rlrun.runs.layout import REMOVED_PATTERN, STEP_PATTERN, RunDir
from rlrun.runs.manifest import Manifest, NotAStepError

_SPACE_FACTOR = 1.05
PASSING = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)
"""Refusals that say nothing of what is on the disk."""


Verdict = Literal["valid", "invalid", "foreign"]


@dataclass(frozen=True, slots=True)
class Step:
    """A folder named step_N, and what it is worth."""

    step: int
    path: Path
    manifest: Manifest | None  # None unless the folder is a step of ours
    problem: str | None  # why it is not valid
    is_foreign: bool = False
    is_unreadable: bool = False  # the system does not let us look; that is no damage

    @property
    def is_valid(self) -> bool:
        """Whether the folder verified as far as it was checked."""
        return self.problem is None

    @property
    def verdict(self) -> Verdict:
        """What it is, in a word."""
        if self.is_foreign:
            return "foreign"
        return "valid" if self.is_valid else "invalid"


def inspect(run: RunDir, step: int, *, run_id: str, with_hashes: bool) -> Step:
    """Return the state of one step folder."""
    path = run.step(step)
    try:
        if path.is_symlink():
            raise NotAStepError("it is a symbolic link")
        found = manifest.read(path)
        owner = (found.get("step"), found.get("run_id"))
        if owner != (step, run_id):
            belongs = f"step {owner[0]} of run {str(owner[1])[:8]}"
            raise NotAStepError(f"it belongs to {manifest.shown(belongs)}")
        manifest.check_files(path, found, with_hashes=with_hashes)
    except NotAStepError as error:
        return Step(step, path, None, error.reason, error.is_foreign)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
        return Step(step, path, None, problem, is_unreadable=error.errno in PASSING)
    return Step(step, path, found, None)


def num_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder have, links not followed."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it is being removed
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def list_steps(run: RunDir) -> list[int]:
    """Return the numbers of all folders named step_N, ascending, valid or not."""
    if not run.training_state.is_dir():
        return []
    matches = (STEP_PATTERN.fullmatch(path.name) for path in run.training_state.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def linked_step(run: RunDir) -> int | None:
    """Return the step that `step_latest` names, None if it names none; a hint, never proof."""
    link = run.latest_link
    match = STEP_PATTERN.fullmatch(str(link.readlink())) if link.is_symlink() else None
    return int(match[1]) if match else None


def newest_valid(
    run: RunDir, *, run_id: str, with_hashes: bool, below: float = inf
) -> tuple[Step | None, list[Step]]:
    """Return the newest valid step below `below`, or None, and the invalid ones of ours passed."""
    passed: list[Step] = []
    for number in (one for one in reversed(list_steps(run)) if one < below):
        step = inspect(run, number, run_id=run_id, with_hashes=with_hashes)
        if step.is_valid:
            return step, passed
        if not step.is_foreign:
            passed.append(step)
    return None, passed


def refuse_older(run: RunDir, step: int, newest: int) -> UsageError:
    """Return the error for going on from a step that is not the newest, with both ways out."""
    return UsageError(
        f"step {step} of run '{run.name}' is not the newest: step {newest} is; add --rewind to go "
        "back to it (what is behind it moves to abandoned/, nothing is deleted), or "
        "--fork NEW_NAME to go on from it in another run"
    )


def require(run: RunDir, step: int, *, run_id: str) -> Step:
    """Return a step after checking every byte; RunNotFoundError or DamagedError otherwise."""
    if not run.step(step).is_dir():
        known = ", ".join(map(str, list_steps(run))) or "none"
        raise RunNotFoundError(f"run '{run.name}' has no step {step}; it has {known}")
    found = inspect(run, step, run_id=run_id, with_hashes=True)
    if not found.is_valid:
        raise DamagedError(
            f"step {step} of run '{run.name}' does not verify: {found.problem}; use "
            "'--from latest' to continue from the newest step that does"
        )
    return found


def check_space(run: RunDir, needed_bytes: int) -> None:
    """Raise StorageError unless a checkpoint of this size fits, with a little to spare."""
    free = shutil.disk_usage(run.training_state).free
    if free < _SPACE_FACTOR * needed_bytes:
        raise NoSpaceError(
            f"a checkpoint needs {needed_bytes / 1e6:,.0f} MB and {run.training_state} has "
            f"{free / 1e6:,.0f} MB free; free some space, then 'rlrun resume {run.name}' goes on "
            "without generating anything again"
        )


def _let_pass() -> None: ...


def publish(
    run: RunDir,
    step: int,
    contents: Mapping[str, bytes | memoryview],
    info: Mapping[str, Any],
    *,
    guard: Callable[[], None] = _let_pass,
) -> None:
    """Write a checkpoint and acknowledge it: section 5 of docs/design.md, points 3 to 7.

    `contents` maps relative paths, at most one folder deep, to bytes; `info` is the manifest
    without its files.  A valid checkpoint of the same step is left as it is.  `guard` is asked
    when all is written, which may take minutes; it raises if the run is somebody else's by now.
    """
    check_space(run, sum(len(data) for data in contents.values()))
    unfinished = run.unfinished_step(step)
    if unfinished.exists():
        files.remove_tree(unfinished)
    files.mkdir(unfinished)
    folders = sorted({unfinished / Path(name).parent for name in contents} - {unfinished})
    for folder in folders:
        files.mkdir(folder)
    entries = {}
    for name, data in sorted(contents.items()):
        files.write_new(unfinished / name, data)
        entries[name] = manifest.describe_bytes(data)
    body = manifest.sealed({**info, "files": entries})
    files.write_new(unfinished / manifest.FILE_NAME, canonical.pretty(body).encode())
    for folder in [*folders, unfinished]:
        files.sync_dir(folder)
    guard()
    if _make_way(run, step, run_id=info["run_id"], session=info["session"]):
        files.rename(unfinished, run.step(step))
        files.sync_dir(run.training_state)
    else:
        files.remove_tree(unfinished)
    repair_link(run, step, session=info["session"])


def discard(run: RunDir, step: int) -> None:
    """Remove what is there of a checkpoint that could not be published."""
    if run.unfinished_step(step).exists():
        files.remove_tree(run.unfinished_step(step))


def _make_way(run: RunDir, step: int, *, run_id: str, session: int) -> bool:
    """Move an invalid folder out of the way; return False if a valid one is there."""
    path = run.step(step)
    if not path.exists() and not path.is_symlink():
        return True
    found = inspect(run, step, run_id=run_id, with_hashes=True)
    if found.is_valid:
        return False
    if found.is_foreign:
        raise StorageError(
            f"{found.path} was written by another tool and stands in the way of a checkpoint; "
            f"move it elsewhere, then 'rlrun resume {run.name}' goes on"
        )
    if found.is_unreadable:
        raise StorageError(
            f"{path} stands in the way of a checkpoint and cannot be judged: {found.problem}; "
            f"check the permissions, then 'rlrun resume {run.name}' goes on"
        )
    quarantine.set_aside(run, path, found.problem or "", session=session)
    return True


def repair_link(run: RunDir, step: int | None, *, session: int) -> None:
    """Point `step_latest` at `step`, or remove it, unless it is right already."""
    link = run.latest_link
    if step is None:
        if link.is_symlink():
            files.unlink(link)
        return
    if link.exists() and not link.is_symlink():
        quarantine.set_aside(run, link, "a copy that was made without links", session=session)
    if not link.is_symlink() or str(link.readlink()) != f"step_{step}":
        files.replace_link(link, f"step_{step}")


def leftovers(run: RunDir) -> list[Path]:
    """Return what a dead session was still writing or removing, unless a living one is at it."""
    abandoned = sorted(run.logs.glob("abandoned/*"))
    folders = (run.path, run.logs, run.training_state, run.quarantine, *abandoned)
    return [path for folder in folders for path in sorted(folder.glob(".*.tmp"))]


def remove_leftovers(run: RunDir) -> None:
    """Remove what a dead session was still writing or removing; only the holder of the lock may.

    A step that was pinned while it was being taken away is put back.
    """
    for path in leftovers(run):
        if _put_back(run, path):
            continue
        if path.is_dir() and not path.is_symlink():
            files.remove_tree(path)
        else:
            files.unlink(path)


def _put_back(run: RunDir, path: Path) -> bool:
    """Put a whole step back whose removal a pin forbade; return whether this was one."""
    match = REMOVED_PATTERN.fullmatch(path.name)
    if match is None or path.parent != run.training_state:
        return False
    step = int(match[1])
    if not pins.is_pinned(run, step) or run.step(step).exists():
        return False
    try:
        manifest.check_files(path, manifest.read(path), with_hashes=False)
    except NotAStepError:
        return False  # its files were being unlinked when the pin came: too late
    files.rename(path, run.step(step))
    files.sync_dir(run.training_state)
    return True
