"""From what a command line asks to checked questions, checkpoints and an engine's spec."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import scoring
from support.scoring import adapter_files

from rlrun.engines import interpreters
from rlrun.errors import ConfigError, MissingExtraError, RunNotFoundError, UsageError
from rlrun.evaluation.request import Prepared, plan_settings, prepare, spec_of
from rlrun.runs.layout import RunDir


def prepared(root: Path, run: RunDir, /, *overrides: str, **changes: Any) -> Prepared:
    return prepare(scoring.request_of(root, run, *overrides, **changes), "torch")


def labels(found: Prepared) -> list[str]:
    return [one.label for one in found.wanted]


def test_all_steps_come_behind_their_base(root: Path) -> None:
    run = scoring.make_run(root, 1, 2).run
    assert labels(prepared(root, run)) == ["step_0", "step_1", "step_2"]
    assert labels(prepared(root, run, "eval.has_baseline=false")) == ["step_1", "step_2"]


def test_the_base_is_scored_where_step_0_is_named(root: Path) -> None:
    run = scoring.make_run(root, 1, 2).run
    for is_wanted in ("true", "false"):
        found = prepared(root, run, f"eval.has_baseline={is_wanted}", steps=(0, 2))
        assert labels(found) == ["step_0", "step_2"]
    assert labels(prepared(root, run, "eval.has_baseline=false", steps=(0,))) == ["step_0"]


def test_a_saved_step_0_is_the_base_and_not_scored_twice(root: Path) -> None:
    run = scoring.make_run(root, 0, 1).run
    assert labels(prepared(root, run)) == ["step_0", "step_1"]


def test_a_folder_is_scored_beside_the_base(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    folder = scoring.write(root / "mine", adapter_files(8))
    found = prepared(root, run, path=folder)
    assert labels(found)[0] == "step_0"
    assert labels(found)[1].startswith("mine_")


def test_what_cannot_be_scored_is_told_apart_from_what_can(root: Path) -> None:
    run = scoring.make_run(root, 1, 2).run
    (run.step(2) / "training_info.json").write_text("{")
    gone = root / "gone"
    found = prepared(root, run, f"model.initial_adapter={gone}")
    assert labels(found) == ["step_1"]
    assert [one.label for one in found.unusable] == ["step_0", "step_2"]


def test_a_run_without_a_checkpoint_is_said(root: Path) -> None:
    run = scoring.make_run(root).run
    with pytest.raises(UsageError, match=r"run 'a' has no checkpoints to score yet; 'rlrun status"):
        prepared(root, run)


def test_a_step_that_is_not_there_is_said(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    with pytest.raises(RunNotFoundError, match="run 'a' has no step 9"):
        prepared(root, run, steps=(9,))


def test_what_is_asked_follows_the_configuration(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    asked = prepared(
        root, run, "eval.num_samples=2", "eval.temperature=0.5", "eval.seed=3",
        "eval.max_samples=4", "sampling.max_completion_tokens=6", "model.dtype=bfloat16",
    ).asked  # fmt: skip
    assert asked.dataset == "arithmetic"
    assert len(asked.question_ids) == 4
    assert (asked.num_samples, asked.temperature, asked.seed) == (2, 0.5, 3)
    assert (asked.max_completion_tokens, asked.dtype, asked.engine) == (6, "bfloat16", "torch")
    longer = prepared(root, run, "eval.max_completion_tokens=7").asked
    assert longer.max_completion_tokens == 7


def test_settings_that_make_another_plan_are_told_from_those_that_do_not(root: Path) -> None:
    run = scoring.make_run(root, 1).run

    def settings(*overrides: str) -> object:
        return plan_settings(scoring.request_of(root, run, *overrides).config)

    own = settings()
    for same in ("eval.batch_rows=8", "eval.timeout_seconds=5", "eval.has_baseline=false",
                 "eval.max_adapters=1", "eval.engine=vllm"):  # fmt: skip
        assert settings(same) == own
    for other in ("eval.temperature=1", "eval.max_samples=6", "eval.seed=1",
                  "eval.max_completion_tokens=3"):  # fmt: skip
        assert settings(other) != own


def test_the_engine_takes_the_largest_rank_there_is_and_that_of_the_run(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    folder = scoring.write(root / "initial", adapter_files(8, rank=32))
    ours = prepared(root, run, "model.lora.rank=8")
    assert spec_of(ours, None).max_rank == 8  # checkpoints to come have it, those there have 4
    adapted = prepared(root, run, f"model.initial_adapter={folder}", "model.lora.rank=8")
    assert spec_of(adapted, None).max_rank == 32
    foreign = prepared(root, run, path=scoring.write(root / "b", adapter_files(8, 2)), run=None)
    assert spec_of(foreign, None).max_rank == 2


def test_a_run_that_trains_the_whole_model_needs_no_adapters(root: Path) -> None:
    maker = scoring.make_run(root)
    scoring.publish(maker, 1, files=scoring.model_files(8))
    found = prepared(root, maker.run, "model.lora=null")
    assert spec_of(found, None).max_rank == 0
    model = maker.run.step(1) / "model"
    assert (spec_of(found, model).model_path, spec_of(found, model).max_rank) == (str(model), 0)


def test_the_spec_says_what_the_configuration_says(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    found = prepared(
        root, run, "eval.max_adapters=2", "eval.batch_rows=8", "train.num_threads=3",
        "eval.gpu_memory_share=0.5", "sampling.max_prompt_tokens=20", device="cuda:1",
    )  # fmt: skip
    spec = spec_of(found, None)
    assert (spec.engine, spec.model_path, spec.dtype) == ("torch", "builtin:tiny", "float32")
    assert (spec.device, spec.max_prompt_tokens, spec.max_completion_tokens) == ("cuda:1", 20, 8)
    assert (spec.max_adapters, spec.batch_rows, spec.num_threads) == (2, 8, 3)
    assert spec.gpu_memory_share == 0.5


def test_an_engine_that_is_not_installed_is_said_first_of_all(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scoring.make_run(root, 1).run
    monkeypatch.setattr(interpreters, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="the torch engine needs torch"):
        prepared(root, run)


def test_leaks_are_looked_for_in_runs_alone(root: Path, tmp_path: Path) -> None:
    line = '{"question": "How much is 1+2?", "answer": "#### 3"}\n'
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    run = scoring.make_run(root, 1).run
    gsm8k = ("task.name=gsm8k", f"task.path={tmp_path}", "task.num_questions=null")
    with pytest.raises(ConfigError, match="1 of 1 held-out questions are training questions"):
        prepared(root, run, *gsm8k)
    folder = scoring.write(root / "mine", adapter_files(8))
    assert len(prepared(root, run, *gsm8k, path=folder, run=None).asked.question_ids) == 1


def test_a_foreign_run_is_scored_by_the_configuration_that_is_given(
    root: Path, make_foreign_run: Callable[[str], RunDir]
) -> None:
    run = make_foreign_run("old")
    scoring.write(run.step(40) / "model", adapter_files(8))
    own = scoring.make_run(root, 1).run
    assert labels(prepared(root, own, run=run)) == ["step_0", "step_40"]
