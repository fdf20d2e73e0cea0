"""The numbers of one step: accuracy with its interval, verdicts, lengths and speed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from rlrun.evaluation import passes, scores
from rlrun.evaluation.records import Key, Record
from rlrun.tasks.answers import canonical


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """One row of the tables; the columns are explained in docs/evaluation.md."""

    label: str
    step: int | None
    num_questions: int
    num_completions: int  # that count
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    num_samples: int  # K: completions a question
    pass_at_k: float | None  # K > 1: at least one of K is correct
    maj_at_k: float | None  # K > 1: the most frequent answer is correct
    answer_found_rate: float
    truncation_rate: float
    num_correct: int
    num_wrong: int
    num_no_answer: int
    num_truncated: int
    num_checker_timeout: int
    num_engine_error: int
    mean_completion_tokens: float
    tokens_per_second: float | None
    seconds: float


def scores_of(found: Mapping[Key, Record]) -> dict[str, tuple[int, int]]:
    """Return how each question was answered; what is not final does not count."""
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for record in found.values():
        if record.is_final:
            outcomes[record.question].append(record.verdict == "correct")
    return {name: (sum(outcomes[name]), len(outcomes[name])) for name in sorted(outcomes)}


def numbers_of(
    label: str, step: int | None, num_samples: int, found: Mapping[Key, Record]
) -> StepNumbers | None:
    """Return the numbers of a step, None if no completion counts."""
    outcomes = scores_of(found)
    if not outcomes:
        return None
    verdicts = Counter(record.verdict for record in found.values())
    final = [record for record in found.values() if record.is_final]
    accuracy = scores.accuracy(outcomes)
    seconds = fsum(record.seconds for record in found.values())
    num_tokens = sum(record.num_tokens for record in found.values())
    return StepNumbers(
        label=label,
        step=step,
        num_questions=len(outcomes),
        num_completions=len(final),
        accuracy=accuracy.value,
        accuracy_low=accuracy.interval.low,
        accuracy_high=accuracy.interval.high,
        num_samples=num_samples,
        pass_at_k=_pass_at(outcomes, num_samples),
        maj_at_k=_majority(final) if num_samples > 1 else None,
        answer_found_rate=sum(record.answer is not None for record in final) / len(final),
        truncation_rate=sum(record.finish_reason == "length" for record in final) / len(final),
        num_correct=verdicts["correct"],
        num_wrong=verdicts["wrong"],
        num_no_answer=verdicts["no_answer"],
        num_truncated=verdicts["truncated"],
        num_checker_timeout=verdicts["checker_timeout"],
        num_engine_error=verdicts["engine_error"],
        mean_completion_tokens=fsum(record.num_tokens for record in final) / len(final),
        tokens_per_second=num_tokens / seconds if seconds > 0 else None,
        seconds=seconds,
    )


def _pass_at(outcomes: scores.Scores, num_samples: int) -> float | None:
    """Return pass@K over the questions that have all their samples, None if there is none."""
    whole = {name: one for name, one in outcomes.items() if one[1] == num_samples}
    return passes.pass_at(whole, num_samples).value if whole and num_samples > 1 else None


def _majority(final: Iterable[Record]) -> float:
    votes: dict[str, list[tuple[str | None, bool]]] = defaultdict(list)
    for record in final:
        answer = None if record.answer is None else str(canonical(record.answer))
        votes[record.question].append((answer, record.verdict == "correct"))
    return passes.majority(votes).value
