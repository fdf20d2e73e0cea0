"""The completions that are kept: written once, read back, graded again."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.evaluations import GoldTask, make_prompts

from rlrun.errors import DamagedError
from rlrun.evaluation import records
from rlrun.evaluation.records import Keeper, Record
from rlrun.types import Completion

RECORD = Record("model", "plan", "q0", 0, 7, "correct", "0", 1, "stop", "0", "grader", -0.5, 0.1)


def keep(path: Path, *kept: Record) -> None:
    keeper = Keeper(path)
    for record in kept:
        keeper.keep(record)
    keeper.close()


def read(path: Path) -> dict[records.Key, Record]:
    return records.read(path, model="model", plan="plan")


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "step_1" / "completions.jsonl"
    second = replace(RECORD, sample=1, verdict="wrong")
    keep(path, RECORD, second)
    assert read(path) == {("q0", 0): RECORD, ("q0", 1): second}


def test_nothing_is_there_before_anything_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "completions.jsonl") == {}


def test_other_models_and_plans_stay_and_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    keep(path, RECORD, replace(RECORD, model="other"), replace(RECORD, plan="other"))
    assert list(read(path).values()) == [RECORD]
    assert len(path.read_text().splitlines()) == 3


def test_a_later_record_counts_instead_of_an_engines_failure(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    failed = replace(RECORD, verdict="engine_error", text=None)
    keep(path, failed, RECORD)
    assert read(path) == {("q0", 0): RECORD}


def test_a_torn_last_line_is_cut_before_more_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    keep(path, RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    second = replace(RECORD, sample=1)
    keep(path, second)
    assert list(read(path).values()) == [RECORD, second]


def test_a_damaged_line_with_others_behind_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    keep(path, RECORD, replace(RECORD, sample=1))
    path.write_bytes(path.read_bytes().replace(b"correct", b"corrupt", 1))
    with pytest.raises(DamagedError, match="line 1"):
        read(path)


@pytest.mark.parametrize(
    ("text", "reason", "verdict"),
    [("0", "stop", "correct"), ("1", "stop", "wrong"), ("", "stop", "no_answer"),
     ("1", "length", "truncated")],
)  # fmt: skip
def test_a_completion_is_graded_when_it_comes(text: str, reason: str, verdict: str) -> None:
    prompt = make_prompts(1)[0]
    bare = Record("model", "plan", prompt.id, 0, 7, "engine_error")
    completion = Completion((1, 2), text, (-1.0, -2.0), reason)  # type: ignore[arg-type]
    found = records.completed(bare, completion, prompt, GoldTask(), "grader")
    assert (found.verdict, found.grader, found.num_tokens) == (verdict, "grader", 2)
    assert found.mean_logprob == -1.5
    assert found.is_final


def test_what_the_engine_failed_at_is_not_graded() -> None:
    failed = replace(RECORD, verdict="engine_error", text=None)
    assert records.graded(failed, make_prompts(1)[0], GoldTask(), "other") == failed
    assert not failed.is_final


def test_other_verdicts_replace_a_models_own_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    foreign = replace(RECORD, model="other")
    keep(path, RECORD, foreign)
    changed = replace(RECORD, verdict="wrong", grader="new")
    records.rewrite(path, {changed.key: changed}, model="model", plan="plan")
    assert read(path) == {changed.key: changed}
    assert records.read(path, model="other", plan="plan") == {foreign.key: foreign}
