"""Stored completions graded again: by new code, and where a check had timed out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import scoring
from support.evaluations import GoldTask, keep, make_job, step_target
from support.scoring import Bench

from rlrun.errors import LockedError, RunNotFoundError, UsageError
from rlrun.evaluation import folder as folders
from rlrun.evaluation import questions, report, rescore
from rlrun.evaluation.rescore import Rescored, rescore_run
from rlrun.evaluation.work import Job
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Grade


class Generous(GoldTask):
    """Finds every answer correct."""

    def grade(self, *arguments: Any, **_: Any) -> Grade:
        return Grade("correct", "x")


def with_task(job: Job, grader: str = "new code") -> Job:
    return replace(job, task=Generous(), grader=grader)


@pytest.fixture
def new_grader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let today's code find every sum correct."""
    monkeypatch.setattr(Arithmetic, "grade", lambda *_, **__: Grade("correct", "1"))
    monkeypatch.setattr(questions, "reward_code_hash", lambda _: "new code")


def rescored(bench: Bench, **changes: Any) -> list[Rescored]:
    return rescore_run(scoring.request_of(bench.root, bench.maker.run, **changes))


def test_new_verdicts_reach_records_numbers_and_tables(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = bench.evaluate()
    texts = {key: record.text for key, record in scoring.stored(done.folder).items()}
    wrong = sum(record.verdict == "wrong" for record in scoring.stored(done.folder).values())
    monkeypatch.setattr(Arithmetic, "grade", lambda *_, **__: Grade("correct", "1"))
    monkeypatch.setattr(questions, "reward_code_hash", lambda _: "new code")
    bench.num_starts()
    found = rescored(bench)
    assert [one.label for one in found] == ["step_0", "step_1", "step_2", "step_3"]
    assert all(one.folder == "a_arithmetic" and one.num_graded == 5 for one in found)
    assert sum(one.num_gained for one in found) == wrong > 0
    assert sum(one.num_lost for one in found) == 0
    kept = scoring.stored(done.folder)
    assert {key: record.text for key, record in kept.items()} == texts
    assert {(record.verdict, record.grader) for record in kept.values()} == {
        ("correct", "new code")
    }
    table = pd.read_csv(done.folder.consolidated)
    assert table["accuracy"].tolist() == [1.0] * 4
    summary = json.loads(done.folder.step("step_3").summary.read_text())
    assert (summary["accuracy"], summary["grader"]) == (1.0, "new code")
    assert bench.evaluate().scored == ("step_0", "step_1", "step_2", "step_3")
    assert bench.num_starts() == 0


def test_every_plan_and_every_data_set_is_graded_again(bench: Bench, new_grader: None) -> None:
    bench.evaluate()
    other = bench.evaluate("eval.seed=1", is_own=False)
    assert {one.folder for one in rescored(bench)} == {"a_arithmetic", other.folder.path.name}
    assert {one.folder for one in rescored(bench, dataset="arithmetic")} == {
        "a_arithmetic", other.folder.path.name,
    }  # fmt: skip
    with pytest.raises(RunNotFoundError, match="run 'a' was not evaluated on gsm8k yet; 'rlrun ev"):
        rescored(bench, dataset="gsm8k")


def test_completions_on_a_folder_of_questions_are_graded_like_the_runs_own(
    root: Path, tmp_path: Path
) -> None:
    config = f"task:\n  name: gsm8k\n  path: {tmp_path}\ntrain:\n  max_steps: 1\n"
    run = scoring.make_run(root, 1, config=config).run
    job = make_job(root, 2)
    job.folder.path.rename(job.folder.path.with_name("a_sums"))
    job = replace(job, folder=folders.EvalFolder(job.folder.path.with_name("a_sums"), "sums"))
    keep(job, step_target(1), "+-")
    report.write(job, [step_target(1)])
    (found,) = rescore_run(scoring.request_of(root, run))
    assert (found.folder, found.label, found.num_graded) == ("a_sums", "step_1", 2)


def test_steps_that_were_trained_again_are_graded_again_too(root: Path) -> None:
    job = make_job(root, 2)
    keep(job, step_target(1, model="first"), "--")
    keep(job, step_target(1, model="second"), "-+")
    report.write(job, [step_target(1, model="second")])
    found = [
        rescore._regrade(with_task(job), target, job.kept(target))
        for target in rescore.stored_targets(job.folder, job.plan)
    ]
    assert [(one.num_graded, one.num_gained) for one in found] == [(2, 2), (2, 1)]
    rescore.require_one_grader(with_task(job))


def test_what_other_code_has_graded_is_refused(root: Path) -> None:
    job = make_job(root, 3)
    keep(job, step_target(1), "+-!")
    rescore.require_one_grader(job)
    with pytest.raises(UsageError, match=r"2 completions in .*step_1_sums/completions\.jsonl were"):
        rescore.require_one_grader(with_task(job))


def test_only_checks_that_timed_out_are_made_again(root: Path) -> None:
    job = make_job(root, 4)
    target = step_target(1)
    keep(job, target, "+-?!")
    path = job.folder.step(target.label).completions
    rescore.retry_checks(job, [target])
    assert [one.verdict for one in job.kept(target).values()] == [
        "correct", "wrong", "correct", "engine_error",
    ]  # fmt: skip
    before = path.stat()
    rescore.retry_checks(job, [target])
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_run_that_was_never_evaluated_is_said(bench: Bench) -> None:
    with pytest.raises(RunNotFoundError, match="run 'a' was not evaluated yet; 'rlrun eval a --al"):
        rescored(bench)


def test_an_evaluation_that_goes_on_is_not_graded_meanwhile(bench: Bench) -> None:
    folder = bench.evaluate().folder
    with folders.held(folder), pytest.raises(LockedError):
        rescored(bench)
