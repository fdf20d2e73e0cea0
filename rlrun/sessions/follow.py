"""Follow a session by what it writes: the events, what they add up to, and the loop that polls."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlrun.runs import checkpoints, jsonl, ledger
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session, SessionEnd, SessionOpening, SessionStart
from rlrun.sessions.tail import Tail

POLL_SECONDS = 0.2
NUM_RECENT = 30
_MAX_PENDING = 256  # journal lines read at the first look; a larger batch counts up from there


@dataclass(frozen=True, slots=True)
class Opened:
    """The session holds the run, and loads what it needs."""

    opening: SessionOpening


@dataclass(frozen=True, slots=True)
class Started:
    """The session is ready, and has chosen where to go on."""

    start: SessionStart


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step was taken, or taken again from the journal."""

    record: Record


@dataclass(frozen=True, slots=True)
class GroupsFinished:
    """So many groups of the next batch are journaled."""

    count: int


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """The newest checkpoint is now this one."""

    step: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The session said how it ended."""

    end: SessionEnd


@dataclass(frozen=True, slots=True)
class Warned:
    """The session said something that the user should know."""

    message: str


Event = Opened | Started | StepTaken | GroupsFinished | CheckpointSaved | Warned | Ended


@dataclass(frozen=True, slots=True)
class Progress:
    """What the events so far add up to."""

    opening: SessionOpening | None = None
    start: SessionStart | None = None
    step: int = 0
    record: Record | None = None  # of the last step
    rewards: tuple[float, ...] = ()  # means of the last steps
    seconds: tuple[float, ...] = ()  # of the last steps that were not replayed
    num_zero_rewards: int = 0  # steps in a row in which no completion had a reward
    num_groups: int = 0  # finished, of the next batch
    checkpoint_step: int | None = None
    end: SessionEnd | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the session's last step at the recent pace; None: not known yet."""
        if self.start is None or not self.seconds:
            return None
        pace = sum(self.seconds) / len(self.seconds)
        return pace * max(0, self.start.target_step - self.step)


def advance(progress: Progress, event: Event) -> Progress:
    """Return the progress after one more event."""
    match event:
        case Opened(opening):
            return replace(progress, opening=opening)
        case Started(start):
            return replace(progress, start=start, step=start.from_step)
        case StepTaken(record):
            return _after_step(progress, record)
        case GroupsFinished(count):
            return replace(progress, num_groups=count)
        case CheckpointSaved(step):
            return replace(progress, checkpoint_step=step)
        case Warned():
            return progress
        case Ended(end):
            return replace(progress, end=end)


def _after_step(progress: Progress, record: Record) -> Progress:
    clock: dict[str, Any] = record["clock"]
    seconds = progress.seconds if clock["replayed"] else (*progress.seconds, clock["seconds"])
    is_zero = record["reward_mean"] == 0 and record["reward_std"] == 0
    return replace(
        progress,
        step=record["step"],
        record=record,
        rewards=(*progress.rewards, record["reward_mean"])[-NUM_RECENT:],
        seconds=seconds[-NUM_RECENT:],
        num_zero_rewards=progress.num_zero_rewards + 1 if is_zero else 0,
    )


def count_pending(pending: int, lines: Sequence[bytes]) -> int:
    """Return how many groups stand behind the last batch, given the journal's new lines."""
    for line in lines:
        pending = pending + 1 if json.loads(line)["kind"] == "group" else 0
    return pending


class Follower:
    """Reads what one session has written since the last look."""

    def __init__(
        self,
        run: RunDir,
        is_wanted: Callable[[SessionOpening], bool],
    ) -> None:
        """Follow the newest session whose opening `is_wanted`."""
        self._run = run
        self._is_wanted = is_wanted
        self._session: Session | None = None
        self._ledger_bytes = -1
        self._train_log: Tail | None = None
        self._journal = Tail(run.journal, num_last_lines=_MAX_PENDING)
        self._num_groups = 0
        self._checkpoint_step: int | None = None

    def poll(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        before, self._session = self._session, self._find_session()
        session = self._session
        if session is None:
            return []
        events: list[Event] = [] if before else [Opened(session.opening)]
        if session.start is not None:
            if before is None or before.start is None:
                events.append(Started(session.start))
            events += self._new_steps(session.start)
            events += self._new_groups()
            events += self._new_checkpoint()
            known = len(before.warnings) if before else 0
            events += [Warned(warning.message) for warning in session.warnings[known:]]
        if session.end is not None and (before is None or before.end is None):
            events.append(Ended(session.end))
        return events

    def _find_session(self) -> Session | None:
        size = self._run.sessions.stat().st_size if self._run.sessions.exists() else 0
        if size == self._ledger_bytes:
            return self._session
        self._ledger_bytes = size
        sessions = reversed(ledger.read(self._run, is_lenient=True))  # until the session mends it
        return next((one for one in sessions if self._is_wanted(one.opening)), None)

    def _new_steps(self, start: SessionStart) -> list[Event]:
        if self._train_log is None:
            # Opened only now: a session cuts the log before it writes its start.
            last = jsonl.read_last(self._run.train_log)
            taken = 0 if last is None else max(0, last["step"] - start.from_step)
            self._train_log = Tail(self._run.train_log, num_last_lines=taken)
        return [StepTaken(json.loads(line)) for line in self._train_log.read()]

    def _new_groups(self) -> list[Event]:
        before, num_replacements = self._num_groups, self._journal.num_replacements
        lines = self._journal.read()
        # A segment is sealed, and another begun, only when no group is left over.
        is_sealed = self._journal.num_replacements > num_replacements
        self._num_groups = count_pending(0 if is_sealed else before, lines)
        return [GroupsFinished(self._num_groups)] if self._num_groups != before else []

    def _new_checkpoint(self) -> list[Event]:
        step = checkpoints.linked_step(self._run)
        if step is None or step == self._checkpoint_step:
            return []
        self._checkpoint_step = step
        return [CheckpointSaved(step)]


def follow(
    follower: Follower,
    is_alive: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Event]]:
    """Yield the events of each look; the last look begins when the process is gone."""
    while True:
        was_alive = is_alive()
        yield follower.poll()
        if not was_alive:
            return
        sleep(POLL_SECONDS)
