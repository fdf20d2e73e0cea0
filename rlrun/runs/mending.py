"""Files of records that were damaged: what reads stays, and a record stands for what was lost.

The damaged file is kept whole in the quarantine first (docs/design.md, 11).  No number is made up.
"""

from collections.abc import Callable
from pathlib import Path

from rlrun.runs import files, jsonl, ledger, quarantine
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir


def mend_ledger(run: RunDir) -> tuple[int, tuple[str, ...]]:
    """Return the number of the next session and what it has to say of the ledger, which reads now.

    Raises DamagedError if a later rlrun wrote it.  Only the holder of the lock may call it.
    """
    for _, record in jsonl.read_raw(run.sessions, checked=False):
        if record is not None and ledger.event_of(record) is None and ledger.is_newer(record):
            raise ledger.not_known(run, record)
    number = ledger.next_session(run)
    said = _mend(run, run.sessions, session=number, is_known=_is_of_a_session, stands=number - 1)
    return number, said


def mend_notes(run: RunDir, *, session: int) -> tuple[str, ...]:
    """Mend what tells of removals and of the quarantine; return what there is to say of it."""
    paths = (run.quarantine_reasons, run.removals)
    return tuple(word for path in paths for word in _mend(run, path, session=session))


def _is_of_a_session(record: Record) -> bool:
    return jsonl.KEPT_IN in record or ledger.event_of(record) is not None


def _mend(
    run: RunDir,
    path: Path,
    *,
    session: int,
    is_known: Callable[[Record], bool] = lambda _: True,
    stands: int | None = None,
) -> tuple[str, ...]:
    """Mend a file of which each record stands for itself; return what there is to say of it."""
    lines = jsonl.read_raw(path, checked=False)
    if lines and lines[-1][1] is None:
        lines.pop()  # torn: whoever appends next cuts it
    lost = [
        number
        for number, (_, record) in enumerate(lines, start=1)
        if record is None or not is_known(record)
    ]
    if not lost:
        return ()
    reason = f"{listed('line', lost)} of {path.name} did not read"
    kept = quarantine.keep_copy(run, path, reason, session=session)
    place = kept.relative_to(run.path).as_posix()
    more = {} if stands is None else {"session": stands}
    whole = jsonl.read_raw(path, checked=False)[len(lines) :]  # why, if this is that file
    mended = [
        line if number not in lost else stand_in({"line": number, **more}, place)
        for number, (line, _) in enumerate(lines, start=1)
    ]
    files.replace(path, b"".join([*mended, *(line for line, record in whole if record)]))
    return (f"{reason}: that is lost, and the rest stays; the file as it was is {place}",)


def stand_in(known: Record, place: str | None) -> bytes:
    """Return the line of a record that stands for a lost one, given what is known of that."""
    return jsonl.encode({**known, jsonl.KEPT_IN: place}, checked=False)


def listed(noun: str, numbers: list[int]) -> str:
    """Return ascending numbers as `line 3` or `lines 3, 5 to 7`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    words = ", ".join(" to ".join(map(str, span)) for span in found)
    return f"{noun} {words}" if len(numbers) == 1 else f"{noun}s {words}"
