"""What a run is doing, computed from who holds it and how its last session ended; never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlrun.errors import (
    ConfigError,
    DamagedError,
    InexactError,
    NothingToDoError,
    RunNotFoundError,
    UsageError,
)
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.checkpoints import Step, Verdict
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session, SessionStart
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
_REFUSALS = frozenset(
    kind.exit_code
    for kind in (UsageError, ConfigError, RunNotFoundError, NothingToDoError, InexactError)
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one row."""

    name: str
    status: Word
    step: int  # the last one taken; 0: none yet
    max_steps: int | None  # None: no session has said
    reward: float | None  # mean of the last step
    checkpoint_step: int | None  # the newest that is valid, its hashes not looked at
    last_active: float  # seconds since the epoch
    num_sessions: int
    host: str | None = None  # of the session, or of the command that tidies, that holds the run
    pid: int | None = None
    problem: str | None = None  # why it is damaged
    passed_step: int | None = None  # the newest of all, if it is not valid
    passed_verdict: Verdict | None = None  # what it is


def status(*, holder: Owner | None, lock_owner: Owner | None, last: Session | None) -> Status:
    """Return the status of a run.

    `holder` is alive and has the lock; it may be a command that only tidies.  `lock_owner` is whom
    the lock file names, dead or alive; `last` is the newest session that counts.  A session that
    ends removes its lock file, so a dead owner that the ledger does not know was killed before it
    could write that it opened the run.
    """
    if holder is not None and holder.is_session:
        return "running"
    last_known = 0 if last is None else last.opening.session
    if lock_owner is not None and lock_owner.session > last_known:
        return "lost"
    if last is None:
        return "new"
    return "lost" if last.end is None else _AFTER[last.end.outcome]


def last_that_counts(sessions: Sequence[Session]) -> Session | None:
    """Return the newest session, leaving out those that were refused and so changed nothing.

    Where all were refused, the last one tells what the run has come to.
    """
    newest_first = list(reversed(sessions))
    counted = (session for session in newest_first if not _was_refused(session))
    return next(counted, newest_first[0] if newest_first else None)


def _was_refused(session: Session) -> bool:
    if session.start is not None or session.end is None:
        return False
    return session.end.outcome == "failed" and session.end.exit_code in _REFUSALS


def last_start(sessions: Sequence[Session]) -> SessionStart | None:
    """Return the newest start that a session has recorded."""
    return next((session.start for session in reversed(sessions) if session.start), None)


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
    last = last_that_counts(sessions)
    now = status(holder=holder, lock_owner=lock.read_owner(run), last=last)
    return now, holder, sessions


def summarise(run: RunDir) -> RunSummary:
    """Return a run in one row, reading only the ends of its files; damage is reported in it."""
    word, holder, sessions, problem = _judge(run)
    last_record = jsonl.read_last(run.train_log) or {}
    steps = checkpoints.list_steps(run)
    valid, passed = _saved(run, steps)
    start = last_start(sessions)
    return RunSummary(
        name=run.name,
        status=word,
        step=last_record.get("step", steps[-1] if steps else 0),
        max_steps=start.max_steps if start else None,
        reward=last_record.get("reward_mean"),
        checkpoint_step=valid.step if valid else None,
        last_active=store.last_active(run),
        num_sessions=len(sessions),
        host=holder.host if holder else None,
        pid=holder.pid if holder else None,
        problem=problem,
        passed_step=passed.step if passed else None,
        passed_verdict=passed.verdict if passed else None,
    )


def _saved(run: RunDir, steps: Sequence[int]) -> tuple[Step | None, Step | None]:
    """Return the newest valid step, and the newest of all if it is another one."""
    run_id = _run_id(run)
    passed: Step | None = None
    for number in reversed(steps):
        step = checkpoints.inspect(run, number, run_id=run_id, with_hashes=False)
        if step.is_valid:
            return step, passed
        if passed is None and step.path.is_dir():  # else a session has just removed it
            passed = step
    return None, passed


def _run_id(run: RunDir) -> str:
    """Return the run's id, empty where it has none that reads: no step of ours belongs to it."""
    try:
        return store.read_identity(run).id if run.identity.is_file() else ""
    except DamagedError:
        return ""


def _judge(run: RunDir) -> tuple[Word, Owner | None, list[Session], str | None]:
    if not run.identity.is_file():
        return "foreign", None, [], None
    try:
        return (*look(run), None)
    except DamagedError as error:
        return "damaged", lock.find_holder(run), [], str(error)
