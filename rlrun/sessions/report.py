"""Everything that `rlrun status` tells of one run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlrun.runs import checkpoints, jsonl, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session
from rlrun.sessions import state
from rlrun.sessions.state import RunSummary
from rlrun.sessions.tail import Tail

NUM_REWARDS = 30


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A folder named step_N: what it is worth, its hashes not looked at."""

    step: int
    verdict: Literal["valid", "invalid", "foreign"]
    num_bytes: int
    problem: str | None  # why it is not valid


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run at length."""

    summary: RunSummary
    rewards: tuple[float, ...]  # means of the last steps, oldest first
    sessions: tuple[Session, ...]
    checkpoints: tuple[CheckpointReport, ...]


def report(run: RunDir) -> RunReport:
    """Return what there is to say of a run.

    Raises DamagedError if its identity or its ledger does not read.
    """
    is_ours = run.identity.is_file()
    run_id = store.read_identity(run).id if is_ours else ""
    sessions = state.look(run)[2] if is_ours else []
    return RunReport(
        summary=state.summarise(run),
        rewards=last_rewards(run),
        sessions=tuple(sessions),
        checkpoints=tuple(
            _checkpoint(checkpoints.inspect(run, step, run_id=run_id, with_hashes=False))
            for step in checkpoints.list_steps(run)
        ),
    )


def last_records(run: RunDir, count: int) -> list[jsonl.Record]:
    """Return the last whole records of the training log, oldest first."""
    lines = Tail(run.train_log, num_last_lines=count).read()
    return [json.loads(line) for line in lines]


def last_rewards(run: RunDir, count: int = NUM_REWARDS) -> tuple[float, ...]:
    """Return the mean rewards of the last steps, oldest first."""
    records = last_records(run, count)
    return tuple(record["reward_mean"] for record in records if "reward_mean" in record)


def _checkpoint(step: checkpoints.Step) -> CheckpointReport:
    verdict: Literal["valid", "invalid", "foreign"] = "valid" if step.is_valid else "invalid"
    return CheckpointReport(
        step.step,
        "foreign" if step.is_foreign else verdict,
        _num_bytes(step.path),
        step.problem,
    )


def _num_bytes(folder: Path) -> int:
    paths = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(state.st_size for state in paths)
