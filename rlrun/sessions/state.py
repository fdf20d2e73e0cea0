"""What a run is doing, computed from who holds it and how its last session ended; never stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlrun.errors import DamagedError
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session
from rlrun.runs.lock import Owner

Status = Literal["new", "running", "stopped", "finished", "failed", "lost"]
"""`stopped`: ended on purpose before the run's end; `lost`: killed, so it could not say how."""

Word = Status | Literal["foreign", "damaged"]
"""`foreign`: another tool's run, without run.json; `damaged`: its ledger does not read."""

_AFTER: Mapping[ledger.Outcome, Status] = {
    "finished": "finished",
    "steps_done": "stopped",
    "stopped": "stopped",
    "time_limit": "stopped",
    "stopped_now": "stopped",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one row."""

    name: str
    status: Word
    step: int  # the last one taken; 0: none yet
    max_steps: int | None  # None: no session has said
    reward: float | None  # mean of the last step
    checkpoint_step: int | None  # the newest folder, valid or not
    last_active: float  # seconds since the epoch
    num_sessions: int
    host: str | None = None  # of the session that holds the run
    pid: int | None = None
    problem: str | None = None  # why it is damaged


def status(*, holder: Owner | None, lock_owner: Owner | None, last: Session | None) -> Status:
    """Return the status of a run.

    `holder` is alive and has the lock; `lock_owner` is whom the lock file names, dead or alive;
    `last` is the newest session of the ledger.  A session that ends well removes its lock file, so
    a dead owner that the ledger does not know was killed before it could write its start.
    """
    if holder is not None:
        return "running"
    last_known = 0 if last is None else last.start.session
    if lock_owner is not None and lock_owner.session > last_known:
        return "lost"
    if last is None:
        return "new"
    return "lost" if last.end is None else _AFTER[last.end.outcome]


def look(run: RunDir) -> tuple[Status, Owner | None, list[Session]]:
    """Return the status of a run of ours, its holder and its sessions.

    Raises DamagedError if the ledger does not read.
    """
    found = _look_once(run)
    # A session may begin or end between two reads, which then do not fit together: look again.
    return _look_once(run) if found[0] == "lost" else found


def _look_once(run: RunDir) -> tuple[Status, Owner | None, list[Session]]:
    sessions = ledger.read(run)
    holder = lock.find_holder(run)
    last = sessions[-1] if sessions else None
    now = status(holder=holder, lock_owner=lock.read_owner(run), last=last)
    return now, holder, sessions


def summarise(run: RunDir) -> RunSummary:
    """Return a run in one row, reading only the ends of its files; damage is reported in it."""
    word, holder, sessions, problem = _judge(run)
    last_record = jsonl.read_last(run.train_log) or {}
    steps = checkpoints.list_steps(run)
    return RunSummary(
        name=run.name,
        status=word,
        step=last_record.get("step", steps[-1] if steps else 0),
        max_steps=sessions[-1].start.max_steps if sessions else None,
        reward=last_record.get("reward_mean"),
        checkpoint_step=steps[-1] if steps else None,
        last_active=store.last_active(run),
        num_sessions=len(sessions),
        host=holder.host if holder else None,
        pid=holder.pid if holder else None,
        problem=problem,
    )


def _judge(run: RunDir) -> tuple[Word, Owner | None, list[Session], str | None]:
    if not run.identity.is_file():
        return "foreign", None, [], None
    try:
        return (*look(run), None)
    except DamagedError as error:
        return "damaged", lock.find_holder(run), [], str(error)
