"""`rlrun eval`: what it takes, what it refuses, what it says; the engine is the fake scorer."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import command, scoring
from support.run_maker import RunMaker
from support.scoring import Bench, adapter_files

from rlrun.cli import evaluate
from rlrun.cli.eval_view import EvalView
from rlrun.engines import interpreters
from rlrun.evaluation import questions
from rlrun.runs import lock
from rlrun.runs.layout import RunDir
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Grade

Run = Callable[..., Any]
LABELS = ["step_0", "step_1", "step_2", "step_3"]


def labels(said: Any) -> list[str]:
    return [row["label"] for row in json.loads(said.out)["steps"]]


def table(said: Any) -> list[list[str]]:
    return [re.split(r"  +", line) for line in said.out.splitlines()]


def test_all_steps_are_scored_and_shown_with_the_best_marked(rlrun: Run, bench: Bench) -> None:
    bench.evaluate()
    said = rlrun("eval", "a", "--all-steps", "--max-samples", "200")
    assert said.code == 0
    rows = table(said)
    assert rows[0][:5] == ["STEP", "ACCURACY", "95% INTERVAL", "VS BASE", "P"]
    assert [row[0] for row in rows[1:5]] == ["0", "1", "2", "3 (best)"]
    assert rows[2][1].endswith("%")
    assert re.fullmatch(r"\d+\.\d% to \d+\.\d%", rows[2][2])
    assert re.fullmatch(r"[+-]\d+\.\d% \[[+-]\d+\.\d%, [+-]\d+\.\d%\]", rows[2][3])
    assert said.out.splitlines()[5].startswith("best: step 3 with ")
    assert "chosen among 3, so " in said.out
    assert "next: rlrun compare a 0 3\n" in said.err
    assert f"kept in {bench.root / 'eval_runs' / 'a_arithmetic_'}" in said.err


def test_what_is_asked_and_what_it_can_show_is_said_before_the_engine_starts(
    rlrun: Run, bench: Bench
) -> None:
    bench.behave(refuse_start="no model")
    said = rlrun("eval", "a", "--all-steps", "--max-samples", "200")
    assert said.code == 8
    lines = said.err.splitlines()
    assert lines[0] == "200 questions of 843 in arithmetic, 1 completion each, greedy, for 4 models"
    assert re.match(
        r"a difference of \d+\.\d% would be seen with 80% chance \(in 5 comparisons, if", lines[1]
    )
    assert lines[2] == "a: starting the engine, which may take minutes"
    assert lines[-1].startswith("error: the torch engine refused: no model")
    assert len(lines) == 6  # and of the first try a warning, and that another is made


def test_few_questions_are_said_to_show_nothing(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--all-steps", "--max-samples", "1")
    assert "so few questions cannot show any difference; ask more of them" in said.err


def test_the_most_recently_active_run_is_evaluated_without_a_name(rlrun: Run, bench: Bench) -> None:
    assert json.loads(rlrun("eval", "--all-steps", "--json").out)["run"] == "a"


def test_the_same_command_again_has_nothing_to_do(rlrun: Run, bench: Bench) -> None:
    first = rlrun("eval", "a", "--all-steps")
    bench.num_starts()
    again = rlrun("eval", "a", "--all-steps")
    assert (again.code, again.out) == (0, first.out)
    assert "nothing to do: every completion is there already" in again.err
    assert "engine" not in again.err
    assert bench.num_starts() == 0


def test_what_is_piped_has_no_escape_codes_and_no_live_line(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--all-steps")
    assert "\x1b" not in said.out + said.err
    assert "\r" not in said.out + said.err
    assert re.search(r"^step_3: \d of 5 correct \(\d+\.\d%\)$", said.err, re.MULTILINE)


def test_json_has_every_column_of_every_step(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--all-steps", "--json")
    found = json.loads(said.out)
    assert found["run"] == "a"
    assert found["folder"] == str(bench.root / "eval_runs" / "a_arithmetic")
    assert (found["dataset"], found["num_engine_starts"], found["failed"]) == ("arithmetic", 1, {})
    assert found["engine"].startswith("torch ")
    assert [row["label"] for row in found["steps"]] == LABELS
    assert found["steps"][1]["diff_base"] is not None
    assert set(found["best"]) == {
        "step", "accuracy", "low", "high", "expected_accuracy", "undecided",
    }  # fmt: skip
    header = (bench.root / "eval_runs/a_arithmetic/consolidated_metrics.csv").read_text()
    assert list(found["steps"][0]) == header.splitlines()[0].split(",")
    assert "next:" not in said.err


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--steps", "1,3"), ["step_0", "step_1", "step_3"]),
        (("--steps", " 3, 1 "), ["step_0", "step_1", "step_3"]),
        (("--steps", "2", "--no-baseline"), ["step_2"]),
        (("--steps", "0"), ["step_0"]),
        (("--all-steps", "--no-baseline"), LABELS[1:]),
        (("--all-steps", "--baseline"), LABELS),
    ],
)
def test_the_steps_that_are_named_are_scored(
    options: tuple[str, ...], wanted: list[str], rlrun: Run, bench: Bench
) -> None:
    assert labels(rlrun("eval", "a", *options, "--json")) == wanted


def test_a_table_shows_what_was_asked_for_and_the_file_holds_all(rlrun: Run, bench: Bench) -> None:
    rlrun("eval", "a", "--all-steps")
    rows = table(rlrun("eval", "a", "--steps", "2"))
    assert [row[0] for row in rows[1:3]] == ["0", "2"]
    assert len(bench.digest()["table"]) == 4


@pytest.mark.parametrize(
    ("options", "num_questions", "is_own"),
    [
        ((), 5, True),
        (("--max-samples", "5"), 5, True),
        (("--max-samples", "7"), 7, False),
        (("--subset-frac", "0.01"), 9, False),  # 8.43, rounded up
    ],
)
def test_the_questions_can_be_bounded_in_one_way_or_the_other(
    options: tuple[str, ...], num_questions: int, is_own: bool, rlrun: Run, bench: Bench
) -> None:
    found = json.loads(rlrun("eval", "a", "--steps", "1", *options, "--json").out)
    assert {row["num_questions"] for row in found["steps"]} == {num_questions}
    assert (Path(found["folder"]).name == "a_arithmetic") == is_own


def test_several_samples_show_pass_and_majority(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--steps", "1", "--samples", "3", "--temperature", "0.8")
    assert said.code == 0
    assert {"PASS@K", "MAJ@K"} <= set(table(said)[0])
    assert "5 questions of 843 in arithmetic, 3 completions each, temperature 0.8" in said.err
    assert "PASS@K" not in rlrun("eval", "a", "--steps", "1").out


def test_options_that_make_no_other_plan_keep_the_runs_own_folder(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--all-steps", "--timeout", "9", "--engine", "torch", "--device",
                 "cpu", "--no-baseline", "--json")  # fmt: skip
    assert json.loads(said.out)["folder"].endswith("/a_arithmetic")


def test_where_vllm_cannot_be_started_torch_is_used_and_that_is_said(
    rlrun: Run, bench: Bench
) -> None:
    said = rlrun("eval", "a", "--steps", "1", "--engine", "auto")
    assert said.err.startswith(f"engine: torch, which is slower than vLLM ({sys.executable} has no")
    assert said.code == 0
    assert Path(bench.root / "eval_runs" / "a_arithmetic").is_dir()


def test_vllm_is_refused_where_it_is_not_installed(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "a", "--all-steps", "--engine", "vllm")
    assert said.code == 11
    assert "install vllm in an environment of its own and name its python with eval.pyt" in said.err


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 2, "say what to score: --all-steps, or --steps 1,5,10, or --ckpt-path FOLDER"),
        (("--all-steps", "--steps", "1"), 2, "say what to score"),
        (("--watch", "--ckpt-path", "x"), 2, "say what to score"),
        (("--steps", "1,,2"), 2, "--steps takes numbers such as 1,5,10, not '1,,2'"),
        (("--steps", ""), 2, "--steps takes numbers such as 1,5,10, not ''"),
        (("--steps", "one"), 2, "--steps takes numbers"),
        (("--all-steps", "--config", "tiny"), 2, "--config goes with --ckpt-path; a run has its"),
        (("--all-steps", "--device", "gpu"), 2, "'gpu' is not a device; use auto, cpu, cuda or"),
        (("--all-steps", "--dataset", "gsm9k"), 2, "--dataset gsm9k: neither a task nor a folder"),
        (("--all-steps", "--engine", "hf"), 3, "eval.engine"),
        (("--all-steps", "--max-samples", "0"), 3, "eval.max_samples"),
        (("--all-steps", "--subset-frac", "2"), 3, "eval.subset_frac"),
        (("--all-steps", "--subset-frac", ".1", "--max-samples", "5"), 3, "say the same thing"),
        (("--all-steps", "--samples", "4"), 3, "set eval.temperature"),
        (("--all-steps", "--temperature", "-1"), 3, "eval.temperature"),
        (("--all-steps", "--timeout", "0"), 3, "eval.timeout_seconds"),
        (("--steps", "9"), 4, "run 'a' has no step 9; it has 1, 2, 3 ('rlrun status a' shows"),
        (("--ckpt-path", "/no/such"), 4, "--ckpt-path /no/such: there is no such folder; give"),
        (("--ckpt-path", ".", "--config", "nope"), 4, "nope"),
        (("--rescore",), 4, "run 'a' was not evaluated yet; 'rlrun eval a --all-steps' does it"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_a_code(
    options: tuple[str, ...], code: int, sentence: str, rlrun: Run, bench: Bench
) -> None:
    said = rlrun("eval", "a", *options)
    assert (said.code, said.out) == (code, "")
    assert sentence in said.err
    assert "error: " in said.err
    as_json = rlrun("eval", "a", *options, "--json")
    assert (as_json.code, as_json.out) == (code, "")
    assert json.loads(as_json.err.splitlines()[-1])["exit_code"] == code


def test_a_run_that_is_not_there_is_said(rlrun: Run, bench: Bench) -> None:
    said = rlrun("eval", "aa", "--all-steps")
    assert said.code == 4
    assert "there is no run 'aa'" in said.err
    assert "did you mean 'a'?" in said.err


def test_a_run_without_a_checkpoint_is_said(rlrun: Run, bench: Bench) -> None:
    scoring.make_run(bench.root, name="new")
    said = rlrun("eval", "new", "--all-steps")
    assert said.code == 2
    assert "run 'new' has no checkpoints to score yet; 'rlrun status new' shows where" in said.err


def test_a_recommended_command_has_the_root_that_was_given(rlrun: Run, bench: Bench) -> None:
    root = str(bench.root)
    said = rlrun("eval", "a", "--rescore", "--root", root)
    assert f"'rlrun eval a --all-steps --root {root}' does it" in said.err
    said = rlrun("eval", "a", "--all-steps", "--root", root)
    assert f"next: rlrun compare a 0 3 --root {root}\n" in said.err


def test_a_checkpoint_of_a_run_given_by_its_path_is_that_step(
    rlrun: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.maker.run.step(2)
    for words in ((), ("a",)):
        said = rlrun("eval", *words, "--ckpt-path", str(path / "model"), "--json")
        assert labels(said) == ["step_0", "step_2"]
    monkeypatch.chdir(path)
    assert labels(rlrun("eval", "--ckpt-path", ".", "--json")) == ["step_0", "step_2"]
    assert len(list((bench.root / "eval_runs").glob("*/"))) == 1


def test_a_folder_of_no_run_is_compared_with_a_runs_base(rlrun: Run, bench: Bench) -> None:
    folder = scoring.write(bench.root / "mine", adapter_files(70))
    said = rlrun("eval", "a", "--ckpt-path", str(folder), "--json")
    assert said.code == 0
    base, mine = json.loads(said.out)["steps"]
    assert base["label"] == "step_0"
    assert re.fullmatch("mine_[0-9a-f]{8}", mine["label"])
    assert mine["diff_base"] is not None
    assert mine["diff_previous"] is None
    said = rlrun("eval", "a", "--ckpt-path", str(folder))
    assert f"next: rlrun compare a 0 {mine['label']}\n" in said.err
    assert rlrun("compare", "a", "0", mine["label"]).code == 0


def test_a_folder_can_be_scored_without_any_run(rlrun: Run, bench: Bench) -> None:
    folder = scoring.write(bench.root / "mine" / "model", adapter_files(70))
    options = ("--ckpt-path", str(folder), "--config", "tiny", "--max-samples", "3", "--engine",
               "torch")  # fmt: skip
    said = rlrun("eval", *options)
    assert said.code == 0, said.err
    assert (bench.root / "eval_runs" / "mine_arithmetic.engine.log").exists()
    assert "kept in " in said.err
    assert "nothing to do" in rlrun("eval", *options).err


def test_another_tools_run_needs_a_recipe(
    rlrun: Run, bench: Bench, make_foreign_run: Callable[[str], RunDir]
) -> None:
    run = make_foreign_run("old")
    scoring.write(run.step(40) / "model", adapter_files(70))
    said = rlrun("eval", "old", "--all-steps")
    assert said.code == 4
    assert "run 'old' has no config.yaml, so its model and task are not known; give" in said.err
    step = ("--ckpt-path", str(run.step(40)))
    assert "--config RECIPE" in rlrun("eval", *step).err
    said = rlrun("eval", *step, "--config", "tiny", "--max-samples", "3", "--json")
    assert said.code == 0
    assert [label.partition("_")[0] for label in labels(said)] == ["step", "step"]
    (run.config).write_text(bench.maker.run.config.read_text())
    assert labels(rlrun("eval", "old", "--all-steps", "--json")) == ["step_0", "step_40"]


def test_a_folder_of_questions_is_another_data_set(rlrun: Run, root: Path, bench: Bench) -> None:
    rows = (
        '{"question": "12+34=", "answer": "#### 46"}\n{"question": "5+6=", "answer": "#### 11"}\n'
    )
    for name, text in (("own", rows.replace("5+", "8+")), ("other", rows)):
        scoring.write(root / name, {"train.jsonl": b'{"question": "1+1=", "answer": "#### 2"}\n',
                                    "test.jsonl": text.encode()})  # fmt: skip
    config = (
        f"task:\n  name: gsm8k\n  path: {root / 'own'}\n  instructions: ''\n"
        "train:\n  max_steps: 1\neval:\n  engine: torch\n"
    )
    scoring.make_run(root, 1, name="words", config=config)
    said = rlrun("eval", "words", "--all-steps", "--dataset", str(root / "other"), "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["dataset"] == "other"
    assert Path(json.loads(said.out)["folder"]).name.startswith("words_other_")
    assert rlrun("eval", "words", "--rescore", "--json").code == 0


def test_a_question_file_that_does_not_read_is_said(rlrun: Run, root: Path, bench: Bench) -> None:
    scoring.write(root / "data", {"train.jsonl": b"{}\n", "test.jsonl": b"not json\n"})
    config = f"task:\n  name: gsm8k\n  path: {root / 'data'}\ntrain:\n  max_steps: 1\n"
    scoring.make_run(root, 1, name="words", config=config)
    said = rlrun("eval", "words", "--all-steps", "--engine", "torch")
    assert said.code == 3
    assert f"{root / 'data' / 'test.jsonl'}" in said.err


def test_a_step_that_cannot_be_scored_is_code_12_and_the_others_are(
    rlrun: Run, bench: Bench
) -> None:
    (bench.maker.run.step(1) / "training_info.json").write_text("{")
    bench.behave(refuse=["step_2"])
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 12
    assert [row[0] for row in table(said)[1:3]] == ["0", "3"]
    assert "warning: step_1 cannot be scored: it does not verify: " in said.err
    assert "warning: step_2 cannot be scored: " in said.err
    assert "error: 2 of 4 models could not be scored whole (step_1: it does not ver" in said.err
    assert said.err.endswith("the others were, and the same command tries again\n")
    as_json = rlrun("eval", "a", "--all-steps", "--json")
    assert as_json.code == 12
    assert set(json.loads(as_json.out)["failed"]) == {"step_1", "step_2"}


def test_a_completion_that_the_engine_fails_at_is_said_below_the_table(
    rlrun: Run, bench: Bench
) -> None:
    bench.behave(fail=["57+66="])
    said = rlrun("eval", "a", "--steps", "1")
    assert said.code == 12
    assert said.out.endswith(
        "step_1: not counted: 1 completion that the engine failed at; the same command tries "
        "again\n"
    )


def test_where_nothing_can_be_scored_no_engine_is_started(rlrun: Run, bench: Bench) -> None:
    for step in (1, 2, 3):
        (bench.maker.run.step(step) / "training_info.json").write_text("{")
    said = rlrun("eval", "a", "--all-steps", "--no-baseline")
    assert (said.code, said.out, bench.num_starts()) == (12, "", 0)
    assert "3 of 3 models could not be scored whole" in said.err
    assert said.err.endswith("); the same command tries again\n")


def test_an_engine_that_dies_is_warned_of_and_the_work_goes_on(rlrun: Run, bench: Bench) -> None:
    bench.behave(do="exit", at_step=9, once=bench.once())
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 0
    assert "warning: the torch engine ended on its own" in said.err
    assert "what it has completed is kept" in said.err
    assert said.err.count("starting the engine") == 2


def test_stored_completions_are_graded_again(
    rlrun: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rlrun("eval", "a", "--all-steps")
    monkeypatch.setattr(Arithmetic, "grade", lambda *_, **__: Grade("correct", "1"))
    monkeypatch.setattr(questions, "reward_code_hash", lambda _: "new code")
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 2
    assert "graded by other code than today's; grade all that is stored again: the sam" in said.err
    bench.num_starts()
    said = rlrun("eval", "a", "--all-steps", "--rescore")
    assert said.code == 0
    assert re.fullmatch(
        r"a_arithmetic step_0: 5 completions graded again, \d became correct, 0 no longer are",
        said.out.splitlines()[0],
    )
    assert "next: rlrun eval a --all-steps\n" in said.err
    found = json.loads(rlrun("eval", "a", "--rescore", "--json").out)
    assert [one["label"] for one in found["rescored"]] == LABELS
    assert found["rescored"][0]["num_graded"] == 5
    assert rlrun("eval", "a", "--all-steps").code == 0
    assert bench.num_starts() == 0


def test_what_is_stored_of_a_folder_of_no_run_is_graded_again_too(rlrun: Run, bench: Bench) -> None:
    folder = scoring.write(bench.root / "mine", adapter_files(70))
    options = ("--ckpt-path", str(folder), "--config", "tiny", "--max-samples", "3")
    rlrun("eval", *options, "--engine", "torch")
    said = rlrun("eval", *options, "--rescore")
    assert said.code == 0
    assert said.out.startswith("mine_arithmetic")


class FollowedRun:
    """A run in training; each time that it is waited for, the next thing happens to it."""

    def __init__(self, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maker = maker
        self.happenings: list[Callable[[], object]] = []
        self.num_waits = 0
        maker.opens()
        maker.starts()
        self.lock = maker.is_held_here()
        waits = EvalView.waits

        def happen(view: EvalView) -> None:
            waits(view)
            self.num_waits += 1
            self.happenings.pop(0)()

        monkeypatch.setattr(EvalView, "waits", happen)
        monkeypatch.setattr(evaluate, "POLL_SECONDS", 0.0)

    def ends(self, step: int = 10) -> None:
        self.maker.ends(step=step, outcome="finished")
        self.lock.release()


@pytest.fixture
def followed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FollowedRun]:
    run = FollowedRun(bench.maker, monkeypatch)
    yield run
    if lock.find_holder(run.maker.run) is not None:
        run.lock.release()


def test_a_run_that_is_followed_has_each_new_checkpoint_scored_by_one_engine(
    rlrun: Run, bench: Bench, followed: FollowedRun
) -> None:
    followed.happenings = [
        lambda: scoring.publish(bench.maker, 4),
        lambda: None,
        lambda: scoring.publish(bench.maker, 5, 6),
        followed.ends,
    ]
    said = rlrun("eval", "a", "--watch", "--json")
    assert said.code == 0
    assert labels(said) == [*LABELS, "step_4", "step_5", "step_6"]
    assert json.loads(said.out)["num_engine_starts"] == bench.num_starts() == 1
    assert followed.happenings == []
    assert said.err.count("a: waiting for a checkpoint (Ctrl-C stops following)") == 3


def test_what_a_run_saves_at_its_very_end_is_scored_too(
    rlrun: Run, bench: Bench, followed: FollowedRun
) -> None:
    def last() -> None:
        scoring.publish(bench.maker, 10)
        followed.ends()

    followed.happenings = [last]
    assert labels(rlrun("eval", "a", "--watch", "--json")) == [*LABELS, "step_10"]


def test_no_engine_is_started_before_there_is_a_checkpoint(
    rlrun: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = FollowedRun(scoring.make_run(bench.root, name="new"), monkeypatch)
    followed.happenings = [
        lambda: None,
        lambda: bench.num_starts() == 0 and scoring.publish(followed.maker, 2),
        followed.ends,
    ]
    said = rlrun("eval", "new", "--watch", "--json")
    assert labels(said) == ["step_0", "step_2"]


def test_a_run_that_ends_without_a_checkpoint_is_said(
    rlrun: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = FollowedRun(scoring.make_run(bench.root, name="new"), monkeypatch)
    followed.happenings = [followed.ends]
    said = rlrun("eval", "new", "--watch")
    assert (said.code, bench.num_starts()) == (2, 0)
    assert "run 'new' has no checkpoints to score yet" in said.err


def test_a_run_that_has_ended_is_scored_once(rlrun: Run, bench: Bench) -> None:
    assert labels(rlrun("eval", "a", "--watch", "--json")) == LABELS


def test_checkpoints_that_are_removed_while_a_run_is_followed_stay_in_the_table(
    rlrun: Run, bench: Bench, followed: FollowedRun
) -> None:
    followed.happenings = [
        lambda: bench.maker.run.step(1).rename(bench.root / "removed"),
        followed.ends,
    ]
    said = rlrun("eval", "a", "--watch")
    assert [row[0].split()[0] for row in table(said)[1:5]] == ["0", "1", "2", "3"]


@pytest.fixture
def start(bench: Bench) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the real command, its engines replaced, in a process of its own."""
    processes = []

    def start_command(*arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "support.scoring_rlrun", *arguments]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start_command
    for process in processes:
        process.kill()
        process.communicate(timeout=20)


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_no_process_and_goes_on_later(
    number: signal.Signals, bench: Bench, start: Run, rlrun: Run
) -> None:
    bench.behave(step_seconds=0.05)
    process = start("eval", "a", "--all-steps")
    command.wait_for(lambda: len(scoring.asked(bench.log)) > 0)
    (engine,) = children_of(process.pid)
    workers = children_of(engine)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    command.wait_for(lambda: all(map(is_gone, [engine, *workers])), timeout_seconds=20)
    if number is signal.SIGINT:
        assert (process.returncode, out) == (75, "")
        assert re.search(
            r"^stopped: \d+ completions? made by this command kept; the same command goes on$",
            err, re.MULTILINE,
        )  # fmt: skip
    else:
        assert process.returncode == -number
    kept = len(scoring.stored(scoring.folder_of(bench.root)))
    bench.asked()
    bench.behave()
    assert rlrun("eval", "a", "--all-steps").code == 0
    assert len(bench.asked()) == 20 - kept


