"""The commands as users give them, with the real worker and the built-in model."""

import os
import signal
from pathlib import Path
from statistics import mean

from support import oracle
from support.command import num_groups, num_logged, rlrun, run_of, start, wait_for

from rlrun.runs import jsonl, ledger, lock

# Long completions of a model that is never told to stop: there is time to interrupt in.
SLOW = (
    "--set", "sampling.max_completion_tokens=400",
    "--set", "sampling.temperature=50",
    "--set", "sampling.batch_rows=8",
    "--set", "grpo.prompts_per_step=4",
)  # fmt: skip


def test_the_tiny_recipe_learns_twenty_points_within_its_hundred_steps(tmp_path: Path) -> None:
    result = rlrun(tmp_path, "train", "--steps", "60", "--name", "tiny")
    assert result.returncode == 0, result.stderr
    rewards = [record["reward_mean"] for record in jsonl.read(run_of(tmp_path, "tiny").train_log)]
    assert mean(rewards[-5:]) - mean(rewards[:3]) > 0.2


def test_a_killed_worker_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    settings = ("--set", "saving.every_steps=4", "--set", "train.max_steps=10")
    assert rlrun(tmp_path, "train", "--name", "straight", *settings).returncode == 0
    assert rlrun(tmp_path, "train", "--name", "killed", "--detach", *settings).returncode == 0
    run = run_of(tmp_path, "killed")
    wait_for(lambda: num_logged(run) >= 6)
    owner = lock.find_holder(run)
    assert owner is not None
    os.killpg(owner.pid, signal.SIGKILL)
    wait_for(lambda: lock.find_holder(run) is None)

    result = rlrun(tmp_path, "resume", "killed")

    assert result.returncode == 0, result.stderr
    assert "bitwise: continues from step" in result.stderr
    expected = oracle.digest(run_of(tmp_path, "straight").path)
    assert oracle.differences(expected, oracle.digest(run.path)) == []


def test_ctrl_c_while_sampling_is_heeded_within_a_token_and_keeps_finished_groups(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, "train", "--name", "slow", *SLOW)
    run = run_of(tmp_path, "slow")
    wait_for(lambda: num_groups(run) >= 1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    end = ledger.read(run)[-1].end
    assert end is not None
    assert (end.outcome, end.step) == ("stopped", 0)
    kept = num_groups(run)
    assert 1 <= kept < 4

    assert rlrun(tmp_path, "resume", "slow", "--steps", "1").returncode == 0

    records = [record for *_, record in oracle.journal_of(run)]
    sessions = [r["slot"] for r in records if r["kind"] == "group" and r["first_step"] == 1]
    assert sorted(sessions) == [0, 1, 2, 3], "a finished group was generated again"


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "train", "--name", "now", *SLOW)
    run = run_of(tmp_path, "now")
    wait_for(lambda: lock.find_holder(run) is not None)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert lock.find_holder(run) is None


def test_a_time_limit_ends_a_session_early_with_everything_saved(tmp_path: Path) -> None:
    result = rlrun(tmp_path, "train", "--name", "timed", "--max-time", "8s", *SLOW)
    assert result.returncode == 75, result.stderr
    end = ledger.read(run_of(tmp_path, "timed"))[-1].end
    assert end is not None
    assert end.outcome == "time_limit"
    assert end.seconds < 30


def test_a_free_setting_is_taken_on_resume_and_another_is_refused_by_name(tmp_path: Path) -> None:
    assert rlrun(tmp_path, "train", "--name", "a", "--steps", "2").returncode == 0
    refused = rlrun(tmp_path, "resume", "a", "--set", "grpo.learning_rate=0.5", "--steps", "1")
    assert refused.returncode == 10
    assert "grpo.learning_rate: 0.001 -> 0.5" in refused.stderr
    taken = rlrun(tmp_path, "resume", "a", "--set", "saving.every_steps=1", "--steps", "2")
    assert taken.returncode == 0, taken.stderr
    run = run_of(tmp_path, "a")
    assert {path.name for path in run.training_state.glob("step_[0-9]*")} >= {"step_3", "step_4"}
    inexact = rlrun(
        tmp_path, "resume", "a", "--set", "grpo.learning_rate=0.5", "--steps", "1",
        "--allow-inexact",
    )  # fmt: skip
    assert inexact.returncode == 0, inexact.stderr
    assert "best effort" in inexact.stderr
