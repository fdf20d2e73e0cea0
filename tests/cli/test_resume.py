"""`rlrun resume`: what it refuses before a worker is started, and what it hands over."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.cli import watch
from rlrun.runs import ledger
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

Run = Callable[..., Any]
LINEAR = "grpo:\n  schedule: linear\ntrain:\n  max_steps: 10\n"
EPOCHS = "train:\n  num_epochs: 2\n"


@pytest.fixture
def make_stopped(make_run: Run, fake_worker: Run) -> Run:
    """Make a run that a session has taken to a step of 10."""
    fake_worker(max_steps=10)

    def make(step: int = 4, name: str = "a", **fields: Any) -> Any:
        maker = make_run(name, **fields)
        maker.opens()
        maker.starts()
        maker.steps(1, step)
        if step == 10:
            maker.saves(10)
        maker.ends(step=step, outcome="finished" if step == 10 else "stopped")
        return maker

    return make


def test_the_most_recently_active_run_is_resumed_and_named(rlrun: Run, make_stopped: Run) -> None:
    make_stopped()
    said = rlrun("resume")
    assert said.code == 0
    assert "resuming 'a', the most recently active run" in said.err
    assert "bitwise: continues from step 4" in said.err
    assert "step       10/10" in said.out


def test_a_run_that_somebody_writes_is_code_5_with_the_owner(rlrun: Run, make_stopped: Run) -> None:
    make_stopped().is_held_elsewhere(pid=4121, host="gpu-2")
    said = rlrun("resume", "a")
    assert said.code == 5
    assert "is being written by pid 4121 on gpu-2" in said.err


def test_a_finished_run_is_code_7_with_the_way_to_extend_it(rlrun: Run, make_stopped: Run) -> None:
    make_stopped(step=10)
    said = rlrun("resume", "a")
    assert (said.code, said.err) == (
        7,
        "error: run 'a' is finished at step 10 of 10; extend it with "
        "'rlrun resume a --set train.max_steps=N'\n",
    )


@pytest.mark.parametrize("options", [(), ("--from", "8")])
def test_a_finished_run_whose_last_checkpoint_does_not_verify_goes_on(
    options: tuple[str, ...], rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped(step=10)
    maker.saves(8)
    (maker.run.step(10) / "model" / "weights").write_bytes(b"54321")
    assert rlrun("resume", "a", *options).code == 0


def test_a_finished_run_whose_last_checkpoint_is_gone_goes_on(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped(step=10)
    shutil.rmtree(maker.run.step(10))
    assert rlrun("resume", "a").code == 0


def test_a_schedule_that_stretches_can_only_be_extended_inexactly(
    rlrun: Run, make_stopped: Run
) -> None:
    make_stopped(step=10, config=LINEAR)
    assert "--set train.max_steps=N --allow-inexact'" in rlrun("resume", "a").err
    assert rlrun("resume", "a", "--set", "train.max_steps=20").code == 10


def test_a_run_of_epochs_is_finished_where_its_last_session_said(
    rlrun: Run, make_stopped: Run
) -> None:
    make_stopped(step=10, config=EPOCHS)
    said = rlrun("resume", "a")
    assert said.code == 7
    assert "--set train.num_epochs=N" in said.err


def test_more_steps_or_epochs_are_something_to_do(
    rlrun: Run, make_stopped: Run, fake_worker: Run
) -> None:
    make_stopped(step=10, name="steps")
    make_stopped(step=10, name="epochs", config=EPOCHS)
    fake_worker(max_steps=12)
    assert rlrun("resume", "steps", "--set", "train.max_steps=12").code == 0
    assert rlrun("resume", "epochs", "--set", "train.num_epochs=3").code == 0


def test_a_free_setting_is_handed_over_and_recorded(rlrun: Run, make_stopped: Run) -> None:
    maker = make_stopped()
    said = rlrun("resume", "a", "--set", "saving.every_steps=2")
    assert said.code == 0
    assert "changed: saving.every_steps: null -> 2" in said.err
    start = ledger.read(maker.run)[-1].start
    assert start is not None
    assert start.changes == ("saving.every_steps: null -> 2",)


def test_settings_that_enter_an_update_are_refused_one_by_one(
    rlrun: Run, make_stopped: Run
) -> None:
    make_stopped()
    said = rlrun("resume", "a", "--set", "seed=7", "--set", "grpo.learning_rate=0.5")
    assert said.code == 10
    assert "seed: 0 -> 7; grpo.learning_rate: 0.001 -> 0.5; leave it out" in said.err


def test_allowed_to_be_inexact_they_are_taken(rlrun: Run, make_stopped: Run) -> None:
    make_stopped()
    said = rlrun("resume", "a", "--set", "seed=7", "--allow-inexact")
    assert said.code == 0
    assert "changed: seed: 0 -> 7" in said.err


def test_what_a_step_was_made_with_can_be_put_back(rlrun: Run, make_stopped: Run) -> None:
    maker = make_stopped()
    maker.saves(4)
    maker.run.config.write_text(f"{maker.run.config.read_text()}seed: 7\n")
    assert rlrun("resume", "a", "--set", "seed=8").code == 10
    said = rlrun("resume", "a", "--set", "seed=0")
    assert said.code == 0
    assert "changed: seed: 7 -> 0" in said.err


def test_a_step_that_is_not_there_is_code_4_with_those_that_are(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped()
    maker.saves(2)
    maker.saves(4)
    said = rlrun("resume", "a", "--from", "3")
    assert said.code == 4
    assert "run 'a' has no step 3 to go on from; it has 2, 4" in said.err


def test_the_newest_step_can_be_named(rlrun: Run, make_stopped: Run) -> None:
    maker = make_stopped()
    maker.saves(2)
    assert rlrun("resume", "a", "--from", "2").code == 0


def test_an_earlier_step_is_refused_before_a_session_is_made_of_it(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped()
    maker.saves(2)
    maker.saves(4)
    said = rlrun("resume", "a", "--from", "2")
    assert said.code == 2
    assert "step 2 of run 'a' is not the newest: step 4 is; add --rewind" in said.err
    assert "or --fork NEW_NAME" in said.err
    assert len(ledger.read(maker.run)) == 1


def test_going_back_is_the_workers_to_do(
    rlrun: Run, make_stopped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make_stopped()
    maker.saves(2)
    maker.saves(4)
    asked: list[SessionRequest] = []
    monkeypatch.setattr(watch, "work", lambda new: asked.append(new.request) or 0)
    assert rlrun("resume", "a", "--from", "2", "--rewind").code == 0
    assert rlrun("resume", "a", "--from", "0", "--rewind").code == 0
    assert [(one.from_step, one.is_rewind) for one in asked] == [(2, True), (0, True)]


@pytest.mark.parametrize("odd", [["--rewind"], ["--from", "2", "--rewind", "--fork", "b"]])
def test_going_back_needs_a_step_and_is_no_fork(
    odd: list[str], rlrun: Run, make_stopped: Run
) -> None:
    make_stopped()
    said = rlrun("resume", "a", *odd)
    assert said.code == 2
    assert "--rewind goes with --from STEP and not with --fork" in said.err


def test_a_fork_is_another_run_with_any_setting_changed(
    rlrun: Run, make_stopped: Run, root: Path
) -> None:
    maker = make_stopped()
    maker.saves(2)
    said = rlrun("resume", "a", "--from", "2", "--fork", "b", "--set", "seed=7")
    assert said.code == 0
    assert "forked run 'b' from step 2 of 'a'" in said.err
    assert "changed: seed: 0 -> 7" in said.err
    child = RunDir(root / "training_runs" / "b")
    assert "seed: 7\n" in child.config.read_text()
    assert len(ledger.read(maker.run)) == 1


def test_a_fork_from_an_older_step_says_what_it_does_otherwise(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped()
    maker.saves(2)
    maker.run.config.write_text(f"{maker.run.config.read_text()}seed: 7\n")
    maker.saves(4)
    said = rlrun("resume", "a", "--from", "2", "--fork", "b")
    assert said.code == 0
    assert "it goes on otherwise than step 2 was made: seed: 0 -> 7\n" in said.err
    said = rlrun("resume", "a", "--from", "2", "--fork", "c", "--set", "seed=0")
    assert "otherwise" not in said.err


def test_a_fork_from_the_latest_begins_at_the_newest_step_that_verifies(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped()
    maker.saves(2)
    maker.saves(4)
    (maker.run.step(4) / "model" / "weights").write_bytes(b"54321")
    said = rlrun("resume", "a", "--fork", "b")
    assert said.code == 0
    assert "forked run 'b' from step 2 of 'a'" in said.err


@pytest.mark.parametrize(("setting", "code"), [("model.lora.rank=3", 2), ("train.max_steps=2", 7)])
def test_a_fork_that_could_not_go_on_is_not_made(
    setting: str, code: int, rlrun: Run, make_stopped: Run, root: Path
) -> None:
    make_stopped().saves(2)
    assert rlrun("resume", "a", "--from", "2", "--fork", "b", "--set", setting).code == code
    assert not (root / "training_runs" / "b").exists()


def test_a_run_that_went_back_since_it_was_finished_can_go_on(
    rlrun: Run, make_stopped: Run
) -> None:
    maker = make_stopped(step=10)
    assert rlrun("resume", "a").code == 7
    maker.run.rewind.touch()
    assert rlrun("resume", "a").code == 0


def test_a_run_without_a_checkpoint_cannot_be_forked(rlrun: Run, make_stopped: Run) -> None:
    make_stopped()
    said = rlrun("resume", "a", "--fork", "b")
    assert said.code == 4
    assert "has no checkpoint to fork from" in said.err


def test_a_run_that_is_not_there_is_code_4_with_the_nearest(rlrun: Run, make_stopped: Run) -> None:
    make_stopped(name="gsm8k")
    said = rlrun("resume", "gsm8")
    assert said.code == 4
    assert "did you mean 'gsm8k'?" in said.err


def test_a_run_of_another_tool_is_code_4(rlrun: Run, make_foreign_run: Run) -> None:
    make_foreign_run("old")
    said = rlrun("resume", "old")
    assert said.code == 4
    assert "was not written by rlrun" in said.err


def test_an_empty_root_is_code_4(rlrun: Run, root: Path) -> None:
    said = rlrun("resume")
    assert said.code == 4
    assert "start one with 'rlrun train'" in said.err


def test_the_given_root_stands_in_the_hints(rlrun: Run, make_stopped: Run, root: Path) -> None:
    make_stopped()
    said = rlrun("resume", "a", "--steps", "1", "--root", str(root))
    assert f"next: rlrun resume a --root {root}" in said.err
