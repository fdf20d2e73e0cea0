"""`rlrun eval` with vLLM, from the command line to the numbers: one engine start for all steps."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import command

from rlrun.runs import jsonl

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        "RLRUN_VLLM_PYTHON" not in os.environ,
        reason="RLRUN_VLLM_PYTHON names no interpreter that has vLLM",
    ),
]
NUM_QUESTIONS = 100
SECONDS = 400


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe with two checkpoints."""
    root = tmp_path_factory.mktemp("root")
    words = ["train", "--steps", "2", "--name", "run", "--set", "saving.every_steps=1"]
    result = command.rlrun(root, *words, "--set", "grpo.learning_rate=3e-3")
    assert result.returncode == 0, result.stderr
    return root


def evaluate(root: Path, engine: str) -> dict[str, Any]:
    words = ["eval", "run", "--all-steps", "--engine", engine, "--json"]
    limit = ["--max-samples", str(NUM_QUESTIONS)]
    result = command.rlrun(root, *words, *limit, timeout_seconds=SECONDS)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def completions(found: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str, float]]:
    """Return what each step wrote to each question, how it was graded, and how likely it was."""
    return {
        (path.parent.name, one["question"]): (one["text"], one["verdict"], one["mean_logprob"])
        for path in Path(found["folder"]).glob("*/completions.jsonl")
        for one in jsonl.read(path, checked=True)
    }


def test_a_killed_evaluation_goes_on_and_agrees_with_the_engine_that_trains(root: Path) -> None:
    words = ["eval", "run", "--all-steps", "--engine", "vllm"]
    process = command.start(root, *words, "--max-samples", str(NUM_QUESTIONS))
    command.wait_for(lambda: num_kept(root) > 0, timeout_seconds=SECONDS)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    kept = num_kept(root)
    assert 0 < kept < 3 * NUM_QUESTIONS
    found = evaluate(root, "vllm")
    assert found["num_engine_starts"] == 1
    assert found["failed"] == {}
    written = completions(found)
    assert len(written) == num_kept(root) == 3 * NUM_QUESTIONS  # none was made twice
    again = evaluate(root, "vllm")
    assert again["num_engine_starts"] == 0
    assert again["steps"] == found["steps"]

    expected = completions(evaluate(root, "torch"))
    assert expected.keys() == written.keys()
    for key, (text, verdict, logprob) in expected.items():
        assert written[key][:2] == (text, verdict), key
        assert written[key][2] == pytest.approx(logprob, abs=1e-3), key


def num_kept(root: Path) -> int:
    return sum(len(jsonl.read(path, checked=True)) for path in root.rglob("completions.jsonl"))


def test_no_process_is_left_when_the_command_is_interrupted(root: Path) -> None:
    words = ["eval", "run", "--steps", "1", "--engine", "vllm", "--temperature", "0.7"]
    process = command.start(root, *words)
    command.wait_for(lambda: bool(workers(process.pid)), timeout_seconds=SECONDS)
    pids = workers(process.pid)
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    command.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def workers(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []
