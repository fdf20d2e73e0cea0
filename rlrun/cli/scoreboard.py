"""The table of an evaluation: each step with its interval and its differences, the best marked."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlrun.cli import show, text
from rlrun.evaluation import power, report
from rlrun.evaluation.evaluate import Evaluated
from rlrun.evaluation.report import Difference, Report, Row
from rlrun.evaluation.request import Prepared, Request

_HEADER = (
    "STEP", "ACCURACY", "95% INTERVAL", "VS BASE", "P", "VS PREVIOUS", "PASS@K", "MAJ@K",
    "ANSWERED", "CUT OFF", "TOKENS", "QUESTIONS",
)  # fmt: skip
_UNSURE = 0.05


def plan_lines(prepared: Prepared) -> list[str]:
    """Return what is asked, and the smallest difference that it can show, before it is asked."""
    asked, there = prepared.asked, prepared.questions.num_there
    num_questions, num_models = len(asked.question_ids), len(prepared.wanted)
    how = "greedy" if asked.temperature == 0 else f"temperature {asked.temperature:g}"
    each = f"{text.count(asked.num_samples, 'completion')} each, {how}"
    lines = [
        f"{text.count(num_questions, 'question')} of {there:,} in {asked.dataset}, {each}, for "
        f"{text.count(num_models, 'model')}"
    ]
    labels = [(one.label, one.step) for one in prepared.wanted]
    num_compared = max(1, len(report.comparisons(labels)))
    discordance = power.expected_discordance(asked.num_samples)
    smallest = power.smallest_difference(
        num_questions,
        discordance,
        num_samples=asked.num_samples,
        num_comparisons=num_compared,
    )
    if smallest is None:
        lines.append("so few questions cannot show any difference; ask more of them")
    else:
        compared = text.count(num_compared, "comparison")
        lines.append(
            f"a difference of {smallest:.1%} would be seen with 80% chance (in {compared}, if one "
            "question in five changes its verdict)"
        )
    return lines


def show_steps(found: Report, done: Evaluated) -> None:
    """Show the table of what was asked for, and what it says of the best step."""
    rows = [row for row in found.rows if row.scored.numbers.label in done.scored]
    if not rows:
        return
    columns = [_cells(row, found) for row in rows]
    kept = [place for place in range(len(_HEADER)) if any(cells[place] for cells in columns)]
    show.table(
        [_HEADER[place] for place in kept], [[cells[place] for place in kept] for cells in columns]
    )
    for line in (*best_lines(found), *_error_lines(rows)):
        show.sentence(line)
    show.talk(f"kept in {found.folder.path}")


def _cells(row: Row, found: Report) -> list[str]:
    numbers = row.scored.numbers
    is_best = found.winner is row.scored
    mark = " (best)" if is_best else ""
    return [
        f"{numbers.label.removeprefix('step_')}{mark}",
        f"{numbers.accuracy:.1%}",
        f"{numbers.accuracy_low:.1%} to {numbers.accuracy_high:.1%}",
        _difference(row.to_base),
        "" if row.to_base is None else _p_value(row.to_base.p_adjusted),
        _difference(row.to_previous),
        "" if numbers.pass_at_k is None else f"{numbers.pass_at_k:.1%}",
        "" if numbers.maj_at_k is None else f"{numbers.maj_at_k:.1%}",
        f"{numbers.answer_found_rate:.0%}",
        f"{numbers.truncation_rate:.0%}",
        f"{numbers.mean_completion_tokens:.0f}",
        f"{numbers.num_questions:,}",
    ]


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    low, high = found.comparison.interval.low, found.comparison.interval.high
    return f"{found.comparison.difference:+z.1%} [{low:+z.1%}, {high:+z.1%}]"


def _p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def best_lines(found: Report) -> list[str]:
    """Return what may be said of the best step: what it is worth, and which may be as good."""
    best = found.best
    if best is None:
        return []
    lines = [
        f"best: step {best.step} with {best.estimate.value:.1%}; chosen among "
        f"{len(best.p_values) + 1}, so {best.corrected:.1%} is to be expected on new questions"
    ]
    if best.undecided:
        listed = ", ".join(map(str, best.undecided))
        lines.append(f"it cannot be told from step {listed} by these questions")
    return lines


def _error_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        numbers = row.scored.numbers
        for amount, what in (
            (numbers.num_engine_error, "that the engine failed at"),
            (numbers.num_checker_timeout, "whose check took too long"),
        ):
            if amount:
                lines.append(
                    f"{numbers.label}: not counted: {text.count(amount, 'completion')} {what}; the "
                    "same command tries again"
                )
    return lines


def failures(given_up: Mapping[str, str], num_asked: int) -> str:
    """Return the sentence about what could not be scored."""
    listed = "; ".join(f"{label}: {reason}" for label, reason in given_up.items())
    others = "the others were, and " if len(given_up) < num_asked else ""
    asked = text.count(num_asked, "model")
    return (
        f"{len(given_up)} of {asked} could not be scored whole ({listed}); {others}the same "
        "command tries again"
    )


def next_commands(asked: Request, found: Report) -> list[str]:
    """Return the commands that are likely to come next."""
    labels = [row.scored.numbers.label.removeprefix("step_") for row in found.rows]
    commands = [f"compare {asked.name} {labels[0]} {labels[-1]}"] if len(labels) > 1 else []
    return commands if asked.run is None else [*commands, f"status {asked.name}"]


def as_data(asked: Request, done: Evaluated, found: Report) -> dict[str, Any]:
    """Return what `--json` prints."""
    best = found.best
    return {
        "run": asked.name,
        "folder": str(done.folder.path),
        "plan": done.plan.hash,
        "dataset": done.plan.asked.dataset,
        "engine": f"{done.plan.asked.engine} {done.plan.asked.engine_version}",
        "num_engine_starts": done.num_starts,
        "engine_start_seconds": done.start_seconds,
        "steps": [report.flat(row) for row in found.rows],
        "best": None
        if best is None
        else {
            "step": best.step,
            "accuracy": best.estimate.value,
            "low": best.estimate.interval.low,
            "high": best.estimate.interval.high,
            "expected_accuracy": best.corrected,
            "undecided": list(best.undecided),
        },
        "failed": dict(done.given_up),
    }
