"""The commands as users give them on a machine with a GPU, with the built-in model."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from support import oracle
from support.command import num_logged, rlrun, run_of, wait_for

from rlrun.runs import jsonl, ledger, lock

SETTINGS = (
    "--set", "train.max_steps=10", "--set", "saving.every_steps=4", "--set", "model.dtype=bfloat16"
)  # fmt: skip


def told(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = rlrun(root, *words)
    assert result.returncode == code, result.stderr
    return result


def test_the_tiny_recipe_learns_twenty_points_within_its_hundred_steps(
    tmp_path: Path, device: str
) -> None:
    told(tmp_path, "train", "--steps", "60", "--name", "tiny", "--device", device)
    rewards = [record["reward_mean"] for record in jsonl.read(run_of(tmp_path, "tiny").train_log)]
    assert mean(rewards[-5:]) - mean(rewards[:3]) > 0.2


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_run_that_is_stopped_or_killed_ends_in_the_same_bytes(
    is_killed: bool, tmp_path: Path, device: str
) -> None:
    on, run = ("--device", device), run_of(tmp_path, "resumed")
    told(tmp_path, "train", "--name", "straight", *SETTINGS, *on)
    if is_killed:
        told(tmp_path, "train", "--name", "resumed", "--detach", *SETTINGS, *on)
        wait_for(lambda: num_logged(run) >= 6)
        owner = lock.find_holder(run)
        assert owner is not None
        os.killpg(owner.pid, signal.SIGKILL)
        wait_for(lambda: lock.find_holder(run) is None)
    else:
        told(tmp_path, "train", "--name", "resumed", "--steps", "3", *SETTINGS, *on)
    assert "bitwise: continues from step" in told(tmp_path, "resume", "resumed", *on).stderr
    expected = oracle.digest(run_of(tmp_path, "straight").path)
    assert oracle.differences(expected, oracle.digest(run.path)) == []


@pytest.mark.parametrize("is_moved_away", [False, True])
def test_a_run_that_moves_to_or_from_a_gpu_says_that_it_is_best_effort(
    is_moved_away: bool, tmp_path: Path, device: str, device_name: str
) -> None:
    if device == "cpu":
        pytest.skip("there is no other device")
    first, then = (device, "cpu") if is_moved_away else ("cpu", device)
    told(tmp_path, "train", "--name", "a", "--steps", "2", "--device", first)
    said = told(tmp_path, "resume", "a", "--steps", "2", "--device", then).stderr
    assert "best effort" in said
    names = (device_name, "cpu") if is_moved_away else ("cpu", device_name)
    assert "device: {} -> {}".format(*names) in said
    start = ledger.read(run_of(tmp_path, "a"))[-1].start
    assert start is not None
    assert start.promise == "best effort"
    told(tmp_path, "verify", "a")


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    words = ("train", "--name", "a", "--steps", "1", "--device", "cuda:99")
    said = told(tmp_path, *words, code=2).stderr
    assert "--device cuda:99: " in said
    assert "Traceback" not in said


def test_the_doctor_names_the_gpu_and_its_memory(tmp_path: Path, device_name: str) -> None:
    found = json.loads(told(tmp_path, "doctor", "--json").stdout)
    said = {check["what"]: check["said"] for check in found["checks"]}["device"]
    if device_name != "cpu":
        assert said.startswith(f"GPU 0: {device_name}, ")
        assert "GB free" in said


def completions(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the record of each step's completion of each question."""
    return {
        (path.parent.name, one["question"]): one
        for path in Path(found["folder"]).glob("*/completions.jsonl")
        for one in jsonl.read(path, checked=True)
    }


def test_checkpoints_are_scored_on_a_gpu_as_on_the_cpu(tmp_path: Path, device: str) -> None:
    told(
        tmp_path / "a", "train", "--name", "run", "--steps", "2", "--device", device,
        "--set", "saving.every_steps=1", "--set", "grpo.learning_rate=3e-3",
    )  # fmt: skip
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    words = ("eval", "run", "--all-steps", "--engine", "torch", "--max-samples", "100", "--json")
    found = json.loads(told(tmp_path / "a", *words, "--device", device).stdout)
    assert found["failed"] == {}
    assert found["num_engine_starts"] == 1
    assert json.loads(told(tmp_path / "a", *words).stdout)["num_engine_starts"] == 0
    expected = completions(json.loads(told(tmp_path / "b", *words, "--device", "cpu").stdout))
    written = completions(found)
    assert written.keys() == expected.keys()
    assert len(written) == 300
    for key, one in written.items():
        assert (one["text"], one["verdict"]) == (expected[key]["text"], expected[key]["verdict"])
        assert one["mean_logprob"] == pytest.approx(expected[key]["mean_logprob"], abs=1e-3)
