"""Evaluations by the fake scorer in a process of its own: checkpoints, orders, what came of it."""

import csv
import json
import os
import shutil
import struct
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rlrun.config.load import apply_overrides, load_config
from rlrun.engines.client import EngineProcess
from rlrun.engines.spec import EngineInfo, EngineSpec
from rlrun.evaluation import records
from rlrun.evaluation.evaluate import Evaluated, Evaluation
from rlrun.evaluation.folder import EvalFolder, evaluations_of, read_plan
from rlrun.evaluation.records import Key, Record
from rlrun.evaluation.request import Request, prepare
from rlrun.evaluation.rescore import stored_targets
from rlrun.evaluation.targets import Target
from rlrun.runs import checkpoints
from rlrun.runs.layout import RunDir
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Prompt, Split
from support.run_maker import RunMaker

SCORER = (sys.executable, "-m", "support.fake_scorer")
NUM_TRAINED = 50
CONFIG = f"""\
task:
  name: arithmetic
  num_questions: {NUM_TRAINED}
train:
  max_steps: 10
eval:
  engine: torch
  max_samples: 5
"""
TIMING = ("seconds", "tokens_per_second")
_TESTS = Path(__file__).parents[1]
ENVIRON = {"PYTHONPATH": os.pathsep.join((str(_TESTS), str(_TESTS.parent)))}


_make_sums = Arithmetic.prompts


@cache
def _sums(num_questions: int | None, instructions: str, split: Split) -> tuple[Prompt, ...]:
    return _make_sums(Arithmetic(num_questions, instructions), split)


def remembered_sums(task: Arithmetic, split: Split) -> tuple[Prompt, ...]:
    """Stand in for `Arithmetic.prompts`: thousands of sums, which are made once in a process."""
    return _sums(task._num_questions, task._instructions, split)


def adapter_files(alpha: float, rank: int = 4) -> dict[str, bytes]:
    """Return the files of a LoRA adapter on one matrix of four rows and columns."""
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    shapes = {name.format("A"): [rank, 4], name.format("B"): [4, rank]}
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha,
        "target_modules": ["q_proj"],
    }  # fmt: skip
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": _safetensors(shapes),
    }


def model_files(alpha: float) -> dict[str, bytes]:
    """Return the files of a whole model."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "alpha": alpha}
    weights = _safetensors({"model.norm.weight": [4]})
    return {"config.json": json.dumps(config).encode(), "model.safetensors": weights}


def _safetensors(shapes: Mapping[str, list[int]]) -> bytes:
    header: dict[str, Any] = {}
    data = b""
    for name, shape in shapes.items():
        values = [0.5] * (shape[0] * (shape[1] if len(shape) > 1 else 1))
        packed = struct.pack(f"<{len(values)}f", *values)
        offsets = [len(data), len(data) + len(packed)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += packed
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def publish(maker: RunMaker, *steps: int, files: Mapping[str, bytes] | None = None) -> None:
    """Save steps of a run, each better than the one before."""
    for step in steps:
        model = adapter_files(8 * step) if files is None else files
        contents = {f"model/{name}": data for name, data in model.items()}
        info = {"run_id": maker.id, "step": step, "session": 1}
        checkpoints.publish(maker.run, step, contents, info)


def make_run(root: Path, *steps: int, name: str = "a", config: str = CONFIG) -> RunMaker:
    maker = RunMaker(root, name, config)
    publish(maker, *steps)
    return maker


def request_of(root: Path, run: RunDir, /, *overrides: str, **changes: Any) -> Request:
    """Return the request for all steps of a run."""
    config = apply_overrides(load_config(str(run.config), ()).config, overrides)
    request = Request(root, run.name, config, True, run, None, None, None, "auto")
    return replace(request, **changes)


class Recorder:
    """Keeps what the work tells whoever watches it."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == kind]

    def engine_starts(self) -> None:
        self.events.append(("starts",))

    def engine_ready(self, info: EngineInfo, seconds: float) -> None:
        self.events.append(("ready", info.device))

    def engine_failed(self, reason: str) -> None:
        self.events.append(("failed", reason))

    def begins(self, target: Target, num_missing: int, num_kept: int) -> None:
        self.events.append(("begins", target.label, num_missing, num_kept))

    def completed(self, target: Target, record: Record) -> None:
        self.events.append(("completed", target.label, record.question))

    def ends(self, target: Target, found: Mapping[Key, Record]) -> None:
        self.events.append(("ends", target.label))

    def gives_up(self, label: str, reason: str) -> None:
        self.events.append(("gives up", label, reason))


