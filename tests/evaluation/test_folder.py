"""Where evaluations are kept: one folder a plan, and one writer a folder."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from support.evaluations import ASKED, FOUND, make_prompts

from rlrun.errors import DamagedError, LockedError
from rlrun.evaluation import folder as folders
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.plan import Asked, Plan

OWN = Plan(ASKED, FOUND)
OTHER = Plan(replace(ASKED, temperature=0.5), FOUND)


def make(root: Path, plan: Plan, *, is_own: bool, name: str = "run") -> EvalFolder:
    with folders.held_for(root, name, plan, make_prompts(3), is_own=is_own) as folder:
        return folder


def found(root: Path, asked: Asked = ASKED, *, name: str = "run", device: str = "auto",
          model_path: str = "") -> object:  # fmt: skip
    return folders.find_asked(root, name, asked, model_path=model_path, device=device)


def test_the_runs_own_plan_has_the_plain_folder(tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    assert folder.path == tmp_path / "eval_runs" / "run_sums"
    assert folders.read_plan(folder) == OWN
    assert folders.read_questions(folder) == {one.id: one for one in make_prompts(3)}
    assert folder.step("step_5").completions == folder.path / "step_5_sums" / "completions.jsonl"


def test_another_plan_adds_its_hash_and_is_found_again(tmp_path: Path) -> None:
    make(tmp_path, OWN, is_own=True)
    folder = make(tmp_path, OTHER, is_own=False)
    assert folder.path.name == f"run_sums_{OTHER.short}"
    assert folders.choose(tmp_path, "run", OTHER, is_own=False) == folder


def test_the_plain_folder_is_not_taken_from_a_plan_that_has_it(tmp_path: Path) -> None:
    make(tmp_path, OTHER, is_own=True)  # what was the run's own plan with an earlier engine
    assert folders.choose(tmp_path, "run", OWN, is_own=True).path.name == f"run_sums_{OWN.short}"


def test_what_asks_just_the_same_is_found_without_an_engine(tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    assert found(tmp_path) == found(tmp_path, device="cpu") == (folder, OWN)
    assert found(tmp_path, OTHER.asked) is None
    assert found(tmp_path, name="other") is None


def test_another_base_or_device_is_not_taken_for_what_was_asked(tmp_path: Path) -> None:
    make(tmp_path, replace(OWN, model_path="/models/a"), is_own=True)
    assert found(tmp_path, model_path="/models/a") is not None
    assert found(tmp_path, model_path="/models/b") is None
    assert found(tmp_path, model_path="/models/a", device="cuda:1") is None


def test_two_plans_that_ask_the_same_of_other_models_are_left_to_the_engine(tmp_path: Path) -> None:
    make(tmp_path, OWN, is_own=True)
    make(tmp_path, Plan(ASKED, replace(FOUND, weights_hash="other")), is_own=False)
    assert found(tmp_path) is None


def test_runs_whose_names_begin_alike_are_told_apart(tmp_path: Path) -> None:
    mine = make(tmp_path, OWN, is_own=True)
    longer = make(tmp_path, OWN, is_own=True, name="run_sums")
    assert folders.evaluations_of(tmp_path, "run", None) == [mine]
    assert folders.evaluations_of(tmp_path, "run_sums", "sums") == [longer]
    assert folders.evaluations_of(tmp_path, "run", "other") == []


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    with (
        folders.held(folder),
        pytest.raises(LockedError, match="another 'rlrun eval'"),
        folders.held(folder),
    ):
        pass
    with folders.held(folder):
        pass


def test_a_folder_that_another_plan_took_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = folders.held

    def taken_meanwhile(folder: EvalFolder) -> AbstractContextManager[None]:
        monkeypatch.setattr(folders, "held", held)
        make(tmp_path, OTHER, is_own=True)
        return held(folder)

    monkeypatch.setattr(folders, "held", taken_meanwhile)
    assert make(tmp_path, OWN, is_own=True).path.name == f"run_sums_{OWN.short}"
    assert folders.read_plan(EvalFolder(tmp_path / "eval_runs" / "run_sums", "sums")) == OTHER


def test_questions_that_are_not_the_plans_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    folder.questions.unlink()
    with pytest.raises(DamagedError, match=r"questions\.jsonl does not hold the questions of"):
        folders.read_questions(folder)


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    folder.scratch.mkdir()
    (folder.scratch / "adapter").write_text("x")
    step = folder.step("step_1").path
    step.mkdir()
    (step / ".summary.json.tmp").write_text("{")
    with folders.held(folder):
        assert sorted(path.name for path in folder.path.rglob("*")) == [
            "eval_config.yaml", "lock", "questions.jsonl", "step_1_sums",
        ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", "asked: 3\n", "\xff"])
def test_a_plan_that_does_not_read_is_said(text: str, tmp_path: Path) -> None:
    folder = make(tmp_path, OWN, is_own=True)
    folder.config.write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedError, match="move its folder aside, and evaluate again"):
        folders.read_plan(folder)
