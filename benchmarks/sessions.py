"""What a save and a replay cost, as ratios in one run.

Save: the time for which training stands still at a checkpoint, against one copy of the same bytes
in memory.  Replay: the updates of steps taken again from the journal, against the first time.

usage: sessions.py [--rounds N] [--hidden H] [--device D]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import torch

from rlrun.config.load import dump_config, load_config
from rlrun.policy.determinism import prepare_environment
from rlrun.runs import jsonl, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.trainer.checkpoint import StateCopy
from rlrun.trainer.session import Session
from rlrun.trainer.worker import run_session

FLOOR_SECONDS = 0.020


def make_run(root: Path, name: str, overrides: Sequence[str]) -> RunDir:
    """Create a run of the tiny recipe."""
    config = load_config("tiny", overrides).config
    new = store.NewRun(dump_config(config), num_threads=2)
    return store.create_run(root, new, name=name, now=datetime.now(UTC))


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def tensors_in(value: object) -> list[torch.Tensor]:
    """Return every tensor in nested containers."""
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    is_container = isinstance(value, dict | list | tuple)
    return [tensor for item in inner for tensor in tensors_in(item)] if is_container else []


def measure_saves(
    root: Path, name: str, overrides: Sequence[str], device: str
) -> dict[str, object]:
    """Return the stall of each save and the time to copy its bytes, in one run."""
    stalls: list[float] = []
    copies: list[float] = []
    sizes: list[int] = []
    save = Session._save
    copy_init = StateCopy.__init__

    def save_timed(self: Session, batch: object) -> None:
        copies.clear()
        stalls.append(timed(lambda: save(self, batch)))  # type: ignore[arg-type]
        taken = copies[0]
        tensors = tensors_in([dict(taken.weights), dict(taken.optimizer)])
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        self._saver.wait()  # the copy below must not compete with the save
        copies.append(min(timed(lambda: [t.clone() for t in tensors]) for _ in range(3)))

    copies: list[StateCopy] = []

    def init_noted(self: StateCopy, *args: object, **kwargs: object) -> None:
        copy_init(self, *args, **kwargs)  # type: ignore[arg-type]
        copies.append(self)

    Session._save, StateCopy.__init__ = save_timed, init_noted  # type: ignore[method-assign]
    try:
        run_session(make_run(root, name, overrides), SessionRequest(device=device))
    finally:
        Session._save, StateCopy.__init__ = save, copy_init  # type: ignore[method-assign]
    stall, copy = statistics.median(stalls), statistics.median(copies)
    return {
        "what": f"save, {name}",
        "saves": len(stalls),
        "megabytes": round(statistics.median(sizes) / 1e6, 1),
        "stall_ms": round(1e3 * stall, 2),
        "stall_ms_worst": round(1e3 * max(stalls), 2),
        "copy_ms": round(1e3 * copy, 2),
        "ratio": round(stall / copy, 2),
        "within": stall <= max(1.25 * copy, FLOOR_SECONDS),
    }


def measure_replay(root: Path, steps: int, rounds: int, device: str) -> dict[str, object]:
    """Return what replayed updates cost against the first time, the median over rounds.

    Each round trains in one process, forgets its checkpoint, and replays in another.
    """
    ratios = []
    for number in range(rounds):
        settings = [f"train.max_steps={steps}", "saving.every_steps=null"]
        run = make_run(root, f"replay{number}", settings)
        work_in_process(run, device)
        first = update_seconds(run.train_log)
        for path in sorted(run.training_state.glob("step_*")):
            path.rename(root / f"{run.name}-{path.name}")
        work_in_process(run, device)
        again = update_seconds(run.train_log)
        ratios.append(sum(again[2:]) / sum(first[2:]))  # the first steps warm up
    return {
        "what": f"replay of {steps} steps",
        "rounds": rounds,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
        "within": statistics.median(ratios) <= 1.1,
    }


def work_in_process(run: RunDir, device: str) -> None:
    """Work one session to the run's end in a process of its own."""
    request = SessionRequest(device=device).to_text()
    command = [sys.executable, "-m", "rlrun.trainer", str(run.path), "--request", request]
    subprocess.run(command, check=True, capture_output=True)


def update_seconds(train_log: Path) -> list[float]:
    """Return the seconds of each update in a log."""
    return [record["clock"]["update_seconds"] for record in jsonl.read(train_log)]


def large_model(folder: Path, hidden: int) -> Path:
    """Write a random model of some size, with the built-in tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from rlrun.engines.model_source import BUILTIN_MODELS

    tokenizer = AutoTokenizer.from_pretrained(BUILTIN_MODELS["tiny"])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    """Print one JSON line a measurement; exit 1 if one is not within its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = arguments.device
    prepare_environment()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        saving = ["saving.every_steps=2", "train.max_steps=20"]
        small = ["grpo.prompts_per_step=2", "grpo.group_size=4", "sampling.batch_rows=8"]
        model = large_model(root / "large", arguments.hidden)
        full = [f"model.path={model}", "model.lora=null", *small]
        # Each in a process of its own: a session begins before CUDA is started.
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
            measured = [
                fresh.submit(measure_saves, root, "adapter", saving, device),
                fresh.submit(measure_saves, root, "full-fine-tuning", [*saving, *full], device),
            ]
            rows = [one.result() for one in measured]
        rows.append(measure_replay(root, 40, arguments.rounds, device))
    for row in rows:
        print(json.dumps(row))
    sys.exit(not all(row["within"] for row in rows))


if __name__ == "__main__":
    main()
