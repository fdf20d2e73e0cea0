"""Tasks by name, and the fingerprint of their rewards' code."""

import ast
from hashlib import sha256
from pathlib import Path

import pytest

import rlrun.tasks
from rlrun.errors import ConfigError
from rlrun.tasks.registry import TASKS, make_task, reward_code_hash

FOLDER = Path(rlrun.tasks.__path__[0])


def test_gsm8k_is_made_with_the_settings_given(tmp_path: Path) -> None:
    row = '{"question": "How many?", "answer": "#### 7"}\n'
    (tmp_path / "train.jsonl").write_text(row * 3, encoding="utf-8")
    task = make_task("gsm8k", path=str(tmp_path), num_questions=2, instructions="Guess.")
    assert [(p.answer, p.instructions) for p in task.prompts("train")] == [("7", "Guess.")] * 2


def test_an_unknown_task_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match=r"no task 'chess'; set task.name to one of .*gsm8k"):
        make_task("chess", path=None, num_questions=None, instructions=None)


def test_the_reward_hash_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task 'chess'"):
        reward_code_hash("chess")


def test_the_reward_hash_covers_the_modules_of_the_task() -> None:
    framed = b""
    for name in TASKS["gsm8k"].reward_modules:
        source = (FOLDER / f"{name}.py").read_bytes()
        framed += f"{name} {len(source)}\n".encode() + source
    assert reward_code_hash("gsm8k") == sha256(framed).hexdigest()


def imported(module: str) -> set[str]:
    """Return the modules of the folder that a module of it imports, also late."""
    nodes = list(ast.walk(ast.parse((FOLDER / f"{module}.py").read_text("utf-8"))))
    found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {node.module.removeprefix("rlrun.tasks.") for node in found if node.module}
    names |= {name.name for node in found if node.module == "rlrun.tasks" for name in node.names}
    return {name for name in names if (FOLDER / f"{name}.py").is_file()}


@pytest.mark.parametrize("task", TASKS)
def test_all_that_decides_a_reward_is_in_its_hash(task: str) -> None:
    modules, todo = set[str](), {task}
    while todo:
        modules |= todo
        todo = {name for module in todo for name in imported(module)} - modules - {"rows"}
    if "checker" in modules:  # which starts its process by name
        modules |= {"checker_process", *imported("checker_process")}
    assert set(TASKS[task].reward_modules) == modules
