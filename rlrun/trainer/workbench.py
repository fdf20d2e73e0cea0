"""What a session works with: configuration, prompts, policy, engine; built once, at its start."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch

from rlrun.config.schema import RunConfig, SamplingConfig
from rlrun.engines.protocol import Engine
from rlrun.errors import ConfigError
from rlrun.policy import determinism
from rlrun.policy.encoding import encode_prompts
from rlrun.policy.model import ADAPTER_WEIGHTS, Policy, build_policy
from rlrun.policy.optimizer import build_optimizer, build_scheduler
from rlrun.rollouts.torch_engine import TorchEngine
from rlrun.seeds import permutation
from rlrun.tasks import checker
from rlrun.tasks.answers import needs_checker
from rlrun.tasks.registry import make_task, reward_code_hash
from rlrun.trainer.checkpoint import Learner
from rlrun.trainer.fingerprint import identity_fingerprint, machine_fingerprint
from rlrun.types import EncodedPrompt, Prompt, Sampling, Task


@dataclass(frozen=True, slots=True)
class Workbench:
    """Everything that stays the same while a session trains, the learner's weights aside."""

    config: RunConfig  # in force for batches to come
    max_steps: int
    task: Task
    prompts: tuple[EncodedPrompt, ...]
    learner: Learner
    engine: Engine
    fingerprint: dict[str, Any]

    @property
    def prompts_by_id(self) -> dict[str, Prompt]:
        """The task's prompts by id."""
        return {encoded.prompt.id: encoded.prompt for encoded in self.prompts}

    def prompts_at(self, position: int, count: int) -> tuple[EncodedPrompt, ...]:
        """Return `count` prompts of the endless stream of shuffled epochs, from `position` on."""
        size = len(self.prompts)
        epochs = range(position // size, (position + count - 1) // size + 1)
        orders = {
            epoch: permutation(self.config.seed, "data", epoch, size=size) for epoch in epochs
        }
        places = range(position, position + count)
        return tuple(self.prompts[orders[place // size][place % size]] for place in places)


def sampling_at(config: RunConfig, step: int) -> Sampling:
    """Return how the completions of the batch at `step` are drawn."""
    schedule = config.sampling.temperature
    progress = min(1.0, (step - 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    temperature = schedule.initial + (schedule.final - schedule.initial) * progress
    return Sampling(
        temperature=temperature,
        top_p=config.sampling.top_p,
        top_k=config.sampling.top_k,
        max_completion_tokens=config.sampling.max_completion_tokens,
    )


def horizon(config: RunConfig, num_prompts: int) -> int:
    """Return the run's last step: `max_steps`, or what `num_epochs` comes to."""
    if config.train.max_steps is not None:
        return config.train.max_steps
    prompts = (config.train.num_epochs or 0) * num_prompts
    num_batches = ceil(prompts / config.grpo.prompts_per_step - 1e-9)
    return num_batches * config.grpo.updates_per_batch


def build_workbench(
    config: RunConfig, *, device: torch.device, num_threads: int, needs_reference: bool
) -> Workbench:
    """Return a workbench whose learner is at step 0."""
    is_deterministic = config.train.deterministic
    determinism.apply(deterministic=is_deterministic, num_threads=num_threads)
    task = make_task(
        config.task.name,
        path=config.task.path,
        num_questions=config.task.num_questions,
        instructions=config.task.instructions,
    )
    questions = task.prompts("train")  # what is wrong with them is said before the model is read
    policy = build_policy(
        config.model,
        run_seed=config.seed,
        device=device,
        needs_reference=needs_reference,
    )
    prompts = encode_prompts(
        policy.tokenizer, questions, max_prompt_tokens=config.sampling.max_prompt_tokens
    )
    if not prompts:
        raise ConfigError(
            "the task has no training questions; see task.path and task.num_questions"
        )
    max_steps = horizon(config, len(prompts))
    optimizer = build_optimizer(policy.parameters().values(), config.grpo)
    settings = determinism.check(deterministic=is_deterministic, num_threads=num_threads)
    identity = identity_fingerprint(
        policy.source, prompts, reward_code_hash(config.task.name), _initial_adapter(config)
    )
    return Workbench(
        config=config,
        max_steps=max_steps,
        task=task,
        prompts=prompts,
        learner=Learner(policy, optimizer, build_scheduler(optimizer, config.grpo, max_steps)),
        engine=_build_engine(config.sampling, policy),
        fingerprint={
            **machine_fingerprint(device, settings),
            **identity,
            "engine": config.sampling.engine,
            "checker": _checker_versions(questions),
        },
    )


def _build_engine(sampling: SamplingConfig, policy: Policy) -> Engine:
    return TorchEngine(
        policy.model,
        policy.tokenizer,
        stop_ids=policy.stop_ids,
        num_rows=sampling.batch_rows,
        max_prompt_tokens=sampling.max_prompt_tokens,
        max_completion_tokens=sampling.max_completion_tokens,
    )


def _checker_versions(questions: Sequence[Prompt]) -> str | None:
    has_formulas = any(needs_checker(question.answer) for question in questions)
    return checker.versions() if has_formulas else None


def _initial_adapter(config: RunConfig) -> bytes | None:
    if config.model.initial_adapter is None:
        return None
    return (Path(config.model.initial_adapter).expanduser() / ADAPTER_WEIGHTS).read_bytes()
