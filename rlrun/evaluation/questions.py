"""Which questions are asked: a data set's held-out split, checked against what was trained on."""

from dataclasses import dataclass
from pathlib import Path

from rlrun.config.schema import TaskConfig
from rlrun.errors import ConfigError, UsageError
from rlrun.evaluation import plan
from rlrun.tasks.leaks import require_disjoint
from rlrun.tasks.registry import TASKS, make_task, reward_code_hash
from rlrun.types import Prompt, Task


@dataclass(frozen=True, slots=True)
class Questions:
    """A data set: what is asked of it, and who grades."""

    name: str
    prompts: tuple[Prompt, ...]  # those chosen
    num_there: int  # in the whole split
    task: Task
    grader: str  # hash of the code that grades


def load(
    config: TaskConfig,
    dataset: str | None,
    *,
    share: float | None,
    max_questions: int | None,
    is_trained: bool,
) -> Questions:
    """Return the questions to ask.

    `config` is what a run trains on; `dataset` names a task, or a folder written like the run's own
    data.  Raises UsageError for a name that is none, ConfigError for data that cannot be used, or
    that share questions with the training split of a run that `is_trained`.
    """
    chosen = config if dataset is None else _other(config, dataset)
    task = _task_of(chosen)
    there = task.prompts("eval")
    if not there:
        raise ConfigError(f"{chosen.name} has no questions to evaluate with; see task.path")
    prompts = plan.choose(there, share=share, max_questions=max_questions)
    if is_trained:
        require_disjoint(_task_of(config).prompts("train"), prompts)
    return Questions(
        _name(chosen, dataset), prompts, len(there), task, reward_code_hash(chosen.name)
    )


def grader_of(config: TaskConfig, name: str) -> tuple[Task, str]:
    """Return who grades the data set of this name, and the hash of the code.

    A name that is no task's is a folder's, which is written like the run's own data.  No question
    is read.
    """
    chosen = _other(config, name) if name in TASKS else config
    return _task_of(chosen), reward_code_hash(chosen.name)


def name_of(config: TaskConfig, dataset: str) -> str:
    """Return the name of a data set that is given by name or by place; UsageError if it is none."""
    return _name(_other(config, dataset), dataset)


def _task_of(config: TaskConfig) -> Task:
    return make_task(
        config.name,
        path=config.path,
        num_questions=config.num_questions,
        instructions=config.instructions,
    )


def _other(config: TaskConfig, dataset: str) -> TaskConfig:
    """Return the task of a data set that is given by name or by place."""
    if dataset == config.name:
        return config
    if dataset in TASKS:
        return TaskConfig.model_validate({"name": dataset})
    folder = Path(dataset).expanduser()
    if folder.is_dir():
        place = {"path": str(folder.absolute()), "num_questions": None}
        return config.model_copy(update=place)
    raise UsageError(
        f"--dataset {dataset}: neither a task nor a folder; give one of {', '.join(TASKS)}, or a "
        "folder with test.jsonl"
    )


def _name(config: TaskConfig, dataset: str | None) -> str:
    """Return the name for folders: the task's, or that of the folder that was given."""
    is_place = dataset is not None and dataset not in TASKS
    return Path(config.path or "").name if is_place else config.name
