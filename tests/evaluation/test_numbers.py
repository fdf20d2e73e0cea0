"""The numbers of one step, from its records."""

from dataclasses import replace

import pytest

from rlrun.evaluation.numbers import numbers_of, scores_of
from rlrun.evaluation.records import Key, Record
from rlrun.types import Verdict

RECORD = Record("m", "p", "a", 0, 1, "correct", "1", 10, "stop", "1", "g", -1.0, 2.0)


def table(*records: Record) -> dict[Key, Record]:
    return {record.key: record for record in records}


def of(question: str, sample: int, verdict: Verdict, answer: str | None = "1") -> Record:
    text = None if verdict == "engine_error" else "text"
    changed = replace(RECORD, question=question, sample=sample, verdict=verdict, answer=answer)
    return replace(changed, text=text, num_tokens=0 if text is None else 10)


def test_each_verdict_is_counted_and_only_final_ones_enter_the_accuracy() -> None:
    found = table(
        of("a", 0, "correct"),
        of("b", 0, "wrong", "2"),
        of("c", 0, "no_answer", None),
        replace(of("d", 0, "truncated", None), finish_reason="length"),
        of("e", 0, "checker_timeout", "3"),
        of("f", 0, "engine_error", None),
    )
    row = numbers_of("step_1", 1, 1, found)
    assert row is not None
    assert (row.num_questions, row.num_completions, row.accuracy) == (4, 4, 0.25)
    assert (row.num_correct, row.num_wrong, row.num_no_answer, row.num_truncated) == (1, 1, 1, 1)
    assert (row.num_checker_timeout, row.num_engine_error) == (1, 1)
    assert (row.answer_found_rate, row.truncation_rate) == (0.5, 0.25)
    assert (row.mean_completion_tokens, row.seconds) == (10.0, 12.0)
    assert row.tokens_per_second == pytest.approx(50 / 12)
    assert row.pass_at_k is None
    assert row.maj_at_k is None
    assert row.accuracy_low == pytest.approx(0.0456, abs=1e-4)  # Wilson, 1 of 4
    assert row.accuracy_high == pytest.approx(0.6994, abs=1e-4)


def test_several_samples_give_pass_and_majority() -> None:
    found = table(
        of("a", 0, "correct"), of("a", 1, "wrong", "2"), of("a", 2, "wrong", "2"),
        of("b", 0, "correct"), of("b", 1, "correct"), of("b", 2, "wrong", "2"),
    )  # fmt: skip
    row = numbers_of("step_1", 1, 3, found)
    assert row is not None
    assert row.accuracy == 0.5
    assert row.pass_at_k == 1.0
    assert row.maj_at_k == 0.5


def test_a_step_of_which_nothing_counts_has_no_numbers() -> None:
    assert numbers_of("step_1", 1, 1, table(of("a", 0, "engine_error", None))) is None
    assert numbers_of("step_1", 1, 1, {}) is None


def test_scores_are_by_question_whatever_the_order() -> None:
    records = [of("b", 0, "wrong"), of("a", 1, "correct"), of("a", 0, "wrong")]
    assert scores_of(table(*records)) == {"a": (1, 2), "b": (0, 1)}
    assert list(scores_of(table(*reversed(records)))) == ["a", "b"]
