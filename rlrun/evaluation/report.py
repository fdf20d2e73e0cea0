"""What an evaluation found, over all steps in its folder: numbers, and their differences."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlrun.errors import DamagedError
from rlrun.evaluation import numbers, records
from rlrun.evaluation.folder import EvalFolder, StepFolder, read_plan
from rlrun.evaluation.numbers import StepNumbers
from rlrun.evaluation.paired import Comparison, compare, holm
from rlrun.evaluation.plan import BASE_STEP, Plan
from rlrun.evaluation.records import Key, Record
from rlrun.evaluation.scores import Scores
from rlrun.evaluation.selection import Best, choose_best
from rlrun.evaluation.targets import BASE_LABEL, Target
from rlrun.evaluation.work import Job
from rlrun.runs import canonical, files


@dataclass(frozen=True, slots=True)
class Scored:
    """One model that was scored: its numbers, and how each question was answered."""

    numbers: StepNumbers
    model_hash: str
    records: Mapping[Key, Record]

    @property
    def scores(self) -> Scores:
        """How each question was answered."""
        return numbers.scores_of(self.records)


@dataclass(frozen=True, slots=True)
class Difference:
    """One step against another on the same questions; `p_adjusted` is for all that are compared."""

    other: str
    comparison: Comparison
    p_adjusted: float


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the table; a difference is None where there is nothing to compare with."""

    scored: Scored
    to_base: Difference | None
    to_previous: Difference | None
    to_best: Difference | None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole table, in the order of the steps."""

    folder: EvalFolder
    plan_hash: str
    rows: tuple[Row, ...]
    best: Best | None  # None with fewer than two trained steps to choose from
    winner: Scored | None


def write(job: Job, done: Sequence[Target]) -> tuple[str, ...]:
    """Write the numbers of these targets, and the table of all steps in the folder.

    Returns the labels of those that have numbers: not if no completion counts.
    """
    written = []
    for target in done:
        found = job.kept(target)
        row = numbers.numbers_of(target.label, target.step, job.plan.asked.num_samples, found)
        if row is not None:
            _write_step(job, target, row)
            written.append(target.label)
    rows = read(job.folder).rows
    if rows:
        _put(job.folder.consolidated, _csv([flat(row) for row in rows]))
    return tuple(written)


def _put(path: Path, data: bytes) -> None:
    """Write a file unless it says that already."""
    if not path.exists() or path.read_bytes() != data:
        files.replace(path, data)


def _write_step(job: Job, target: Target, row: StepNumbers) -> None:
    place = job.folder.step(target.label)
    summary = {
        **asdict(row),
        "dataset": job.plan.asked.dataset,
        "engine": f"{job.plan.asked.engine} {job.plan.asked.engine_version}",
        "grader": job.grader,
        "model_hash": target.model_hash,
        "plan_hash": job.plan.hash,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if not _says_the_same(place, summary):
        files.replace(place.summary, canonical.pretty(summary).encode())
    _put(place.metrics, _csv([asdict(row)]))


def _says_the_same(place: StepFolder, summary: Mapping[str, Any]) -> bool:
    known = _read_summary(place)
    return known is not None and {**known, "written": ""} == {**summary, "written": ""}


def _read_summary(place: StepFolder) -> dict[str, Any] | None:
    try:
        return dict(json.loads(place.summary.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise DamagedError(
            f"{place.summary} is no summary in JSON; remove it, and evaluate again: nothing is "
            "generated anew"
        ) from error


def stands_for(job: Job, target: Target) -> bool:
    """Return whether the numbers of a label are this model's."""
    known = _read_summary(job.folder.step(target.label))
    return known is not None and known.get("model_hash") == target.model_hash


def read(folder: EvalFolder) -> Report:
    """Return what a folder holds.

    Raises DamagedError if it has no plan, or what is in it does not read.
    """
    plan = read_plan(folder)
    if plan is None:
        raise DamagedError(f"{folder.path} has no eval_config.yaml; evaluate again")
    scored = [_read_step(place, plan) for place in _step_folders(folder)]
    ordered = sorted((one for one in scored if one is not None), key=_order)
    return _compared(folder, plan, ordered)


def _step_folders(folder: EvalFolder) -> list[StepFolder]:
    return [StepFolder(path.parent) for path in sorted(folder.path.glob("*/summary.json"))]


def _read_step(place: StepFolder, plan: Plan) -> Scored | None:
    """Return what a step's records amount to, None if its summary is of another plan."""
    summary = _read_summary(place)
    if summary is None or summary.get("plan_hash") != plan.hash:
        return None
    try:
        label, step, model_hash = summary["label"], summary["step"], summary["model_hash"]
    except KeyError as error:
        raise DamagedError(
            f"{place.summary} has no {error}; remove it, and evaluate again: nothing is generated "
            "anew"
        ) from error
    found = records.read(place.completions, model=model_hash, plan=plan.hash)
    row = numbers.numbers_of(label, step, plan.asked.num_samples, found)
    if row is None:
        raise DamagedError(
            f"{place.completions} has none of the completions that {place.summary.name} sums up; "
            "remove both, and evaluate again"
        )
    return Scored(row, model_hash, found)


