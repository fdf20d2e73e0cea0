"""Everything that `rlrun status` tells of one run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rlrun.runs import archived, checkpoints, jsonl, pins, store
from rlrun.runs.archived import Copy
from rlrun.runs.checkpoints import Verdict
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session
from rlrun.sessions import state
from rlrun.sessions.state import RunSummary
from rlrun.sessions.tail import Tail

NUM_REWARDS = 30


Where = Literal["local", "remote", "both"]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A folder named step_N: what it is worth, its hashes not looked at; or a copy in an archive.

    Of archives it says what this machine knows, without asking them.
    """

    step: int
    verdict: Verdict | Literal["archived"]
    num_bytes: int
    problem: str | None  # why it is not valid
    is_pinned: bool = False
    where: Where = "local"
    archive: str | None = None  # where its newest copy is
    verified: str | None = None  # when that was last proved: ISO 8601, UTC


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
    """Yield what is here and what is known to be in an archive, by step."""
    copies = archived.copies(run)
    pinned = pins.list_pinned(run)
    found = []
    for number in checkpoints.list_steps(run):
        step = checkpoints.inspect(run, number, run_id=run_id, with_hashes=False)
        size = checkpoints.num_bytes(step.path)
        if not step.path.is_dir():  # the session that works on the run has removed it
            continue
        own = step.manifest["manifest_hash"] if step.manifest else ""
        copy = copies.pop((number, own), None)
        one = CheckpointReport(number, step.verdict, size, step.problem, number in pinned)
        found.append(one if copy is None else _with_copy(one, copy, "both"))
    for copy in copies.values():
        one = CheckpointReport(copy.step, "archived", copy.num_bytes, None, copy.step in pinned)
        found.append(_with_copy(one, copy, "remote"))
    yield from sorted(found, key=lambda one: (one.step, one.where == "remote"))


def _with_copy(one: CheckpointReport, copy: Copy, where: Where) -> CheckpointReport:
    return replace(one, where=where, archive=copy.place, verified=copy.verified)
