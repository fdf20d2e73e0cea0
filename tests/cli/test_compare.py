"""`rlrun compare`: questions gained and lost, and what both checkpoints wrote."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.evaluations import keep, make_job, step_target

from rlrun.evaluation import report
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.records import Keeper
from rlrun.evaluation.work import Job

Run = Callable[..., Any]


@pytest.fixture
def job(root: Path) -> Job:
    """A run with two steps: q1 is gained, q2 lost, q0 right at both, q3 at neither."""
    return evaluated(root, "run", {1: "+-+-", 5: "++-0"})


def evaluated(root: Path, name: str, steps: dict[int, str]) -> Job:
    job = make_job(root / f"of {name}", 4)
    path = root / "eval_runs" / f"{name}_sums"
    path.parent.mkdir(exist_ok=True)
    job.folder.path.rename(path)
    job = replace(job, folder=EvalFolder(path, "sums"))
    for step, signs in steps.items():
        keep(job, step_target(step, model=f"{name} {step}"), signs)
    report.write(job, [step_target(step, model=f"{name} {step}") for step in steps])
    return job


def test_two_steps_are_compared_question_by_question(rlrun: Run, job: Job) -> None:
    said = rlrun("compare", "run", "1", "5")
    assert said.code == 0
    lines = said.out.splitlines()
    interval = re.search(r"-(\S+%) to \+(\S+%)", lines[2])
    assert interval is not None
    half = interval[1]
    assert lines == [
        "step_1: 50.0%",
        "step_5: 50.0%",
        f"difference: +0.0% (95 % interval -{half} to +{half}, p = 1, 4 questions)",
        "gained 1, lost 1",
        "",
        "gained: q1",
        "  question 1",
        "  gold: 1",
        "  step_1: wrong, answer x",
        "    x",
        "  step_5: correct, answer 1",
        "    1",
        "",
        "lost: q2",
        "  question 2",
        "  gold: 2",
        "  step_1: correct, answer 2",
        "    2",
        "  step_5: wrong, answer x",
        "    x",
    ]
    assert said.err == f"evaluated in {job.folder.path}\nnext: rlrun status run\n"


def test_the_later_step_may_come_first(rlrun: Run, job: Job) -> None:
    said = rlrun("compare", "run", "5", "1")
    assert "gained: q2" in said.out
    assert "lost: q1" in said.out


def test_labels_do_for_numbers(rlrun: Run, job: Job) -> None:
    assert rlrun("compare", "run", "step_1", "step_5").out == rlrun("compare", "run", "1", "5").out


def test_json_has_both_completions_of_each_question_that_changed(rlrun: Run, job: Job) -> None:
    found = json.loads(rlrun("compare", "run", "1", "5", "--json").out)
    assert (found["before"], found["after"], found["num_questions"]) == ("step_1", "step_5", 4)
    assert found["folder"] == str(job.folder.path)
    assert (found["difference"], found["p"]) == (0.0, 1.0)
    assert found["interval"][0] == -found["interval"][1]
    (gained,), (lost,) = found["gained"], found["lost"]
    assert gained == {
        "id": "q1",
        "question": "question 1",
        "gold": "1",
        "before": [{"verdict": "wrong", "answer": "x", "text": "x"}],
        "after": [{"verdict": "correct", "answer": "1", "text": "1"}],
    }
    assert lost["id"] == "q2"


def test_two_runs_are_compared_at_their_newest_steps(rlrun: Run, root: Path, job: Job) -> None:
    evaluated(root, "other", {3: "----", 9: "+---"})
    said = rlrun("compare", "run", "other")
    assert said.out.splitlines()[:2] == ["other step_9: 25.0%", "run step_5: 50.0%"]
    assert "gained: q1" in said.out


def test_runs_under_different_plans_are_not_compared(rlrun: Run, root: Path, job: Job) -> None:
    other = make_job(root / "x", 3)
    keep(other, step_target(1), "+++")
    report.write(other, [step_target(1)])
    other.folder.path.rename(root / "eval_runs" / "other_sums")
    said = rlrun("compare", "run", "other")
    assert said.code == 4
    assert "runs 'run' and 'other' were not evaluated under one plan" in said.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("run", "1", "7"), 4, "steps 1 and 7 of run 'run' were not evaluated under one plan; 'r"),
        (("run", "1", "7"), 4, "'rlrun eval run --steps 1,7' does it"),
        (("run", "1", "mine_ab"), 4, "'rlrun eval run --steps N,N' does it"),
        (("run", "1"), 2, "give a second step, as in 'rlrun compare run 1 100', or a run"),
        (("run", "nobody"), 4, "there is no run 'nobody'"),
        (("a", "1", "2"), 4, "run 'a' was not evaluated; 'rlrun eval a --all-steps' does it"),
        (("aa", "1", "2"), 4, "there is no run 'aa'"),
        (("run", "1", "5", "--dataset", "gsm8k"), 4, "there is no run 'run'"),
        (("run",), 2, "missing argument"),
    ],
)
def test_what_was_not_evaluated_is_said(
    words: tuple[str, ...], code: int, sentence: str, rlrun: Run, make_run: Run, job: Job
) -> None:
    make_run("a")
    said = rlrun("compare", *words)
    assert (said.code, said.out) == (code, "")
    assert sentence in said.err
    as_json = rlrun("compare", *words, "--json")
    assert json.loads(as_json.err)["exit_code"] == code


def test_a_data_set_that_was_not_asked_is_said(rlrun: Run, make_run: Run, job: Job) -> None:
    make_run("run")
    said = rlrun("compare", "run", "1", "5", "--dataset", "gsm8k")
    assert said.code == 4
    assert "run 'run' was not evaluated on gsm8k; 'rlrun eval run --all-steps' does" in said.err
    assert rlrun("compare", "run", "1", "5", "--dataset", "sums").code == 0


def test_a_base_that_was_not_scored_can_be(rlrun: Run, make_run: Run, job: Job) -> None:
    make_run("run")
    assert "'rlrun eval run --steps 0,5' does it" in rlrun("compare", "run", "0", "5").err


def test_steps_that_have_no_question_in_common_are_said(rlrun: Run, root: Path) -> None:
    evaluated(root, "run", {1: "++!!", 2: "!!++"})
    said = rlrun("compare", "run", "1", "2")
    assert said.code == 4
    assert "step_1 and step_2 have no question that counts at both; 'rlrun eval run --" in said.err


def rewritten(job: Job, text: str) -> None:
    """Let step 5 have written this in answer to q1."""
    target = step_target(5, model="run 5")
    record = job.kept(target)["q1", 0]
    keeper = Keeper(job.folder.step(target.label).completions)
    keeper.keep(replace(record, text=text))
    keeper.close()


def test_a_long_completion_is_shown_from_its_end_unless_all_is_asked_for(
    rlrun: Run, job: Job
) -> None:
    rewritten(job, "begin" + "x" * 400 + "\nso 1")
    shown, whole = (rlrun("compare", "run", "1", "5", *words).out for words in ((), ("--full",)))
    assert "begin" not in shown
    assert "    [...] xxx" in shown
    assert "    so 1\n" in shown
    assert "    beginxxx" in whole


def test_what_a_model_wrote_does_nothing_to_the_terminal(rlrun: Run, job: Job) -> None:
    rewritten(job, "\x1b[2J\x07 so\t1 \N{GREEK SMALL LETTER PI}")
    said = rlrun("compare", "run", "1", "5")
    assert "\x1b" not in said.out
    assert "\x07" not in said.out
    assert r"\x1b[2J\x07 so\t1" in said.out
    assert "\N{GREEK SMALL LETTER PI}" in said.out


def test_every_sample_of_a_question_is_shown(root: Path, rlrun: Run) -> None:
    job = make_job(root, 1, num_samples=2)
    for step, samples in ((1, ("-", "-")), (2, ("+", "-"))):
        keep(job, step_target(step), *samples)
    report.write(job, [step_target(1), step_target(2)])
    lines = rlrun("compare", "run", "1", "2").out.splitlines()
    assert [line for line in lines if line.startswith("  step_")] == [
        "  step_1: wrong, answer x", "  step_1: wrong, answer x",
        "  step_2: correct, answer 0", "  step_2: wrong, answer x",
    ]  # fmt: skip


def test_a_sample_that_the_engine_failed_at_shows_why(root: Path, rlrun: Run) -> None:
    job = make_job(root, 1, num_samples=2)
    for step, samples in ((1, ("-", "!")), (2, ("+", "!"))):
        keep(job, step_target(step), *samples)
    report.write(job, [step_target(1), step_target(2)])
    out = rlrun("compare", "run", "1", "2").out
    assert out.count("engine error, no answer\n    it failed\n") == 2
