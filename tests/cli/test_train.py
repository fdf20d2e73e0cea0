"""`rlrun train` with a worker that takes steps without a model."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.runs import ledger, lock
from rlrun.runs.layout import RunDir
from rlrun.sessions import launch

Run = Callable[..., Any]
PATIENCE_SECONDS = 20.0


def run_dir(root: Path, name: str = "a") -> RunDir:
    return RunDir(root / "training_runs" / name)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_taken_a_step(run: RunDir) -> bool:
    return run.train_log.exists() and run.train_log.stat().st_size > 0


def test_a_run_is_created_trained_and_summed_up(rlrun: Run, fake_worker: Run, root: Path) -> None:
    fake_worker(max_steps=2)
    said = rlrun("train", "--name", "a", "--set", "train.max_steps=2")
    assert said.code == 0
    assert "created run 'a' from tiny in" in said.err
    assert "bitwise: begins at step 0" in said.err
    assert "step 2/2  reward 0.500" in said.err
    assert "session    1, finished" in said.out
    assert f"tensorboard --logdir {run_dir(root).tensorboard}" in said.err
    assert "max_steps: 2\n" in run_dir(root).config.read_text()


def test_what_is_piped_has_no_escape_codes(rlrun: Run, fake_worker: Run) -> None:
    fake_worker()
    said = rlrun("train")
    assert "\x1b" not in said.out + said.err


def test_a_run_without_a_name_is_called_by_the_time(
    rlrun: Run, fake_worker: Run, root: Path
) -> None:
    fake_worker(max_steps=1)
    rlrun("train")
    (path,) = (root / "training_runs").iterdir()
    assert path.name.startswith("run_20")


def test_a_taken_name_is_code_4(rlrun: Run, fake_worker: Run, make_run: Run) -> None:
    make_run("a")
    fake_worker()
    said = rlrun("train", "--name", "a")
    assert said.code == 4
    assert "continue it with 'rlrun resume a', or choose another --name" in said.err


def test_orders_reach_the_worker(rlrun: Run, fake_worker: Run, root: Path) -> None:
    fake_worker(max_steps=5)
    said = rlrun("train", "--name", "a", "--steps", "3", "--max-time", "2h", "--device", "cpu")
    assert "to step 3/5" in said.err
    assert "took the steps asked for" in said.out
    assert "rlrun resume a" in said.err


def test_a_missing_extra_is_code_11_and_creates_nothing(
    rlrun: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TRAIN_PACKAGES", ("no_such_thing",))
    said = rlrun("train")
    assert said.code == 11
    assert said.err.count("\n") == 1
    assert list(root.iterdir()) == []


def test_a_failure_that_the_worker_explains_is_its_sentence_and_its_code(
    rlrun: Run, fake_worker: Run
) -> None:
    fake_worker(fail_at=2)
    said = rlrun("train")
    assert said.code == 8
    assert said.err.endswith("error: out of memory while updating\n")


def test_a_refusal_while_loading_is_its_sentence_and_its_code(rlrun: Run, fake_worker: Run) -> None:
    fake_worker(refuse=10)
    said = rlrun("train")
    assert said.code == 10
    assert "error: it was refused for a reason\n" in said.err
    assert (
        "is there and has no step yet; correct a setting and go on with 'rlrun resume" in said.err
    )


def test_a_worker_that_dies_is_code_8_with_its_signal_and_the_way_on(
    rlrun: Run, fake_worker: Run
) -> None:
    fake_worker(die_at=3)
    said = rlrun("train", "--name", "a")
    assert said.code == 8
    assert said.err.splitlines()[-1] == (
        "error: the worker of run 'a' was killed by SIGKILL (out of memory?) at step 2 without "
        "saying why; what it printed is shown by 'rlrun logs a --worker', and 'rlrun resume a' "
        "goes on from what is saved and journaled"
    )


def test_a_worker_that_cannot_begin_is_code_8(
    rlrun: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "WORKER_COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr(launch, "TRAIN_PACKAGES", ())
    said = rlrun("train")
    assert said.code == 8
    assert "ended with code 3 before its first step" in said.err


def test_ten_steps_without_a_reward_are_warned_of_once(rlrun: Run, fake_worker: Run) -> None:
    fake_worker(max_steps=12, rewards=[0])
    said = rlrun("train")
    assert said.err.count("warning: the reward has been 0 for 10 steps") == 1


def test_nine_steps_without_a_reward_are_not(rlrun: Run, fake_worker: Run) -> None:
    fake_worker(max_steps=12, rewards=[0] * 9 + [0.5])
    assert "warning" not in rlrun("train").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_the_end_is_awaited(
    number: signal.Signals, start_rlrun: Run, root: Path
) -> None:
    process = start_rlrun("train", "--name", "a", max_steps=500, step_seconds=0.05)
    wait_for(lambda: has_taken_a_step(run_dir(root)))
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75
    assert "stopping: finishing what is needed and saving; press Ctrl-C again to stop now" in err
    assert "stopped early, everything saved" in out
    (session,) = ledger.read(run_dir(root))
    assert session.end is not None


def test_a_second_signal_is_passed_on_too(start_rlrun: Run, root: Path) -> None:
    process = start_rlrun("train", "--name", "a", max_steps=500, step_seconds=0.05, num_signals=2)
    wait_for(lambda: has_taken_a_step(run_dir(root)))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "stopping now" in err
    assert "stopped at once, nothing journaled is lost" in out


def test_a_third_signal_kills_a_worker_that_is_stuck(start_rlrun: Run, root: Path) -> None:
    process = start_rlrun("train", "--name", "a", max_steps=500, step_seconds=0.05, num_signals=9)
    wait_for(lambda: has_taken_a_step(run_dir(root)))
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "nothing that is saved or journaled is lost" in err


def test_detached_it_returns_at_once_and_the_session_goes_on(
    start_rlrun: Run, root: Path, rlrun: Run
) -> None:
    process = start_rlrun(
        "train", "--name", "a", "--detach", max_steps=500, step_seconds=0.05, load_seconds=0.1
    )
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (0, "a\n")
    assert "rlrun logs -f a" in err
    assert "rlrun stop a" in err
    run = run_dir(root)
    wait_for(lambda: lock.find_holder(run) and has_taken_a_step(run))
    assert json.loads(rlrun("list", "--json").out)["runs"][0]["status"] == "running"
    assert rlrun("resume").code == 5
    assert rlrun("stop").code == 0
    assert lock.find_holder(run) is None


def test_the_session_survives_the_death_of_the_command_line(
    start_rlrun: Run, root: Path, rlrun: Run
) -> None:
    process: subprocess.Popen[str] = start_rlrun(
        "train", "--name", "a", max_steps=500, step_seconds=0.05
    )
    run = run_dir(root)
    wait_for(lambda: has_taken_a_step(run))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE_SECONDS)
    assert lock.find_holder(run) is not None
    assert rlrun("stop", "a").out.startswith("run 'a' at step")


def test_the_same_line_starts_a_run_continues_it_and_ends_well_when_it_is_finished(
    rlrun: Run, fake_worker: Run, root: Path
) -> None:
    line = (
        "train",
        "--name",
        "a",
        "--recover",
        "auto",
        "--steps",
        "3",
        "--set",
        "train.max_steps=5",
    )
    fake_worker(max_steps=5)
    first, second, third = (rlrun(*line) for _ in range(3))
    assert [one.code for one in (first, second, third)] == [0, 0, 0]
    assert "created run 'a'" in first.err
    assert "continuing run 'a'" in second.err
    assert "finished" in second.out
    assert "run 'a' is finished at step 5 of 5" in third.out


def test_only_to_resume_is_not_to_start(rlrun: Run, fake_worker: Run, root: Path) -> None:
    fake_worker()
    said = rlrun("train", "--name", "a", "--recover", "resume")
    assert said.code == 4
    assert "to resume; '--recover auto' would start it" in said.err


def test_recovery_needs_a_name(rlrun: Run, fake_worker: Run) -> None:
    fake_worker()
    assert "--recover auto needs the run's name" in rlrun("train", "--recover", "auto").err


def test_another_configuration_than_the_runs_is_refused(rlrun: Run, fake_worker: Run) -> None:
    fake_worker(max_steps=5)
    line = ("train", "--name", "a", "--recover", "auto", "--steps", "2")
    assert rlrun(*line).code == 0
    said = rlrun(*line, "--set", "seed=7")
    assert said.code == 10
    assert "made with other settings than this command asks for: seed: 0 -> 7" in said.err
    said = rlrun(*line, "--set", "saving.every_steps=9")
    assert said.code == 0
    assert "the run keeps its own saving.every_steps" in said.err


def test_a_model_or_data_in_another_place_is_not_taken_for_the_runs_own(
    rlrun: Run, fake_worker: Run, tmp_path: Path
) -> None:
    fake_worker(max_steps=5)
    line = ("train", "--name", "a", "--recover", "auto")
    other = tmp_path / "other"
    other.mkdir()
    assert rlrun(*line).code == 0
    said = rlrun(*line, "--set", f"model.path={other}")
    assert said.code == 10
    assert f"than this command asks for: model.path: builtin:tiny -> {other}; " in said.err


def test_a_run_that_came_to_nothing_takes_the_corrected_recipe(
    rlrun: Run, fake_worker: Run, root: Path
) -> None:
    fake_worker(max_steps=5, refuse=3)
    line = ("train", "--name", "a", "--recover", "auto")
    assert rlrun(*line).code == 3
    fake_worker(max_steps=5)
    said = rlrun(*line, "--set", "seed=7")
    assert said.code == 0
    assert "changed: seed: 0 -> 7" in said.err