def _order(scored: Scored) -> tuple[bool, int, str]:
    step = scored.numbers.step
    return step is None, step or 0, scored.numbers.label


def comparisons(rows: Sequence[tuple[str, int | None]]) -> list[tuple[str, str]]:
    """Return which rows of a table, given as (label, step) in its order, are compared with which.

    Each with the base, and each step with the one before it; what is no step has none before it.
    """
    others = [label for label, _ in rows if label != BASE_LABEL]
    to_base = [(label, BASE_LABEL) for label in others] if len(others) < len(rows) else []
    return list(dict.fromkeys((*to_base, *_previous(rows).items())))


def _previous(rows: Sequence[tuple[str, int | None]]) -> dict[str, str]:
    steps = [label for label, step in rows if step is not None]
    return dict(zip(steps[1:], steps, strict=False))


def _compared(folder: EvalFolder, plan: Plan, scored: Sequence[Scored]) -> Report:
    best = _best(scored, plan)
    winner = next((one for one in scored if best and one.numbers.step == best.step), None)
    previous = _previous([(one.numbers.label, one.numbers.step) for one in scored])
    known = _differences(scored)
    rows = tuple(
        Row(
            scored=one,
            to_base=known.get((one.numbers.label, BASE_LABEL)),
            to_previous=known.get((one.numbers.label, previous.get(one.numbers.label, ""))),
            to_best=_to_best(one, winner, best),
        )
        for one in scored
    )
    return Report(folder, plan.hash, rows, best, winner)


def _best(scored: Sequence[Scored], plan: Plan) -> Best | None:
    """Return the best of the trained steps, None if there is no choice."""
    table = {
        one.numbers.step: _whole(one.scores, plan.asked.num_samples)
        for one in scored
        if one.numbers.step not in (None, BASE_STEP)
    }
    steps = {step: scores for step, scores in table.items() if step is not None}
    is_choice = len(steps) > 1 and len(set.intersection(*map(set, steps.values()))) > 1
    return choose_best(steps, seed=plan.asked.seed) if is_choice else None


def _whole(scores: Scores, num_samples: int) -> Scores:
    """Return the questions all of whose completions count."""
    return {name: one for name, one in scores.items() if one[1] == num_samples}


def _differences(scored: Sequence[Scored]) -> dict[tuple[str, str], Difference]:
    """Return each comparison that can be made, its p-value adjusted for all of them."""
    by_label = {one.numbers.label: one.scores for one in scored}
    pairs = comparisons([(one.numbers.label, one.numbers.step) for one in scored])
    compared = {
        (after, before): compare(by_label[before], by_label[after])
        for after, before in pairs
        if are_comparable(by_label[before], by_label[after])
    }
    adjusted = holm([comparison.p_value for comparison in compared.values()])
    return {
        pair: Difference(pair[1], comparison, p_adjusted)
        for (pair, comparison), p_adjusted in zip(compared.items(), adjusted, strict=True)
    }


def are_comparable(before: Scores, after: Scores) -> bool:
    """Return whether any question has as many completions that count in one as in the other."""
    return any(before[name][1] == after[name][1] for name in before.keys() & after.keys())


def _to_best(one: Scored, winner: Scored | None, best: Best | None) -> Difference | None:
    """Return how a trained step differs from the best; its p-value knows that it was chosen."""
    step = one.numbers.step
    if best is None or winner is None or step is None or step not in best.p_values:
        return None
    comparison = compare(winner.scores, one.scores)
    return Difference(winner.numbers.label, comparison, best.p_values[step])


def flat(row: Row) -> dict[str, Any]:
    """Return a row of the table under the names of its columns."""
    return {
        **asdict(row.scored.numbers),
        **_flat_difference("base", row.to_base),
        **_flat_difference("previous", row.to_previous),
        **_flat_difference("best", row.to_best),
    }


_DIFFERENCE_COLUMNS = (
    "diff_{}", "diff_{}_low", "diff_{}_high", "p_{}", "p_adjusted_{}", "gained_{}", "lost_{}",
)  # fmt: skip


def _flat_difference(name: str, difference: Difference | None) -> dict[str, Any]:
    values: Sequence[Any] = [None] * len(_DIFFERENCE_COLUMNS)
    if difference is not None:
        found = difference.comparison
        values = (
            found.difference, found.interval.low, found.interval.high, found.p_value,
            difference.p_adjusted, len(found.gained), len(found.lost),
        )  # fmt: skip
    columns = (column.format(name) for column in _DIFFERENCE_COLUMNS)
    return dict(zip(columns, values, strict=True))


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows of equal keys as CSV; what is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
