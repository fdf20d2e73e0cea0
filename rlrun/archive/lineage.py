"""Which archived checkpoints are of a run's present course."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlrun.archive.keys import StepKey
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.runs import jsonl, ledger
from rlrun.runs.ledger import Event, SessionStart

Which = int | Literal["latest", "all"]
Start = tuple[int, int]
"""A session's number, and the step that it went on from."""


@dataclass(frozen=True, slots=True)
class Cover:
    """How far a run's records tell; None where they do not say."""

    last_session: int | None = None  # in the ledger
    last_step: int | None = None  # in the log of steps

    def has(self, key: StepKey) -> bool:
        """Return whether a checkpoint is of the past that the records tell."""
        is_known = self.last_session is None or key.session <= self.last_session
        return is_known and (self.last_step is None or key.step <= self.last_step)


_UNKNOWN = Cover()


def starts(ledger_text: bytes) -> list[Start]:
    """Return where each session of a ledger went on from; records that do not read are left out."""
    return [
        (one.session, one.from_step)
        for one in _events(ledger_text)
        if isinstance(one, SessionStart) and type(one.from_step) is int
    ]


def last_session(ledger_text: bytes) -> int | None:
    """Return the number of a ledger's last session, whatever of it can be read; None for none."""
    return max((one.session for one in _events(ledger_text)), default=None)


def _events(ledger_text: bytes) -> Iterator[Event]:
    records = filter(None, (jsonl.decode(line) for line in ledger_text.split(b"\n")))
    return filter(None, map(ledger.event_of, records))


def is_abandoned(step: int, session: int, known: Iterable[Start]) -> bool:
    """Return whether the run has left a session's checkpoint: a later one began before it."""
    return any(later > session and from_step < step for later, from_step in known)


def choose(
    keys: Collection[StepKey], which: Which, known: Sequence[Start], cover: Cover = _UNKNOWN
) -> list[StepKey]:
    """Return the checkpoints that are asked for, ascending, of the run's present course.

    `latest` and `all` are of those that the records cover.  Raises RunNotFoundError if a step that
    is named is not there, UsageError if the run has left it behind or its records never came.  A
    run that was archived before its first checkpoint has no latest: nothing.
    """
    kept = [key for key in sorted(keys) if not is_abandoned(key.step, key.session, known)]
    present = {key.step: key for key in kept if cover.has(key)}
    if which == "all":
        return [present[step] for step in sorted(present)]
    if which == "latest":
        return [present[max(present)]] if present else []
    if which in present:
        return [present[which]]
    shown = ", ".join(map(str, sorted(present))) or "none"
    if any(key.step == which for key in kept):
        raise UsageError(
            f"the archive has step {which} but no records of it (a push was broken off, or they "
            "are damaged); archive the run again where it is still there, restore the step's model "
            f"alone with --model-only, or a step of {shown}"
        )
    if any(key.step == which for key in keys):
        raise UsageError(
            f"the run went back behind step {which} after that was archived, so it is of another "
            f"course; restore its model alone with --model-only, or a step of {shown}"
        )
    raise RunNotFoundError(f"the archive has no step {which} of the run; it has {shown}")


def uncovered(keys: Collection[StepKey], known: Sequence[Start], cover: Cover) -> list[int]:
    """Return the steps of the run's present course whose records never came, ascending."""
    kept = [key for key in keys if not is_abandoned(key.step, key.session, known)]
    covered = {key.step for key in kept if cover.has(key)}
    return sorted({key.step for key in kept} - covered)