def test_an_evaluation_that_is_stopped_while_the_engine_starts_says_so(
    bench: Bench, rlrun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "EngineProcess", interrupted)
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 75
    assert "stopped: 0 completions made by this command kept; the same command goes" in said.err


def test_two_commands_at_the_same_time_do_not_write_into_one_folder(
    bench: Bench, start: Run, rlrun: Run
) -> None:
    bench.behave(step_seconds=0.05)
    process = start("eval", "a", "--all-steps")
    command.wait_for(lambda: len(scoring.asked(bench.log)) > 0)
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 5
    assert "is being written by another 'rlrun eval'; wait until it is done" in said.err
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_help_names_every_option_and_code(rlrun: Run) -> None:
    said = rlrun("eval", "--help")
    for word in (
        "--all-steps", "--steps", "--ckpt-path", "--config", "--dataset", "--subset-frac",
        "--max-samples", "--samples", "--temperature", "--engine", "--device", "--timeout",
        "--no-baseline", "--watch", "--rescore", "--json", "--root", "12 some", "75 stop",
    ):  # fmt: skip
        assert word in said.out


def test_an_engine_that_is_missing_is_said_before_anything_is_written(
    rlrun: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, "find_spec", lambda _: None)
    said = rlrun("eval", "a", "--all-steps")
    assert said.code == 11
    assert "the torch engine needs torch" in said.err
    assert not (bench.root / "eval_runs").exists()
    assert os.environ["RLRUN_ROOT"] == str(bench.root)


def test_a_step_that_is_in_an_archive_only_is_fetched_if_that_is_asked_for(
    rlrun: Run, bench: Bench, store: Path
) -> None:
    rlrun("archive", "a", "--to", str(store), "--cleanup")
    said = rlrun("eval", "a", "--steps", "0,1,3")
    assert said.code == 4
    assert f"step 1 of run 'a' is not here but in {store}; add --restore to fetch it" in said.err
    said = rlrun("eval", "a", "--steps", "0,1,3", "--restore", "--json")
    assert f"run 'a': restoring step 1 from {store}" in said.err
    assert labels(said) == ["step_0", "step_1", "step_3"]
    said = rlrun("eval", "a", "--all-steps", "--restore")
    assert said.code == 2
    assert "--restore goes with --steps N,N" in said.err
