"""The sessions of a run: who worked on it, from where to where, and how it ended.

Each session appends an `open` when it holds the lock, a `start` when it is ready to train, and an
`end`; one without an `end` was killed.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rlrun.errors import DamagedError
from rlrun.runs import jsonl
from rlrun.runs.layout import RunDir

Outcome = Literal["finished", "steps_done", "stopped", "time_limit", "stopped_now", "failed"]
"""`finished`: at max_steps; `steps_done`: --steps taken; the others ended before that."""
Promise = Literal["bitwise", "replay-exact", "best effort"]


@dataclass(frozen=True, slots=True)
class SessionOpening:
    """A process took the lock and is about to load what it needs."""

    session: int
    opened: str  # ISO 8601, UTC
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class SessionStart:
    """A session is ready: the state to go on from is chosen and loaded."""

    session: int
    started: str  # ISO 8601, UTC
    device: str
    from_step: int  # the checkpoint; 0: none
    frontier: int  # the last step that had been taken before, in this or an earlier session
    target_step: int  # where the session will stop
    max_steps: int  # where the run will stop
    promise: Promise
    differences: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()  # of the configuration, as sentences
    notes: tuple[str, ...] = ()  # what was found and mended at the start
    fingerprint: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionWarning:
    """Something that the user should know while the session goes on."""

    session: int
    step: int
    message: str


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session ended and said so."""

    session: int
    ended: str
    step: int
    num_steps: int  # new steps
    num_replayed: int  # steps taken again from the journal
    num_tokens: int  # completion tokens generated
    seconds: float
    outcome: Outcome
    exit_code: int
    message: str = ""  # one sentence, when something went wrong


@dataclass(frozen=True, slots=True)
class Session:
    """One session as the ledger tells it."""

    opening: SessionOpening
    start: SessionStart | None
    end: SessionEnd | None
    warnings: tuple[SessionWarning, ...] = ()


def append_opening(run: RunDir, opening: SessionOpening) -> None:
    """Record that a session holds the lock; durable when this returns."""
    jsonl.append(run.sessions, {"event": "open", **asdict(opening)})


def append_start(run: RunDir, start: SessionStart) -> None:
    """Record that a session is ready; durable when this returns."""
    jsonl.append(run.sessions, {"event": "start", **asdict(start)})


def append_warning(run: RunDir, warning: SessionWarning) -> None:
    """Record a warning of a session; durable when this returns."""
    jsonl.append(run.sessions, {"event": "warning", **asdict(warning)})


def append_end(run: RunDir, end: SessionEnd) -> None:
    """Record how a session ended; durable when this returns."""
    jsonl.append(run.sessions, {"event": "end", **asdict(end)})


def read(run: RunDir) -> list[Session]:
    """Return all sessions, oldest first; DamagedError for a record that is none of ours."""
    openings: dict[int, SessionOpening] = {}
    starts: dict[int, SessionStart] = {}
    ends: dict[int, SessionEnd] = {}
    warnings: dict[int, list[SessionWarning]] = defaultdict(list)
    for record in jsonl.read(run.sessions):
        try:
            _sort_in(dict(record), openings, starts, ends, warnings)
        except (KeyError, TypeError) as error:
            raise DamagedError(
                f"{run.sessions} has a record that this rlrun does not know ({error}); update "
                "rlrun, or restore the file from a copy"
            ) from error
    return [
        Session(opening, starts.get(number), ends.get(number), tuple(warnings[number]))
        for number, opening in sorted(openings.items())
    ]


def _sort_in(
    record: dict[str, Any],
    openings: dict[int, SessionOpening],
    starts: dict[int, SessionStart],
    ends: dict[int, SessionEnd],
    warnings: dict[int, list[SessionWarning]],
) -> None:
    event, number = record.pop("event"), record["session"]
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
    }
    if event == "open":
        openings[number] = SessionOpening(**fields)
    elif event == "start":
        starts[number] = SessionStart(**fields)
    elif event == "warning":
        warnings[number].append(SessionWarning(**fields))
    elif event == "end":
        ends[number] = SessionEnd(**fields)
    else:
        raise KeyError(event)


def next_session(run: RunDir) -> int:
    """Return the number of the next session, from 1."""
    return 1 + max((session.opening.session for session in read(run)), default=0)