def start(spec: EngineSpec, log: Path, timeout_seconds: float = 20.0) -> EngineProcess:
    """Start the fake scorer in place of an engine."""
    return EngineProcess(
        spec, python=None, log=log, timeout_seconds=timeout_seconds, command=SCORER
    )


def evaluate(request: Request, watcher: Any = None, starter: Any = start) -> Evaluated:
    prepared = prepare(request, "torch")
    with Evaluation(prepared, starter, watcher or Recorder()) as evaluation:
        return evaluation.evaluate(prepared)


def folder_of(root: Path, name: str = "a") -> EvalFolder:
    """Return the only evaluation of a run."""
    (folder,) = evaluations_of(root, name, None)
    return folder


def stored(folder: EvalFolder) -> dict[tuple[str, str, str, int], Record]:
    """Return every completion that is kept, by (label, model, question, sample)."""
    plan = read_plan(folder)
    if plan is None:
        return {}
    found = {}
    for target in stored_targets(folder, plan):
        path = folder.step(target.label).completions
        for record in records.read(path, model=target.model_hash, plan=plan.hash).values():
            found[target.label, record.model, *record.key] = record
    return found


def asked(log: Path) -> list[tuple[str, str, str]]:
    """Return what engines were asked: (label@model, question, seed)."""
    lines = log.read_text().splitlines() if log.exists() else []
    words = [line.split() for line in lines]
    return [("@".join(name.split("@")[:2]), question, seed) for name, question, seed in words]


def digest(folder: EvalFolder) -> dict[str, Any]:
    """Return what an evaluation amounts to: all that is kept but what the clock had a part in."""
    kept = {key: replace(record, seconds=0.0) for key, record in stored(folder).items()}
    return {
        "records": kept,
        "plan": read_plan(folder),
        "questions": folder.questions.read_bytes(),
        "table": _rows(folder.consolidated),
        "metrics": {path.parent.name: _rows(path) for path in folder.path.glob("*/metrics.csv")},
        "files": sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*")),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in TIMING} for row in rows]


class Bench:
    """A run `a` with three steps and five questions, and what engines were told and asked."""

    def __init__(self, root: Path, maker: RunMaker | None = None) -> None:
        self.root = root
        self.maker = maker or make_run(root, 1, 2, 3)
        self.seen = Recorder()
        self.log = root / "asked.log"
        self.starts = root / "starts.log"
        self.behave()

    def copy(self, root: Path) -> "Bench":
        """Return a bench on a copy of the root."""
        shutil.copytree(self.root, root, symlinks=True)
        maker = copy(self.maker)
        maker.run = RunDir(root / maker.run.path.relative_to(self.root))
        return Bench(root, maker)

    def behave(self, **behaviour: Any) -> None:
        """Let the engines to come behave as told; the caller restores the environment."""
        told = {"log": str(self.log), "starts": str(self.starts)} | behaviour
        os.environ |= {**ENVIRON, "FAKE_ENGINE": json.dumps(told)}

    def evaluate(self, *overrides: str, starter: Any = start, **changes: Any) -> Evaluated:
        """Evaluate all steps, told to a new watcher."""
        self.seen = Recorder()
        request = request_of(self.root, self.maker.run, *overrides, **changes)
        return evaluate(request, self.seen, starter)

    def asked(self) -> list[tuple[str, str, str]]:
        """Return what engines were asked since this was called last."""
        found = asked(self.log)
        self.log.unlink(missing_ok=True)
        return found

    def num_starts(self) -> int:
        """Return how many engines were started since this was called last."""
        lines = self.starts.read_text().splitlines() if self.starts.exists() else []
        self.starts.unlink(missing_ok=True)
        return len(lines)

    def once(self) -> str:
        """Return a new file that stands for something that is to happen once."""
        path = self.root / "once"
        path.touch()
        return str(path)

    def digest(self) -> dict[str, Any]:
        """Return what the only evaluation of the run amounts to."""
        return digest(folder_of(self.root))
