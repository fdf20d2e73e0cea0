"""The logs that have one record a step: cut behind a step, mended up to it (docs/design.md, 11).

A record that is lost is not made again: nothing reads it back into training, and it would take the
steps from the checkpoint before it.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rlrun.runs import files, jsonl, mending, quarantine
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir


def cut(run: RunDir, folder: Path, step: int, *, session: int) -> tuple[str, ...]:
    """Make the logs end at `step`, each step once; return what there is to say of lost records.

    Their tails are kept in `folder` first; a log that must be mended is kept in the quarantine.
    """
    paths = (run.train_log, run.ratios)
    return tuple(word for path in paths for word in _cut_one(run, path, folder, step, session))


def _cut_one(run: RunDir, path: Path, folder: Path, step: int, session: int) -> tuple[str, ...]:
    lines = jsonl.read_raw(path, checked=False)
    kept = up_to(lines, step)
    text = b"".join(line for line, _ in lines)
    whole = b"".join(kept.values())
    if len(kept) < step or not text.startswith(whole):
        return _mend(run, path, kept, step, session)
    if len(whole) < len(text):
        files.ensure_dir(folder)
        files.replace(folder / path.name, text[len(whole) :])
        files.truncate(path, len(whole))
    return ()


def up_to(lines: Sequence[tuple[bytes, Record | None]], step: int) -> dict[int, bytes]:
    """Return the lines of the steps 1 to `step`, by step, as far as they are there.

    A line's place tells whether its step is right: it follows the one before it, or is followed.
    """
    steps = [_step_of(record) for _, record in lines]
    found: dict[int, bytes] = {}
    last = 0
    known = [(place, number) for place, number in enumerate(steps) if number is not None]
    for (place, number), (_, follower) in pairwise([*known, (0, 0)]):
        is_in_place = number == last + 1 or follower in (number + 1, 0)
        if last < number <= step and is_in_place:
            found[number] = lines[place][0]
            last = number
    return found


def mended(kept: dict[int, bytes], step: int, place: str | None) -> bytes:
    """Return a log of the steps 1 to `step`, in which a record stands for each that is lost."""
    stands = (mending.stand_in({"step": n}, place) for n in range(1, step + 1) if n not in kept)
    return b"".join(kept[n] if n in kept else next(stands) for n in range(1, step + 1))


def _mend(
    run: RunDir, path: Path, kept: dict[int, bytes], step: int, session: int
) -> tuple[str, ...]:
    lost = [number for number in range(1, step + 1) if number not in kept]
    what = (
        f"the record of {mending.listed('step', lost)} did not read"
        if lost
        else "it was in disorder"
    )
    place = None
    if path.exists():
        copy = quarantine.keep_copy(run, path, what, session=session)
        place = copy.relative_to(run.path).as_posix()
    files.replace(path, mended(kept, step, place))
    rest = f"the file as it was is {place}" if place else "the file was gone"
    return (f"{path.name}: {what}, and is not made again; {rest}",)


def _step_of(record: Record | None) -> int | None:
    step = None if record is None else record.get("step")
    return step if type(step) is int else None


def seconds_between(run: RunDir, step: int, frontier: int) -> float:
    """Return what the steps after `step`, up to `frontier`, took, as far as the log tells."""
    total = 0.0
    for _, record in jsonl.read_raw(run.train_log, checked=False) if frontier > step else ():
        number, clock = _step_of(record), (record or {}).get("clock")
        seconds = clock.get("seconds") if isinstance(clock, dict) else None
        is_due = number is not None and step < number <= frontier
        if is_due and isinstance(seconds, float | int):
            total += seconds
    return total
