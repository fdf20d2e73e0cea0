"""The sessions of a run: who worked on it, from where to where, and how it ended.

Each session appends an `open` when it holds the lock, a `start` when it is ready to train, and an
`end`; one without an `end` was killed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from rlrun.errors import DamagedError
from rlrun.runs import jsonl
from rlrun.runs.jsonl import Record
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


Event = SessionOpening | SessionStart | SessionWarning | SessionEnd
_KINDS: Mapping[object, type[Event]] = {
    "open": SessionOpening,
    "start": SessionStart,
    "warning": SessionWarning,
    "end": SessionEnd,
}
UNKNOWN = "unknown"
"""Where and when a session was opened whose record of that is lost."""


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


def read(run: RunDir, *, is_lenient: bool = False) -> list[Session]:
    """Return all sessions, oldest first, as far as their records are there.

    Raises DamagedError for a record that does not read or is none of ours, unless `is_lenient`:
    the next session mends the file.
    """
    openings: dict[int, SessionOpening] = {}
    starts: dict[int, SessionStart] = {}
    ends: dict[int, SessionEnd] = {}
    warnings: dict[int, list[SessionWarning]] = defaultdict(list)
    for event in _events(run, is_lenient):
        match event:
            case SessionOpening():
                openings[event.session] = event
            case SessionStart():
                starts[event.session] = event
            case SessionWarning():
                warnings[event.session].append(event)
            case SessionEnd():
                ends[event.session] = event
    numbers = sorted({*openings, *starts, *ends, *warnings})
    return [
        Session(
            openings.get(number, SessionOpening(number, UNKNOWN, UNKNOWN, 0)),
            starts.get(number),
            ends.get(number),
            tuple(warnings[number]),
        )
        for number in numbers
    ]


def _events(run: RunDir, is_lenient: bool) -> Iterator[Event]:
    if is_lenient:
        records = [record for _, record in jsonl.read_raw(run.sessions, checked=False)]
    else:
        records = list(jsonl.read(run.sessions))
    for record in records:
        event = None if record is None else event_of(record)
        if event is not None:
            yield event
        elif not is_lenient and record is not None and jsonl.KEPT_IN not in record:
            raise not_known(run, record)


def event_of(record: Record) -> Event | None:
    """Return what a record tells of a session, None if it is no such record."""
    kind = _kind_of(record)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record.items()
        if key != "event"
    }
    try:
        event = kind(**values) if kind else None
    except TypeError:  # a key too many, or one too few
        return None
    if event is None or type(event.session) is not int:
        return None
    is_odd = isinstance(event, SessionEnd) and event.outcome not in get_args(Outcome)
    return None if is_odd else event


def _kind_of(record: Record) -> type[Event] | None:
    name = record.get("event")
    return _KINDS.get(name) if isinstance(name, str) else None


def is_newer(record: Record) -> bool:
    """Return whether a later rlrun wrote a record: it has all that one of ours has, and more.

    A damaged one has as many keys as it had.
    """
    kind = _kind_of(record)
    return kind is not None and set(record) > {"event", *(one.name for one in fields(kind))}


def not_known(run: RunDir, record: Record) -> DamagedError:
    """Return the error for a record that is none of ours."""
    return DamagedError(
        f"{run.sessions} has a record that this rlrun does not know ({record.get('event')!r}, "
        f"with {', '.join(sorted(record))}); update rlrun, or restore the file from a copy"
    )


def lost_up_to(run: RunDir) -> int:
    """Return the last session of which the ledger may have lost a record, 0 if it lost none."""
    stands = (record for record in jsonl.read(run.sessions) if jsonl.KEPT_IN in record)
    return max((record["session"] for record in stands), default=0)


def next_session(run: RunDir) -> int:
    """Return the number of the next session, from 1; where the ledger lost some, no used one.

    A session has its event file before it journals or saves anything.
    """
    records = [record for _, record in jsonl.read_raw(run.sessions, checked=False)]
    told = (record.get("session") for record in records if record is not None)
    return 1 + max([*(n for n in told if type(n) is int), *run.event_files()], default=0)
