"""What `rlrun archive` says of each run: what was sent, what went, what was kept and why."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlrun.archive import catalog
from rlrun.archive.catalog import Catalog
from rlrun.archive.cleanup import Cleaned
from rlrun.archive.forecast import Forecast
from rlrun.archive.push import Pushed, Skipped
from rlrun.archive.storage import Storage
from rlrun.cli import prune, sentences, show, text
from rlrun.cli.archive_options import Reach
from rlrun.cli.config import aligned
from rlrun.errors import RlrunError, UnprovedError
from rlrun.runs import checkpoints
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Rules


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for."""

    reach: Reach
    is_cleaning: bool
    keep: int | None
    is_repairing: bool
    is_dry_run: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What a push did, or would do."""

    steps: Mapping[int, int]  # to the bytes of each checkpoint
    num_known: int
    skipped: tuple[Skipped, ...]
    has_new_records: bool
    num_objects: int
    num_bytes: int
    seconds: float | None  # None: nothing was sent, it is a forecast
    num_there: int  # checkpoints in the archive now
    num_bytes_there: int
    notes: tuple[str, ...] = ()


def sent(pushed: Pushed, seconds: float, storage: Storage) -> Sent:
    """Return what a push did, with what the archive has now."""
    num_there, num_bytes_there = _totals(catalog.read(storage, pushed.run_name))
    return Sent(
        {key.step: key.num_bytes for key in pushed.new_steps},
        len(pushed.known_steps),
        pushed.skipped,
        pushed.has_new_records,
        pushed.num_objects,
        pushed.num_bytes,
        seconds,
        num_there,
        num_bytes_there,
        pushed.notes,
    )


def would_send(found: Forecast) -> Sent:
    """Return what a push would do."""
    plan = found.plan
    return Sent(
        {step.step: checkpoints.num_bytes(step.path) for step in plan.new_steps},
        len(plan.known_steps),
        plan.skipped,
        found.has_new_records,
        found.num_objects,
        found.num_bytes,
        None,
        *_totals(found.catalog),
    )


def _totals(found: Catalog) -> tuple[int, int]:
    newest = found.newest_records
    of_records = newest.num_bytes if newest else 0
    return len(found.steps), sum(key.num_bytes for key in found.steps) + of_records


@dataclass(slots=True)
class Report:
    """What became of one run; filled in as far as the work comes."""

    run_name: str
    place: str | None = None
    sent: Sent | None = None
    rules: Rules | None = None
    cleaned: Cleaned | None = None


def show_push(one: Report, order: Order) -> None:
    """Show what was sent, or would be, unless JSON is wanted."""
    if one.sent is None or order.as_json:
        return
    for note in one.sent.notes:
        show.warn(f"run '{one.run_name}': {note}")
    word = "would be sent" if order.is_dry_run else "sent"
    if order.is_repairing:
        word = "would be proved" if order.is_dry_run else "proved"
    rows = [(f"step {step}", word, text.size(size), "") for step, size in one.sent.steps.items()]
    rows += [(f"step {skip.step}", "not sent", "-", skip.reason) for skip in one.sent.skipped]
    for line in aligned(rows):
        show.out(line.rstrip())
    show.sentence(push_summary(one, one.sent, is_dry_run=order.is_dry_run))


def push_summary(one: Report, found: Sent, *, is_dry_run: bool) -> str:
    """Return what was sent, or would be, and what the archive has, as one line."""
    amount = f"{text.count(found.num_objects, 'object')}, {text.size(found.num_bytes)}"
    if not found.num_objects:
        what = "nothing to send"
    elif is_dry_run:
        what = f"would send {amount}"
    else:
        what = f"sent {amount} in {text.duration(found.seconds or 0)}"
    there = f"{text.count(found.num_there, 'checkpoint')} ({text.size(found.num_bytes_there)})"
    has = "has" if is_dry_run else "now has"
    return f"run '{one.run_name}': {what}; {one.place} {has} {there} of it"


def show_cleanup(one: Report, order: Order) -> None:
    """Show what became of each checkpoint here, or would, unless JSON is wanted."""
    if one.cleaned is None or order.as_json:
        return
    is_dry_run = order.is_dry_run
    fates = one.cleaned.fates
    for line in aligned([prune.row(fate, is_dry_run=is_dry_run) for fate in fates]):
        show.out(line)
    show.out(prune.summary(one.run_name, fates, is_dry_run=is_dry_run))


def refuse_doubts(one: Report, order: Order) -> None:
    """Raise UnprovedError if a checkpoint has no proved copy, and so was kept."""
    doubts = one.cleaned.doubts if one.cleaned else ()
    damaged = [skip.step for skip in one.sent.skipped if skip.is_damaged] if one.sent else []
    if not doubts and not damaged:
        return
    problems = []
    if damaged:
        problems.append(
            f"{_steps(damaged)} cannot be archived as it does not verify ('rlrun verify "
            f"{one.run_name}' tells more)"
        )
    if damaged_there := [doubt.step for doubt in doubts if doubt.is_damage]:
        problems.append(
            f"{_steps(damaged_there)} stays because its copy is not proved ('rlrun archive "
            f"{one.run_name} --repair{order.reach.words}' sends again what is damaged there)"
        )
    reasons = [doubt.reason for doubt in doubts if not doubt.is_damage]
    for reason in dict.fromkeys(reasons):
        steps = [doubt.step for doubt in doubts if doubt.reason == reason]
        problems.append(f"{_steps(steps)} stays because its copy is not proved: {reason}")
    raise UnprovedError(f"run '{one.run_name}': {'; and '.join(problems)}")


def _steps(numbers: Sequence[int]) -> str:
    """Return `step 3`, or `each of the steps 3, 5`."""
    listed = ", ".join(map(str, numbers))
    return f"step {listed}" if len(numbers) == 1 else f"each of the steps {listed}"


def as_data(
    reports: Sequence[Report], order: Order, failures: Mapping[str, RlrunError]
) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "is_dry_run": order.is_dry_run,
        "runs": [_run_as_data(one, failures.get(one.run_name)) for one in reports],
    }


def _run_as_data(one: Report, failure: RlrunError | None) -> dict[str, Any]:
    cleaned = one.cleaned and {
        "rules": asdict(one.rules or Rules()),
        "freed_bytes": prune.freed_bytes(one.cleaned.fates),
        "checkpoints": [asdict(fate) for fate in one.cleaned.fates],
        "doubts": [asdict(doubt) for doubt in one.cleaned.doubts],
    }
    found = one.sent
    pushed = found and {
        "checkpoints": [{"step": step, "num_bytes": size} for step, size in found.steps.items()],
        "num_known_checkpoints": found.num_known,
        "skipped": [asdict(skip) for skip in found.skipped],
        "has_new_records": found.has_new_records,
        "num_objects": found.num_objects,
        "num_bytes": found.num_bytes,
        "seconds": found.seconds,
        "notes": list(found.notes),
    }
    there = found and {"num_checkpoints": found.num_there, "num_bytes": found.num_bytes_there}
    error = failure and {"error": str(failure), "exit_code": failure.exit_code}
    return {
        "run": one.run_name,
        "archive": one.place,
        "sent": pushed,
        "archived": there,
        "cleanup": cleaned,
        "failure": error,
    }


def command(which: Sequence[str], order: Order) -> str:
    """Return the command that does it, a dry run's for real; `which` is how the runs are named."""
    flags = ["--repair"] if order.is_repairing else []
    flags += ["--cleanup"] if order.is_cleaning else []
    flags += ["--keep", str(order.keep)] if order.keep else []
    return f"{shlex.join(['archive', *which, *flags])}{order.reach.words}"


def next_commands(runs: Sequence[RunDir], which: Sequence[str], order: Order) -> list[str]:
    """Return the commands that come next."""
    reach, name = order.reach, runs[0].name
    commands = [command(which, order)]
    if not order.is_dry_run:
        cleaning = f"archive {shlex.join(which)} --cleanup --dry-run{reach.words}"
        checking = f"verify {name} --remote{reach.words}"
        if len(runs) > 1:
            checking = f"list --remote{reach.words}"
        commands = [f"status {name}", checking] if order.is_cleaning else [checking, cleaning]
    return sentences.commands_with_root(commands, reach.root)
