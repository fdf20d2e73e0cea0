"""What scoring a run's checkpoints costs, against scoring them one by one, in one go.

Trains the tiny recipe for six steps, scores its six checkpoints and their base in one command, and
then each checkpoint in a command of its own into a root of its own, as one would who has a tool for
one model at a time.  The engine is vLLM's, in the interpreter that RLRUN_VLLM_PYTHON names.

usage: RLRUN_VLLM_PYTHON=... evaluation.py [--engine vllm|torch] [--questions N]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NUM_STEPS = 6
MAX_OVERHEAD = 1.25
MIN_SPEED_UP = 3.0


def rlrun(root: Path, *words: str) -> str:
    command = [sys.executable, "-m", "rlrun", *words, "--root", str(root)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def evaluate(root: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """Return how long an evaluation took, and what it printed."""
    started = time.monotonic()
    found = json.loads(rlrun(root, "eval", *words, "--json"))
    return time.monotonic() - started, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="vllm")
    parser.add_argument("--questions", default="400")
    arguments = parser.parse_args()
    options = ["--engine", arguments.engine, "--max-samples", arguments.questions]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "runs"
        rlrun(root, "train", "--steps", str(NUM_STEPS), "--name", "bench", "--set",
              "saving.every_steps=1")  # fmt: skip
        seconds, found = evaluate(root, "bench", "--all-steps", *options)
        starting = found["engine_start_seconds"]
        generating = sum(row["seconds"] for row in found["steps"])
        alone = []
        for step in range(1, NUM_STEPS + 1):
            copy = Path(name) / f"root{step}"
            shutil.copytree(root / "training_runs", copy / "training_runs", symlinks=True)
            path = copy / "training_runs" / "bench" / "training_state" / f"step_{step}"
            took, _ = evaluate(copy, "--ckpt-path", str(path), "--no-baseline", *options)
            alone.append(took)
    overhead, speed_up = seconds / (starting + generating), sum(alone) / seconds
    print(f"engine {found['engine']}, {arguments.questions} questions, greedy")
    print(f"all {NUM_STEPS} steps and the base: {seconds:.1f} s, engine starts: "
          f"{found['num_engine_starts']}")  # fmt: skip
    print(f"of it starting the engine {starting:.1f} s, generating {generating:.1f} s")
    print(f"total / (start + generation): {overhead:.2f} (bound {MAX_OVERHEAD})")
    print("each step in a command of its own: " + ", ".join(f"{one:.1f}" for one in alone) + " s")
    print(f"sum of those / total: {speed_up:.1f} (bound {MIN_SPEED_UP})")
    if overhead > MAX_OVERHEAD or speed_up < MIN_SPEED_UP or found["num_engine_starts"] != 1:
        sys.exit("a bound is missed")


if __name__ == "__main__":
    main()
