"""Runs under a root: create one, find one, list them all."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path

from rlrun import __version__
from rlrun.errors import DamagedError, RunExistsError, RunNotFoundError
from rlrun.runs import canonical, checkpoints, files, jsonl, leftovers, lock, rollout_journal
from rlrun.runs.layout import RunDir, check_name, runs_folder


@dataclass(frozen=True, slots=True)
class Parent:
    """The run and step that a run was forked from."""

    run_id: str
    name: str
    step: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a run is: `run.json`, written once."""

    id: str
    created: str  # ISO 8601, UTC
    rlrun_version: str
    git_commit: str | None  # of the working directory, if it is a checkout
    num_threads: int  # CPU threads of every session, so that they do not decide the bits
    parent: Parent | None = None


def _no_more(_run: RunDir, _identity: Identity) -> None: ...


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is to be made of."""

    config_text: str
    num_threads: int | None  # None: as many as this process may use
    parent: Parent | None = None
    fill: Callable[[RunDir, Identity], None] = _no_more  # writes more while nobody sees the run


def create_run(root: Path, new: NewRun, *, name: str | None, now: datetime) -> RunDir:
    """Create a run directory, whole or not at all, and return it.

    Without a name it is called by the time.  Raises RunExistsError if the name is taken.
    """
    folder = runs_folder(root)
    files.ensure_dir(folder)
    run = RunDir(folder / check_name(name or f"run_{now:%Y-%m-%d_%H-%M-%S}"))
    identity = Identity(
        id=uuid.uuid4().hex,
        created=now.isoformat(timespec="seconds"),
        rlrun_version=__version__,
        git_commit=_git_commit(),
        num_threads=new.num_threads or _usable_cpus(),
        parent=new.parent,
    )
    leftovers.remove_dead(folder)
    candidates = [run] if name else (_numbered(run, number) for number in count(1))
    for candidate in candidates:
        if not candidate.path.exists() and _write_run(candidate, identity, new):
            return candidate
    raise RunExistsError(
        f"run '{run.name}' already exists in {folder}; continue it with "
        f"'rlrun resume {run.name}', or choose another --name"
    )


def _numbered(run: RunDir, number: int) -> RunDir:
    return run if number == 1 else RunDir(run.path.with_name(f"{run.name}_{number}"))


def _usable_cpus() -> int:
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _write_run(run: RunDir, identity: Identity, new: NewRun) -> bool:
    """Write a run whole; return False if another process took its name meanwhile."""
    unfinished = RunDir(leftovers.unfinished(run.path))
    if unfinished.path.exists():  # of a dead process that had our number
        files.remove_tree(unfinished.path)
    for path in (unfinished.path, unfinished.training_state, unfinished.logs, unfinished.segments,
                 unfinished.tensorboard):  # fmt: skip
        files.mkdir(path)
    files.write_new(unfinished.config, new.config_text.encode())
    files.write_new(unfinished.identity, canonical.pretty(asdict(identity)).encode())
    new.fill(unfinished, identity)
    for path in (unfinished.logs, unfinished.path):
        files.sync_dir(path)
    try:
        files.rename(unfinished.path, run.path)
    except FileExistsError:
        files.remove_tree(unfinished.path)
        return False
    files.sync_dir(run.path.parent)
    return True


def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def read_identity(run: RunDir) -> Identity:
    """Return who a run is; DamagedError if `run.json` cannot be read."""
    try:
        data = dict(json.loads(run.identity.read_bytes()))
        parent = data.pop("parent")
        return Identity(**data, parent=parent and Parent(**parent))
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        raise DamagedError(
            f"{run.identity} cannot be read ({error}); restore it from a copy of the run"
        ) from error


def is_run(path: Path) -> bool:
    """Return whether a folder is a run: ours, or an older tool's with the same tree."""
    return not path.name.startswith(".") and (
        (path / "run.json").is_file() or (path / "training_state").is_dir()
    )


def list_runs(root: Path) -> list[RunDir]:
    """Return all runs under the root, by name."""
    folder = runs_folder(root)
    if not folder.is_dir():
        return []
    return [RunDir(path) for path in sorted(folder.iterdir()) if is_run(path)]


def last_active(run: RunDir) -> float:
    """Return when a session last wrote to a run, in seconds since the epoch.

    What tidies or pins changes the folder alone, which counts only where there is nothing else.
    """
    records = (run.journal, run.train_log, run.sessions, run.identity)
    owner = lock.read_owner(run)
    candidates = (*records, run.lock) if owner is None or owner.is_session else records
    return max(map(_changed_at, candidates)) or _changed_at(run.path)


def _changed_at(path: Path) -> float:
    """Return when a file was last written to; 0 if there is none, or none any more."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_untouched(run: RunDir) -> bool:
    """Return whether nothing was ever made of a run's configuration: no step and no group."""
    has_records = any(jsonl.read_last(path) for path in (run.journal, run.train_log))
    has_steps = rollout_journal.sealed_segments(run) or checkpoints.list_steps(run)
    return not has_records and not has_steps


def find_run(root: Path, name: str | None) -> RunDir:
    """Return a run by name, or the most recently active one; RunNotFoundError otherwise."""
    runs = list_runs(root)
    if name is None:
        if not runs:
            raise RunNotFoundError(
                f"there is no run in {runs_folder(root)}; start one with 'rlrun train'"
            )
        return max(runs, key=lambda run: (last_active(run), run.name))
    by_name = {run.name: run for run in runs}
    if name in by_name:
        return by_name[name]
    near = get_close_matches(name, by_name, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "'rlrun list' shows those that are"
    raise RunNotFoundError(f"there is no run '{name}' in {runs_folder(root)}; {hint}")


def update_config(run: RunDir, config_text: str) -> None:
    """Put another configuration in force for the batches to come."""
    files.replace(run.config, config_text.encode())
