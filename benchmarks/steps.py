"""What a step takes, and what its parts cost: sampling, update, save, determinism, replay.

Each measurement is a run of its own, worked in a fork that has the libraries imported; the replay
is worked in a process of its own, as a user resumes.  The first two steps of a session warm up and
are left out.  Prints a JSON line a run, then the ratios.

usage: steps.py [--device D] [--steps N] [--tokens T] [--models tiny,llama] [--small]
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sessions import make_run, work_in_process

from rlrun.runs import jsonl, ledger
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionStart
from rlrun.runs.request import SessionRequest

# The server computes nothing: what has started CUDA, or torch's threads, cannot be forked.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rlrun.trainer.loop", "rlrun.trainer.preparation", "peft"])
NUM_WARM = 2
TINY = ["saving.every_steps=null"]
LLAMA = [
    "saving.every_steps=null",
    "model.dtype=bfloat16",
    "grpo.prompts_per_step=8",
    "grpo.group_size=8",
    "grpo.kl_weight=0.01",  # a random model's groups are all alike; with it they are trained on
    "sampling.batch_rows=64",
]
SMALL = ["grpo.prompts_per_step=2", "sampling.max_completion_tokens=8", "sampling.batch_rows=16"]
VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "not deterministic": ["train.deterministic=false"],
    "saved each step": ["saving.every_steps=1"],
    "saved each step, waited for": ["saving.every_steps=1", "saving.background=false"],
}


def make_llama(folder: Path, num_layers: int) -> None:
    """Write a random Llama of SmolLM2-135M's width, with the built-in tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from rlrun.engines.model_source import BUILTIN_MODELS

    tokenizer = AutoTokenizer.from_pretrained(BUILTIN_MODELS["tiny"])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=num_layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def work_in_fork(run: RunDir, device: str) -> None:
    """Work one session to the run's end in a process that finds its libraries imported."""
    process = FORKS.Process(target=work, args=(run.path, device))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"a session on {run.path} ended with {process.exitcode}")


def work(run_dir: Path, device: str) -> None:
    """Be the worker."""
    from rlrun.trainer.worker import run_session

    code = run_session(RunDir(run_dir), SessionRequest(device=device))
    os._exit(code)


def median_of(records: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(record["clock"][key] for record in records)


def start_of(run: RunDir) -> SessionStart:
    """Return what a run's last session said of itself."""
    start = ledger.read(run)[-1].start
    if start is None:
        raise RuntimeError(f"the last session of {run.name} did not start; see {run.worker_log}")
    return start


def moment_of(record: dict[str, Any]) -> float:
    """Return when a step was logged, in seconds since the epoch."""
    return datetime.fromisoformat(record["clock"]["time"]).timestamp()


def describe(run: RunDir, name: str, started: float, seconds: float) -> dict[str, Any]:
    """Return what the logs say of a run's last session."""
    start = start_of(run)
    records = jsonl.read(run.train_log)[start.from_step :]
    later = records[NUM_WARM:]
    tokens = statistics.median(record["tokens"] for record in later)
    sampling = median_of(later, "generation_seconds")
    return {
        "run": name,
        "promise": start.promise,
        "device": start.fingerprint["device"],
        "steps": len(records),
        "tokens_per_step": tokens,
        "seconds_per_step": round(median_of(later, "seconds"), 4),
        "sampling_seconds": round(sampling, 4),
        "update_seconds": round(median_of(later, "update_seconds"), 4),
        "tokens_per_second_sampled": round(tokens / sampling, 1) if sampling > 0.001 else None,
        # from log record to log record: what a save costs shows only here
        "seconds_between_steps": round(
            (moment_of(later[-1]) - moment_of(later[0])) / max(1, len(later) - 1), 4
        ),
        "seconds_to_first_step": round(moment_of(records[0]) - started, 2),
        "session_seconds": round(seconds, 2),
    }


def measure(root: Path, model: str, settings: Sequence[str], device: str) -> list[dict[str, Any]]:
    """Return a line for each variant, and one for a replay of the first."""
    rows = []
    for variant, changes in VARIANTS.items():
        run = make_run(
            root, f"{model}-{variant}".replace(" ", "-").replace(",", ""), [*settings, *changes]
        )
        rows.append(worked(run, f"{model}, {variant}", device, work_in_fork))
    run = RunDir(root / "training_runs" / f"{model}-plain")
    for path in sorted(run.training_state.glob("step_*")):
        path.rename(root / f"{run.name}-{path.name}")
    rows.append(worked(run, f"{model}, replayed", device, work_in_process))
    return rows


def worked(
    run: RunDir, name: str, device: str, work: Callable[[RunDir, str], None]
) -> dict[str, Any]:
    started = time.time()
    work(run, device)
    row = describe(run, name, started, time.time() - started)
    print(json.dumps(row), flush=True)
    return row


def ratios_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what each variant of one model costs against the plain one."""
    plain, loose, saved, waiting, replayed = rows
    pairs = {
        "deterministic / not, step": (plain, loose, "seconds_per_step"),
        "deterministic / not, sampling": (plain, loose, "sampling_seconds"),
        "deterministic / not, update": (plain, loose, "update_seconds"),
        "saved each step / not": (saved, plain, "seconds_between_steps"),
        "saved each step, waited for / not": (waiting, plain, "seconds_between_steps"),
        "replayed / first, update": (replayed, plain, "update_seconds"),
        "replayed / first, step": (replayed, plain, "seconds_per_step"),
    }
    return {name: round(one[key] / other[key], 3) for name, (one, other, key) in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--models", default="tiny,llama")
    parser.add_argument("--small", action="store_true", help="two layers: to try the script")
    parser.add_argument("--tokens", type=int, default=64, help="a completion of the Llama's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for model in arguments.models.split(","):
            settings = list(TINY if model == "tiny" else LLAMA)
            steps = arguments.steps or (40 if model == "tiny" else 8)
            settings.append(f"train.max_steps={steps}")
            if model != "tiny":
                settings.append(f"sampling.max_completion_tokens={arguments.tokens}")
                settings += SMALL if arguments.small else []
                settings.append(f"model.path={root / model}")
                made = FORKS.Process(
                    target=make_llama, args=(root / model, 2 if arguments.small else 30)
                )
                made.start()
                made.join()
            rows = measure(root, model, settings, arguments.device)
            print(json.dumps({model: ratios_of(rows)}), flush=True)


if __name__ == "__main__":
    main()
