"""From what a command line asks to questions, checkpoints and an engine's spec, all checked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.config.schema import RunConfig
from rlrun.engines import interpreters
from rlrun.engines.spec import EngineName, EngineSpec
from rlrun.errors import UsageError
from rlrun.evaluation import plan as plans
from rlrun.evaluation import questions, targets
from rlrun.evaluation.plan import Asked
from rlrun.evaluation.questions import Questions
from rlrun.evaluation.targets import Target, Unusable
from rlrun.runs.layout import RunDir


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be evaluated."""

    root: Path
    name: str  # of the run, or of what stands for one
    config: RunConfig  # with what the command line changed of `eval`
    is_own: bool  # nothing that makes a plan was changed
    run: RunDir | None
    steps: tuple[int, ...] | None  # None: all
    path: Path | None  # a model folder to score instead of the run's steps
    dataset: str | None
    device: str


def plan_settings(config: RunConfig) -> Mapping[str, Any]:
    """Return the settings of `eval` that make another plan when changed; not the engine."""
    return config.eval.model_dump(include=_PLAN_SETTINGS)


_PLAN_SETTINGS = {
    "num_samples", "temperature", "max_completion_tokens", "subset_frac", "max_samples",
    "seed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before an engine runs."""

    request: Request
    questions: Questions
    asked: Asked
    engine: EngineName
    wanted: tuple[Target, ...]
    unusable: tuple[Unusable, ...]


def prepare(request: Request, engine: EngineName) -> Prepared:
    """Return what is to be asked of which checkpoints, all of it checked.

    Raises ConfigError for questions that cannot be used, RunNotFoundError for a step or folder
    that is not there, MissingExtraError where the engine is not installed, UsageError if there is
    nothing to score.
    """
    config = request.config
    interpreters.require_engine(engine, config.eval.python, os.environ)
    chosen = questions.load(
        config.task,
        request.dataset,
        share=config.eval.subset_frac,
        max_questions=config.eval.max_samples,
        is_trained=request.run is not None,
    )
    found = _targets(request)
    asked = Asked(
        dataset=chosen.name,
        question_ids=tuple(prompt.id for prompt in chosen.prompts),
        questions_hash=plans.questions_hash(chosen.prompts),
        num_samples=config.eval.num_samples,
        temperature=config.eval.temperature,
        max_prompt_tokens=config.sampling.max_prompt_tokens,
        max_completion_tokens=(
            config.eval.max_completion_tokens or config.sampling.max_completion_tokens
        ),
        seed=config.eval.seed,
        engine=engine,
        engine_version=interpreters.version_of(engine, config.eval.python, os.environ),
        dtype=config.model.dtype,
    )
    return Prepared(
        request,
        chosen,
        asked,
        engine,
        tuple(one for one in found if isinstance(one, Target)),
        tuple(one for one in found if isinstance(one, Unusable)),
    )


def _targets(request: Request) -> list[Target | Unusable]:
    found: list[Target | Unusable] = []
    if request.path is not None:
        found.append(targets.of_path(request.path))
    elif request.run is not None:
        found.extend(targets.of_run(request.run, request.steps))
    if not found and request.steps is None:
        raise UsageError(
            f"run '{request.name}' has no checkpoints to score yet; 'rlrun status {request.name}' "
            "shows where it stands"
        )
    is_base_wanted = request.config.eval.has_baseline or plans.BASE_STEP in (request.steps or ())
    if is_base_wanted and all(one.label != targets.BASE_LABEL for one in found):
        found.insert(0, targets.of_base(request.config.model.initial_adapter))
    return found


def spec_of(prepared: Prepared, model: Path | None) -> EngineSpec:
    """Return the engine that scores the base and adapters, or a full model."""
    config, asked = prepared.request.config, prepared.asked
    return EngineSpec(
        engine=prepared.engine,
        model_path=config.model.path if model is None else str(model),
        dtype=asked.dtype,
        device=prepared.request.device,
        max_prompt_tokens=asked.max_prompt_tokens,
        max_completion_tokens=asked.max_completion_tokens,
        max_rank=0 if model else _max_rank(prepared),
        max_adapters=config.eval.max_adapters,
        batch_rows=config.eval.batch_rows,
        num_threads=config.train.num_threads,
        gpu_memory_share=config.eval.gpu_memory_share,
    )


def _max_rank(prepared: Prepared) -> int:
    """Return the largest rank of what there is to score, and of what the run will add to it."""
    lora = prepared.request.config.model.lora
    coming = lora.rank if lora and prepared.request.run else 0
    return max((coming, *(one.rank for one in prepared.wanted)))
