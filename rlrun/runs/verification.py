"""Every byte of a run, read and judged; nothing is mended."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlrun.config.load import load_config
from rlrun.errors import ConfigError, DamagedError, RunNotFoundError, StorageError
from rlrun.runs import checkpoints, lock, manifest, pins, record_checks, rewind, store
from rlrun.runs.checkpoints import Step, Verdict
from rlrun.runs.layout import RunDir
from rlrun.runs.manifest import NotAStepError
from rlrun.runs.record_checks import MENDED, Finding, Reader
from rlrun.runs.store import Identity

_NUM_LOOKS = 3  # at records that a session is writing
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class StepCheck:
    """What a checkpoint is worth after every byte was read."""

    step: int
    verdict: Verdict
    num_files: int
    num_bytes: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and what was found."""

    steps: tuple[StepCheck, ...]
    findings: tuple[Finding, ...]
    num_records: int

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What no session mends by itself."""
        return tuple(finding for finding in self.findings if finding.severity == "damage")


def verify(run: RunDir, *, sleep: Callable[[float], None] = time.sleep) -> Verification:
    """Return what is wrong with a run.

    While a session works on it, records that look damaged are looked at again: they may have been
    moved between two reads.
    """
    identity, found = _identity(run)
    steps = list(_check_steps(run, identity))
    newest = max((one.step for one in steps if one.verdict == "valid"), default=0)
    after = identity.parent.step if identity and identity.parent else 0
    is_held = lock.find_holder(run) is not None
    reader = _check_records(run, after, newest)
    for _ in range(_NUM_LOOKS - 1 if is_held else 0):
        if not any(finding.severity == "damage" for finding in reader.findings):
            break
        sleep(_LOOK_SECONDS)
        reader = _check_records(run, after, newest)
    found += [*_config(run), *map(_of_step, (one for one in steps if one.problem))]
    found += reader.findings
    found += _unfinished(run, newest)
    if is_held:  # what the session has in hand is no leftover
        found = [one for one in found if one.severity == "damage" or one.remedy != MENDED]
    return Verification(tuple(steps), tuple(found), reader.num_records)


def _identity(run: RunDir) -> tuple[Identity | None, list[Finding]]:
    try:
        return store.read_identity(run), []
    except DamagedError as error:
        what, _, remedy = str(error).partition("; ")
        return None, [Finding("damage", run.identity.name, what, remedy)]


def _config(run: RunDir) -> Iterator[Finding]:
    try:
        load_config(str(run.config), ())
    except ConfigError as error:
        what = str(error).replace("\n", "; ")
        yield Finding(
            "damage",
            run.config.name,
            what,
            "put it right by hand, or restore the file from a copy; each checkpoint's "
            "training_info.json has it as it was",
        )


def _check_steps(run: RunDir, identity: Identity | None) -> Iterator[StepCheck]:
    for number in checkpoints.list_steps(run):
        path = run.step(number)
        run_id = identity.id if identity else _claimed_run_id(path)
        has_manifest = (path / manifest.FILE_NAME).is_file()
        try:
            with pins.hold(path) if has_manifest else nullcontext():
                step = _read(run, number, run_id)
        except RunNotFoundError:
            continue  # the session that works on the run has removed it meanwhile
        if step.is_unreadable:
            raise StorageError(
                f"step {number} of run '{run.name}' cannot be judged: {step.problem}; check the "
                "permissions and the limits (ulimit -n), then verify again"
            )
        if path.is_dir():
            yield _check_of(step)


def _claimed_run_id(path: Path) -> str:
    """Return the run that a checkpoint says it belongs to, where the run itself cannot tell."""
    try:
        return str(manifest.read(path).get("run_id", ""))
    except NotAStepError:
        return ""


def _read(run: RunDir, number: int, run_id: str) -> Step:
    try:
        return checkpoints.inspect(run, number, run_id=run_id, with_hashes=True)
    except OSError as error:  # the disk does not give the bytes back
        return Step(number, run.step(number), None, f"{error.filename}: {error.strerror}")


def _check_of(step: Step) -> StepCheck:
    return StepCheck(
        step.step,
        step.verdict,
        sum(path.is_symlink() or not path.is_dir() for path in step.path.rglob("*")),
        checkpoints.num_bytes(step.path),
        step.problem,
    )


def _of_step(one: StepCheck) -> Finding:
    path, what = f"training_state/step_{one.step}", str(one.problem)
    if one.verdict == "foreign":
        return Finding("note", path, f"another tool's: {what}", "it is left alone")
    return Finding(
        "damage", path, what, "it is never used; restore it from a copy, or remove the folder"
    )


def _check_records(run: RunDir, after: int, newest: int) -> Reader:
    reader = Reader(run)
    checks: tuple[tuple[Path, Callable[[], None]], ...] = (
        (
            run.segments,
            lambda: record_checks.check_journal(reader, after=after, newest=newest),
        ),
        (run.train_log, lambda: record_checks.check_log(reader, run.train_log, newest=newest)),
        (run.ratios, lambda: record_checks.check_log(reader, run.ratios, newest=newest)),
        (run.sessions, lambda: record_checks.check_ledger(reader)),
        *(
            (path, partial(record_checks.check_plain, reader, path))
            for path in (run.removals, run.quarantine_reasons)
        ),
    )
    for path, check in checks:
        try:
            check()
        except OSError as error:
            if error.errno in checkpoints.PASSING:
                raise
            reader.damage(path, f"{error.filename}: {error.strerror}", "check the disk")
    return reader


def _rewind(run: RunDir) -> Iterator[Finding]:
    try:
        intent = rewind.pending(run)
    except DamagedError as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding("damage", run.rewind.name, what, remedy)
        return
    if intent is not None:
        what = f"going back to step {intent.step} was broken off"
        yield Finding("note", run.rewind.name, what, MENDED)


def _unfinished(run: RunDir, newest: int) -> Iterator[Finding]:
    """Yield what killed processes left, and what was set aside."""

    def note(path: Path, what: str, remedy: str = MENDED) -> Finding:
        return Finding("note", path.relative_to(run.path).as_posix(), what, remedy)

    linked = checkpoints.linked_step(run)
    if linked != (newest or None):
        there = "is missing" if linked is None else f"names step {linked}"
        yield note(run.latest_link, f"{there}, and the newest that verifies is {newest or 'none'}")
    for path in checkpoints.leftovers(run):
        yield note(path, "a killed session left it")
    for path in sorted(run.quarantine.glob("*")):
        if path != run.quarantine_reasons:
            yield note(path, "it did not verify and was set aside", "remove it when you like")
    yield from _rewind(run)
    if run.lock.exists() and lock.find_holder(run) is None:
        yield note(run.lock, "its owner is gone", "the next session takes it over")
    for step in sorted(pins.list_pinned(run) - set(checkpoints.list_steps(run))):
        remedy = f"remove it with 'rlrun pin {run.name} {step} --unpin'"
        yield note(run.pin(step), "its step is not there", remedy)
