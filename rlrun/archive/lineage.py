"""Which archived checkpoints are of a run's present course."""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from rlrun.archive.keys import StepKey
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.runs import jsonl, ledger
from rlrun.runs.ledger import SessionStart

Which = int | Literal["latest", "all"]
Start = tuple[int, int]
"""A session's number, and the step that it went on from."""


def starts(ledger_text: bytes) -> list[Start]:
    """Return where each session of a ledger went on from; records that do not read are left out."""
    records = filter(None, (jsonl.decode(line) for line in ledger_text.split(b"\n")))
    events = (ledger.event_of(record) for record in records)
    return [
        (one.session, one.from_step)
        for one in events
        if isinstance(one, SessionStart) and type(one.from_step) is int
    ]


def is_abandoned(step: int, session: int, known: Iterable[Start]) -> bool:
    """Return whether the run has left a session's checkpoint: a later one began before it."""
    return any(later > session and from_step < step for later, from_step in known)


def choose(keys: Collection[StepKey], which: Which, known: Sequence[Start]) -> list[StepKey]:
    """Return the checkpoints that are asked for, ascending, of the run's present course.

    Raises RunNotFoundError if a step that is named is not there, UsageError if the run has left it
    behind.  A run that was archived before its first checkpoint has no latest: nothing.
    """
    present = {
        key.step: key for key in sorted(keys) if not is_abandoned(key.step, key.session, known)
    }
    if which == "all":
        return [present[step] for step in sorted(present)]
    if which == "latest":
        return [present[max(present)]] if present else []
    if which in present:
        return [present[which]]
    if any(key.step == which for key in keys):
        raise UsageError(
            f"the run went back behind step {which} after that was archived, so it is of another "
            "course; restore its model alone with --model-only, or a step of "
            f"{', '.join(map(str, sorted(present))) or 'none'}"
        )
    shown = ", ".join(map(str, sorted(present))) or "none"
    raise RunNotFoundError(f"the archive has no step {which} of the run; it has {shown}")
