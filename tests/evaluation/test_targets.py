"""What can be scored, under which name, and why other things cannot."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import scoring
from support.scoring import adapter_files, model_files

from rlrun.errors import RunNotFoundError
from rlrun.evaluation import targets
from rlrun.evaluation.targets import Target, Unusable
from rlrun.runs import checkpoints
from rlrun.runs.layout import RunDir


def of_run(run: RunDir, *steps: int) -> list[Target]:
    """Return the targets of a run none of which is unusable."""
    found = [one for one in targets.of_run(run, steps or None) if isinstance(one, Target)]
    assert len(found) == len(targets.of_run(run, steps or None))
    return found


def reason_of(run: RunDir, step: int) -> str:
    (found,) = targets.of_run(run, (step,))
    assert isinstance(found, Unusable)
    assert found.label == f"step_{step}"
    return found.reason


def test_the_steps_of_a_run_are_adapters_in_their_order(root: Path) -> None:
    run = scoring.make_run(root, 10, 2).run
    found = of_run(run)
    assert [(one.label, one.step, one.kind, one.rank) for one in found] == [
        ("step_2", 2, "adapter", 4), ("step_10", 10, "adapter", 4),
    ]  # fmt: skip
    assert [one.folder for one in found] == [run.step(2) / "model", run.step(10) / "model"]


def test_those_that_are_named_are_taken_once_and_in_order(root: Path) -> None:
    run = scoring.make_run(root, 1, 2, 3).run
    assert [one.step for one in of_run(run, 3, 1, 3)] == [1, 3]


def test_a_step_that_is_not_there_is_said_with_those_that_are(root: Path) -> None:
    run = scoring.make_run(root, 1, 2).run
    with pytest.raises(RunNotFoundError, match=r"run 'a' has no step 7; it has 1, 2 \('rlrun stat"):
        targets.of_run(run, (1, 7))


def test_step_0_of_a_run_is_its_base_and_no_checkpoint(root: Path) -> None:
    run = scoring.make_run(root, 0, 1).run
    assert [one.step for one in of_run(run)] == [1]
    assert [one.step for one in of_run(run, 0, 1)] == [1]


def test_equal_models_have_one_hash_wherever_they_are(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    other = scoring.make_run(root, 1, 2, name="b").run
    copy = targets.of_path(scoring.write(root / "copy", adapter_files(8)))
    hashes = [one.model_hash for one in (*of_run(run), *of_run(other), copy)]
    assert hashes[0] == hashes[1] == hashes[3] != hashes[2]


def test_an_adapter_is_named_by_its_label_and_hash(root: Path) -> None:
    (target,) = of_run(scoring.make_run(root, 1).run)
    assert target.adapter_name == f"step_1@{target.model_hash[:12]}"


def test_a_full_checkpoint_is_a_model(root: Path) -> None:
    maker = scoring.make_run(root)
    scoring.publish(maker, 1, files=model_files(8))
    (target,) = of_run(maker.run)
    assert (target.kind, target.rank) == ("model", 0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda step: (step / "model" / "adapter_model.safetensors").write_bytes(b"x"),
        lambda step: (step / "model" / "adapter_config.json").unlink(),
        lambda step: (step / "training_info.json").write_text("{"),
    ],
    ids=["weights", "config", "manifest"],
)
def test_a_damaged_step_is_unusable_and_says_why(
    damage: Callable[[Path], object], root: Path
) -> None:
    run = scoring.make_run(root, 1, 2).run
    damage(run.step(1))
    assert reason_of(run, 1).startswith("it does not verify: ")
    assert [one.step for one in of_run(run, 2)] == [2]


def test_a_step_without_a_model_is_unusable(root: Path) -> None:
    maker = scoring.make_run(root)
    scoring.publish(maker, 1, files={"weights": b"12345"})
    assert str(maker.run.step(1) / "model") in reason_of(maker.run, 1)


@pytest.mark.parametrize("place", ["model", "."])
def test_another_tools_step_is_scored_from_wherever_its_model_is(
    place: str, make_foreign_run: Callable[[str], RunDir]
) -> None:
    run = make_foreign_run("old")
    for name, data in adapter_files(8).items():
        (run.step(40) / place).mkdir(exist_ok=True)
        (run.step(40) / place / name).write_bytes(data)
    (target,) = of_run(run)
    assert (target.label, target.step, target.kind) == ("step_40", 40, "adapter")


def test_another_tools_step_in_a_run_of_ours_is_scored(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    scoring.write(run.step(5) / "model", adapter_files(8))
    assert [one.step for one in of_run(run)] == [1, 5]


def test_another_tools_step_without_a_model_is_unusable(
    make_foreign_run: Callable[[str], RunDir],
) -> None:
    run = make_foreign_run("old")
    assert str(run.step(40)) in reason_of(run, 40)


def test_the_base_is_the_model_itself_or_the_initial_adapter(root: Path) -> None:
    bare = targets.of_base(None)
    folder = scoring.write(root / "initial", adapter_files(16, rank=8))
    adapted = targets.of_base(str(folder))
    assert isinstance(bare, Target)
    assert isinstance(adapted, Target)
    assert (bare.label, bare.step, bare.kind, bare.folder) == ("step_0", 0, None, None)
    assert (adapted.label, adapted.step, adapted.kind, adapted.rank) == ("step_0", 0, "adapter", 8)
    assert bare.model_hash != adapted.model_hash


def test_an_initial_adapter_that_is_gone_is_unusable(root: Path) -> None:
    found = targets.of_base(str(root / "gone"))
    assert isinstance(found, Unusable)
    assert (found.label, str(root / "gone") in found.reason) == ("step_0", True)


@pytest.mark.parametrize("inner", [".", "model"])
def test_a_folder_of_no_run_is_named_by_its_folder_and_hash(inner: str, root: Path) -> None:
    scoring.write(root / "mine" / inner, adapter_files(8))
    target = targets.of_path(root / "mine")
    assert target.label == f"mine_{target.model_hash[:8]}"
    assert (target.step, target.kind) == (None, "adapter")
    assert targets.of_path(root / "mine" / inner) == target
    assert targets.name_of_path(root / "mine" / inner) == "mine"


@pytest.mark.parametrize("text", ["gone", "file"])
def test_a_path_that_is_no_folder_is_said(text: str, root: Path) -> None:
    (root / "file").write_text("x")
    with pytest.raises(RunNotFoundError, match="there is no such folder; give a model's folder"):
        targets.of_path(root / text)


def test_a_folder_that_is_no_model_is_said(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(RunNotFoundError, match=r"--ckpt-path .*empty cannot be scored: "):
        targets.of_path(root / "empty")


def test_a_path_into_a_run_is_that_runs_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scoring.make_run(root, 3, 12).run
    checkpoints.repair_link(run, 12, session=1)
    monkeypatch.chdir(run.step(3))
    assert targets.run_of_path(run.step(3)) == (run, 3)
    assert targets.run_of_path(run.step(3) / "model") == (run, 3)
    assert targets.run_of_path(Path()) == (run, 3)
    assert targets.run_of_path(run.latest_link) == (run, 12)


def test_a_path_elsewhere_is_no_runs_step(root: Path) -> None:
    assert targets.run_of_path(root / "step_3") is None
    assert targets.run_of_path(root / "training_state" / "notes") is None


def test_a_checkpoint_is_kept_while_it_is_read(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    (target,) = of_run(run)
    base, folder = targets.of_base(None), scoring.write(root / "mine", adapter_files(8))
    assert isinstance(base, Target)
    for one in (target, base, targets.of_path(folder)):
        with targets.held(one):
            pass
    shutil.rmtree(run.step(1))
    with pytest.raises(RunNotFoundError, match="was removed before its turn came"):
        targets.held(target)
