"""From a request to numbers on disk, with an engine only where something is missing.

What happens when an engine misbehaves is in test_work.py.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import scoring
from support.scoring import Bench, Recorder

from rlrun.errors import ConfigError, EngineError, LockedError, StorageError, UsageError
from rlrun.evaluation import evaluate, questions
from rlrun.evaluation import folder as folders
from rlrun.evaluation.evaluate import Evaluation
from rlrun.evaluation.request import prepare
from rlrun.runs import files
from rlrun.tasks.arithmetic import Arithmetic

NUM_QUESTIONS = 5
LABELS = ("step_0", "step_1", "step_2", "step_3")


def test_all_steps_and_their_base_are_scored_by_one_engine(bench: Bench) -> None:
    done = bench.evaluate()
    assert done.labels == done.scored == LABELS
    assert done.given_up == {}
    assert (done.num_starts, bench.num_starts()) == (1, 1)
    assert done.start_seconds > 0
    kept = scoring.stored(done.folder)
    assert len(kept) == len(LABELS) * NUM_QUESTIONS == len(set(bench.asked()))
    assert all(record.is_final and record.plan == done.plan.hash for record in kept.values())


def test_every_step_gets_the_same_questions_with_the_same_seeds(bench: Bench) -> None:
    kept = scoring.stored(bench.evaluate().folder)
    seeds = {(key[0], key[2]): record.seed for key, record in kept.items()}
    for question in {question for _, question in seeds}:
        assert len({seeds[label, question] for label in LABELS}) == 1


def test_the_same_command_again_starts_no_engine_and_writes_nothing(bench: Bench) -> None:
    first = bench.evaluate()
    bench.asked()
    bench.num_starts()
    before = {path: path.stat().st_mtime_ns for path in first.folder.path.rglob("*")}
    again = bench.evaluate()
    assert (again.num_starts, bench.num_starts(), bench.asked()) == (0, 0, [])
    assert again.scored == LABELS
    assert {path: path.stat().st_mtime_ns for path in first.folder.path.rglob("*")} == before


def test_what_a_killed_command_had_kept_is_not_generated_again(bench: Bench) -> None:
    bench.evaluate()
    undisturbed, whole = bench.digest(), bench.asked()
    shutil.rmtree(bench.root / "eval_runs")

    class Interrupted(Recorder):
        def completed(self, *event: Any) -> None:
            super().completed(*event)
            if len(self.of("completed")) == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoring.evaluate(scoring.request_of(bench.root, bench.maker.run), Interrupted())
    kept = {key[:3] for key in scoring.stored(scoring.folder_of(bench.root))}
    bench.asked()
    bench.evaluate()
    assert len(kept) == 7
    assert len(bench.asked()) == len(whole) - 7
    assert sum(event[2] for event in bench.seen.of("begins")) == 7
    assert bench.digest() == undisturbed


def test_another_plan_gets_a_folder_of_its_own(bench: Bench) -> None:
    own = bench.evaluate()
    before = bench.digest()
    other = bench.evaluate("eval.temperature=0.5", is_own=False)
    assert own.folder.path.name == "a_arithmetic"
    assert other.folder.path.name == f"a_arithmetic_{other.plan.short}"
    assert scoring.digest(own.folder) == before
    bench.num_starts()
    assert bench.evaluate("eval.temperature=0.5", is_own=False).folder == other.folder
    assert bench.num_starts() == 0


def test_more_questions_are_another_plan_whose_folder_asks_them_all(bench: Bench) -> None:
    few = bench.evaluate("eval.max_samples=2")
    many = bench.evaluate("eval.max_samples=3", is_own=False)
    assert few.folder != many.folder
    assert set(few.plan.asked.question_ids) < set(many.plan.asked.question_ids)


def test_several_samples_are_drawn_each_with_a_seed_of_its_own(bench: Bench) -> None:
    done = bench.evaluate("eval.num_samples=3", "eval.temperature=1.0", "eval.max_samples=2")
    kept = scoring.stored(done.folder)
    assert len(kept) == len(LABELS) * 2 * 3
    assert len({record.seed for record in kept.values()}) == 2 * 3


def test_a_new_checkpoint_alone_is_generated(bench: Bench) -> None:
    bench.evaluate()
    bench.asked()
    scoring.publish(bench.maker, 4)
    assert bench.evaluate().scored == (*LABELS, "step_4")
    assert {name.partition("@")[0] for name, _, _ in bench.asked()} == {"step_4"}


def test_checkpoints_that_come_while_it_goes_on_are_scored_by_the_same_engine(
    bench: Bench,
) -> None:
    request = scoring.request_of(bench.root, bench.maker.run)
    prepared = prepare(request, "torch")
    with Evaluation(prepared, scoring.start, Recorder()) as evaluation:
        evaluation.evaluate(prepared)
        scoring.publish(bench.maker, 4)
        done = evaluation.evaluate(prepare(request, "torch"))
        assert evaluation.evaluate(prepare(request, "torch")) == done
    assert done.scored == (*LABELS, "step_4")
    assert bench.num_starts() == 1


def test_a_step_that_was_trained_again_is_another_model(bench: Bench) -> None:
    first = bench.evaluate()
    bench.asked()
    shutil.rmtree(bench.maker.run.step(3))
    scoring.publish(bench.maker, 3, files=scoring.adapter_files(77))
    bench.evaluate()
    assert {name.partition("@")[0] for name, _, _ in bench.asked()} == {"step_3"}
    kept = scoring.stored(first.folder)
    assert len({key[1] for key in kept if key[0] == "step_3"}) == 2
    table = bench.digest()["table"]
    assert [row["num_completions"] for row in table] == ["5"] * 4


def test_a_second_command_at_the_same_time_is_refused_and_its_engine_ended(bench: Bench) -> None:
    folder = bench.evaluate().folder
    scoring.publish(bench.maker, 4)
    engines = []

    def start(*arguments: Any) -> Any:
        engines.append(scoring.start(*arguments))
        return engines[-1]

    with folders.held(folder), pytest.raises(LockedError, match="another 'rlrun eval'"):
        bench.evaluate(starter=start)
    assert not Path(f"/proc/{engines[0].pid}").exists()


def test_another_device_than_the_stored_one_is_asked_of_an_engine(bench: Bench) -> None:
    bench.evaluate(device="cpu")
    bench.num_starts()
    assert bench.evaluate(device="cpu").num_starts == 0
    assert bench.evaluate(device="cuda").num_starts == 1


def test_another_base_is_never_answered_from_what_is_stored(bench: Bench) -> None:
    bench.evaluate()
    moved = bench.evaluate("model.path=/models/elsewhere")
    assert moved.num_starts == 1  # it says that the weights are the same, so
    assert moved.folder == scoring.folder_of(bench.root)


def test_what_other_code_has_graded_is_refused_whichever_steps_are_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.evaluate()
    before = bench.digest()
    scoring.publish(bench.maker, 4)
    monkeypatch.setattr(questions, "reward_code_hash", lambda _: "another")
    for steps in ((1,), (4,)):
        with pytest.raises(UsageError, match=r"5 completions in .*the same command with --rescore"):
            bench.evaluate(steps=steps)
    bench.asked()
    assert bench.digest()["records"] == before["records"]


def test_a_check_that_timed_out_is_made_again_without_an_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    grade = Arithmetic.grade

    def times_out(task: Arithmetic, prompt: Any, text: str, *, is_truncated: bool) -> Any:
        found = grade(task, prompt, text, is_truncated=is_truncated)
        is_slow = prompt.id.endswith("57+66")
        return replace(found, verdict="checker_timeout") if is_slow else found

    with monkeypatch.context() as patch:
        patch.setattr(Arithmetic, "grade", times_out)
        bench.evaluate()
        row = bench.digest()["table"][1]
        assert (row["num_questions"], row["num_checker_timeout"]) == ("4", "1")
    bench.num_starts()
    assert bench.evaluate().num_starts == 0
    row = bench.digest()["table"][1]
    assert (row["num_questions"], row["num_checker_timeout"]) == ("5", "0")


def test_questions_that_are_too_long_are_refused_by_name_and_length(bench: Bench) -> None:
    with pytest.raises(ConfigError) as refused:
        bench.evaluate("sampling.max_prompt_tokens=5")
    assert "sampling.max_prompt_tokens=5: 5 of 5 questions are longer; the longest" in str(
        refused.value
    )
    assert list((bench.root / "eval_runs").iterdir()) == [
        bench.root / "eval_runs" / "a_arithmetic.engine.log"
    ]


def test_a_disk_that_is_full_is_said_and_ends_the_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(operation: str, path: Path) -> None:
        if path.name == "completions.jsonl" and operation == "write":
            raise StorageError("no space")

    with files.watched(full), pytest.raises(StorageError, match="no space"):
        bench.evaluate()
    assert bench.evaluate().scored == LABELS


def test_an_engine_that_dies_at_its_first_question_is_started_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, failures = evaluate._encoded, [EngineError("it died")]

    def fails_once(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return encoded(*arguments)

    monkeypatch.setattr(evaluate, "_encoded", fails_once)
    done = bench.evaluate()
    assert (done.scored, done.num_starts) == (LABELS, 2)
    assert bench.seen.of("failed") == [("it died",)]


def test_an_engine_that_dies_at_its_first_question_each_time_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise EngineError("it died")

    monkeypatch.setattr(evaluate, "_encoded", fails)
    with pytest.raises(EngineError, match="it died"):
        bench.evaluate()
    assert bench.num_starts() == 2
