"""Every task by its name, and the fingerprint of the code that decides its rewards."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rlrun.errors import ConfigError
from rlrun.tasks.gsm8k import Gsm8k
from rlrun.types import Task

Maker = Callable[[str | None, int | None, str | None], Task]
"""Makes a task from task.path, task.num_questions and task.instructions."""


class Registration(NamedTuple):
    """How a task is made, and the modules of this folder that decide its rewards."""

    make: Maker
    reward_modules: tuple[str, ...]


def make_task(
    name: str, *, path: str | None, num_questions: int | None, instructions: str | None
) -> Task:
    """Return the task of this name; raises ConfigError for a name or a setting it has not."""
    return _registration(name).make(path, num_questions, instructions)


def reward_code_hash(task_name: str) -> str:
    """Return the SHA-256, in hex, of the source of the modules that decide the task's rewards."""
    digest = hashlib.sha256()
    for module in _registration(task_name).reward_modules:
        source = Path(__file__).with_name(f"{module}.py").read_bytes()
        digest.update(f"{module} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _registration(name: str) -> Registration:
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}; set task.name to one of {', '.join(TASKS)}")
    return TASKS[name]


def _arithmetic(path: str | None, num_questions: int | None, instructions: str | None) -> Task:
    from rlrun.tasks.arithmetic import Arithmetic

    if path is not None:
        raise ConfigError("the arithmetic task makes its own questions; remove task.path")
    return Arithmetic(num_questions, instructions)


_GRADER = (
    "answers",
    "extraction",
    "markup",
    "numbers",
    "formulas",
    "checker",
    "checker_process",
    "comparison",
)

TASKS: dict[str, Registration] = {
    "arithmetic": Registration(_arithmetic, ("arithmetic",)),
    "gsm8k": Registration(Gsm8k, ("gsm8k", *_GRADER)),
}
