"""Tasks by name, and the fingerprint of their rewards' code."""

from hashlib import sha256
from pathlib import Path

import pytest

import rlrun.tasks
from rlrun.errors import ConfigError
from rlrun.tasks.registry import make_task, reward_code_hash


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


def test_the_reward_hash_covers_the_task_and_the_grader() -> None:
    folder = Path(rlrun.tasks.__path__[0])
    framed = b""
    for name in ("gsm8k", "answers"):
        source = (folder / f"{name}.py").read_bytes()
        framed += f"{name} {len(source)}\n".encode() + source
    assert reward_code_hash("gsm8k") == sha256(framed).hexdigest()
