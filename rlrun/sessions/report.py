"""Everything that `rlrun status` tells of one run."""

from collections.abc import Iterator
from dataclasses import dataclass

from rlrun.runs import checkpoints, jsonl, pins, store
from rlrun.runs.checkpoints import Verdict
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
    verdict: Verdict
    num_bytes: int
    problem: str | None  # why it is not valid
    is_pinned: bool = False


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
        checkpoints=tuple(_checkpoints(run, run_id)),
    )


def last_records(run: RunDir, count: int) -> list[jsonl.Record]:
    """Return the last whole records of the training log, oldest first."""
    lines = Tail(run.train_log, num_last_lines=count).read()
    records = (jsonl.decode(line) for line in lines)
    return [record for record in records if record is not None]  # 'rlrun verify' tells of others


def last_rewards(run: RunDir, count: int = NUM_REWARDS) -> tuple[float, ...]:
    """Return the mean rewards of the last steps, oldest first."""
    records = last_records(run, count)
    return tuple(record["reward_mean"] for record in records if "reward_mean" in record)


def _checkpoints(run: RunDir, run_id: str) -> Iterator[CheckpointReport]:
    pinned = pins.list_pinned(run)
    for number in checkpoints.list_steps(run):
        step = checkpoints.inspect(run, number, run_id=run_id, with_hashes=False)
        size = checkpoints.num_bytes(step.path)
        if step.path.is_dir():  # else the session that works on the run has removed it
            yield CheckpointReport(
                number, step.verdict, size, step.problem, is_pinned=number in pinned
            )
