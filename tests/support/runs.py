"""Runs for tests: the micro model, the micro task, and a configuration that takes milliseconds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rlrun.config.load import dump_config, load_config
from rlrun.config.schema import RunConfig
from rlrun.runs import store
from rlrun.runs.layout import RunDir
from rlrun.runs.store import NewRun

MICRO = (
    "train.max_steps=6",
    "sampling.max_completion_tokens=4",
    "sampling.max_prompt_tokens=8",
    "sampling.batch_rows=8",
    "grpo.prompts_per_step=3",
    "grpo.group_size=4",
    "grpo.learning_rate=0.01",
    "model.lora.rank=2",
    "model.lora.target_modules=[q_proj, v_proj, down_proj]",
    "saving.every_steps=null",
    "saving.background=false",
)


def micro_config(model: Path, overrides: Sequence[str] = ()) -> RunConfig:
    return load_config("tiny", [*MICRO, f"model.path={model}", *overrides]).config


def make_run(root: Path, name: str, model: Path, overrides: Sequence[str] = ()) -> RunDir:
    text = dump_config(micro_config(model, overrides))
    return store.create_run(root, NewRun(text, 1), name=name, now=datetime.now(UTC))


def empty_run(root: Path) -> RunDir:
    """Return a run that nobody will train: its configuration is hardly one."""
    now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
    return store.create_run(root, NewRun("seed: 0\n", 1), name="sums", now=now)
