"""`rlrun compare`: which questions one checkpoint gained on another, and which it lost."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from rlrun.cli import sentences, show, text
from rlrun.cli.options import JsonOption, RootOption, complete_run
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.evaluation import paired, report
from rlrun.evaluation.folder import EvalFolder, evaluations_of, read_questions
from rlrun.evaluation.paired import Comparison
from rlrun.evaluation.records import Record
from rlrun.evaluation.report import Report, Scored
from rlrun.runs import store
from rlrun.runs.layout import find_root
from rlrun.types import Prompt

_MAX_CHARS = 300


def compare(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name.", autocompletion=complete_run)
    ],
    before: Annotated[str, typer.Argument(metavar="STEP|RUN", help="A step, or another run.")],
    after: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="A later step.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Of several data sets, this one."),
    ] = None,
    is_whole: Annotated[
        bool, typer.Option("--full", help="Show completions whole, however long they are.")
    ] = False,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Compare two checkpoints that were evaluated on the same questions.

    'rlrun compare RUN 50 100' compares two steps, 'rlrun compare RUN OTHER' the newest scored step
    of OTHER with that of RUN.  Each question whose verdict changed is shown with both completions.

    Exit codes: 0, 4 if one of them was not evaluated, or not under the same plan.
    """
    pair = _pair(find_root(root), run, before, after, dataset)
    found = paired.compare(pair.before.scores, pair.after.scores)
    if as_json:
        show.json_result(as_data(pair, found))
        return
    for line in summary(pair, found):
        show.out(line)
    show.talk(f"evaluated in {pair.folder.path}")
    for title, names in (("gained", found.gained), ("lost", found.lost)):
        for name in names:
            show.out("")
            for line in question_lines(title, name, pair, is_whole=is_whole):
                show.out(line)
    show.hints(sentences.commands_with_root([f"status {run}"], root))


@dataclass(frozen=True)
class Pair:
    """Two checkpoints, and where each was evaluated."""

    before: Scored
    after: Scored
    before_name: str
    after_name: str
    folder: EvalFolder

    @cached_property
    def questions(self) -> dict[str, Prompt]:
        """What was asked, by id."""
        return read_questions(self.folder)


def _pair(root: Path, run: str, before: str, after: str | None, dataset: str | None) -> Pair:
    """Return what is to be compared; RunNotFoundError if no question was answered by both."""
    pair = (
        _runs(root, run, before, dataset)
        if after is None
        else _steps(root, run, before, after, dataset)
    )
    if not report.are_comparable(pair.before.scores, pair.after.scores):
        raise RunNotFoundError(
            f"{pair.before_name} and {pair.after_name} have no question that counts at both; "
            f"'rlrun eval {run} --all-steps' asks those again that the engine failed at"
        )
    return pair


def _reports(root: Path, run: str, dataset: str | None) -> list[Report]:
    """Return the evaluations of a run; RunNotFoundError if there is none, or no such run."""
    found = [report.read(folder) for folder in evaluations_of(root, run, dataset)]
    if not found:
        store.find_run(root, run)
        on = f" on {dataset}" if dataset else ""
        raise RunNotFoundError(
            f"run '{run}' was not evaluated{on}; 'rlrun eval {run} --all-steps' does it"
        )
    return found


def _steps(root: Path, run: str, before: str, after: str, dataset: str | None) -> Pair:
    """Return two steps of a run, from the first evaluation that has both."""
    for one in _reports(root, run, dataset):
        known = {row.scored.numbers.label: row.scored for row in one.rows}
        first, second = known.get(_label(before)), known.get(_label(after))
        if first and second:
            return Pair(first, second, _label(before), _label(after), one.folder)
    wanted = f"{before},{after}" if before.isdecimal() and after.isdecimal() else "N,N"
    raise RunNotFoundError(
        f"steps {before} and {after} of run '{run}' were not evaluated under one plan; 'rlrun eval "
        f"{run} --steps {wanted}' does it"
    )


def _label(step: str) -> str:
    return f"step_{step}" if step.isdecimal() else step


def _runs(root: Path, run: str, other: str, dataset: str | None) -> Pair:
    """Return the newest scored step of each of two runs, under one plan."""
    if other.isdecimal():
        raise UsageError(f"give a second step, as in 'rlrun compare {run} {other} 100', or a run")
    others = {one.plan_hash: one for one in _reports(root, other, dataset)}
    for mine in _reports(root, run, dataset):
        theirs = others.get(mine.plan_hash)
        if theirs is not None and mine.rows and theirs.rows:
            first, second = theirs.rows[-1].scored, mine.rows[-1].scored
            before, after = f"{other} {first.numbers.label}", f"{run} {second.numbers.label}"
            return Pair(first, second, before, after, mine.folder)
    raise RunNotFoundError(
        f"runs '{run}' and '{other}' were not evaluated under one plan (the same questions, "
        "sampling, engine and base model); evaluate both with the same options"
    )


def summary(pair: Pair, found: Comparison) -> list[str]:
    """Return what the comparison amounts to."""
    low, high = found.interval.low, found.interval.high
    return [
        f"{pair.before_name}: {pair.before.numbers.accuracy:.1%}",
        f"{pair.after_name}: {pair.after.numbers.accuracy:.1%}",
        f"difference: {found.difference:+z.1%} (95 % interval {low:+z.1%} to {high:+z.1%}, "
        f"p = {found.p_value:.2g}, {found.num_questions} questions)",
        f"gained {len(found.gained)}, lost {len(found.lost)}",
    ]


def question_lines(title: str, name: str, pair: Pair, *, is_whole: bool) -> list[str]:
    """Return a question whose verdict changed, with what both wrote."""
    asked = pair.questions.get(name)
    lines = [f"{title}: {name}"]
    if asked is not None:
        lines += [f"  {line}" for line in asked.question.splitlines()]
        lines.append(f"  gold: {asked.answer}")
    for label, scored in ((pair.before_name, pair.before), (pair.after_name, pair.after)):
        for record in _records(scored, name):
            answer = "no answer" if record.answer is None else f"answer {record.answer}"
            lines.append(f"  {label}: {record.verdict.replace('_', ' ')}, {answer}")
            lines += [f"    {line}" for line in _shown(record, is_whole=is_whole).splitlines()]
    return [text.visible(line) for line in lines]


def _records(scored: Scored, name: str) -> list[Record]:
    found = [record for (question, _), record in scored.records.items() if question == name]
    return sorted(found, key=lambda record: record.sample)


def _shown(record: Record, *, is_whole: bool) -> str:
    written = (record.text or record.reason or "").strip()
    if is_whole or len(written) <= _MAX_CHARS:
        return written
    return f"[...] {written[-_MAX_CHARS:]}"


def as_data(pair: Pair, found: Comparison) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "before": pair.before_name,
        "after": pair.after_name,
        "folder": str(pair.folder.path),
        "difference": found.difference,
        "interval": [found.interval.low, found.interval.high],
        "p": found.p_value,
        "num_questions": found.num_questions,
        "gained": [_question(name, pair) for name in found.gained],
        "lost": [_question(name, pair) for name in found.lost],
    }


def _question(name: str, pair: Pair) -> dict[str, Any]:
    asked = pair.questions.get(name)
    return {
        "id": name,
        "question": asked and asked.question,
        "gold": asked and asked.answer,
        "before": [_completion(record) for record in _records(pair.before, name)],
        "after": [_completion(record) for record in _records(pair.after, name)],
    }


def _completion(record: Record) -> dict[str, Any]:
    return {"verdict": record.verdict, "answer": record.answer, "text": record.text}
