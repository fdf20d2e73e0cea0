"""Which questions are asked, of which data set, and that none was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlrun.config.schema import TaskConfig
from rlrun.errors import ConfigError, UsageError
from rlrun.evaluation import questions
from rlrun.evaluation.questions import Questions
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.tasks.gsm8k import Gsm8k

ARITHMETIC = TaskConfig(name="arithmetic")


def rows(*names: str) -> str:
    lines = [{"question": f"How much is {name}?", "answer": "#### 3"} for name in names]
    return "".join(json.dumps(line) + "\n" for line in lines)


def data_set(folder: Path, train: str, test: str) -> Path:
    folder.mkdir()
    (folder / "train.jsonl").write_text(train)
    (folder / "test.jsonl").write_text(test)
    return folder


def load(config: TaskConfig, dataset: str | None = None, **changes: Any) -> Questions:
    values: dict[str, Any] = {"share": None, "max_questions": None, "is_trained": True} | changes
    return questions.load(config, dataset, **values)


def test_a_runs_own_task_is_asked_its_held_out_split() -> None:
    found = load(ARITHMETIC)
    assert found.name == "arithmetic"
    assert found.prompts == Arithmetic().prompts("eval")
    assert found.num_there == len(found.prompts) == 843
    assert isinstance(found.task, Arithmetic)


def test_a_part_is_asked_and_the_whole_is_known() -> None:
    assert len(load(ARITHMETIC, max_questions=7).prompts) == 7
    assert load(ARITHMETIC, share=0.5).num_there == 843
    assert len(load(ARITHMETIC, share=0.5).prompts) == 422


def test_a_folder_is_a_data_set_of_its_own_name(tmp_path: Path) -> None:
    mine = TaskConfig(name="gsm8k", path=str(data_set(tmp_path / "mine", rows("a"), rows("b"))))
    other = data_set(tmp_path / "other", rows("c"), rows("d", "e"))
    assert load(mine).name == "gsm8k"
    found = load(mine, str(other))
    assert (found.name, len(found.prompts)) == ("other", 2)
    assert isinstance(found.task, Gsm8k)


def test_the_name_of_a_data_set_is_known_without_reading_it(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "other", "", "")
    assert questions.name_of(ARITHMETIC, "gsm8k") == "gsm8k"
    assert questions.name_of(TaskConfig(name="gsm8k"), str(folder)) == "other"


@pytest.mark.parametrize("name", ["gsm9k", "no/such/folder"])
def test_a_name_that_is_neither_task_nor_folder_is_said(name: str) -> None:
    with pytest.raises(UsageError, match=f"--dataset {name}: neither a task nor a folder; give on"):
        load(ARITHMETIC, name)


def test_questions_that_were_trained_on_are_refused_by_name(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "mine", rows("1+2", "3+4"), rows("5+6", "1 + 2"))
    mine = TaskConfig(name="gsm8k", path=str(folder))
    with pytest.raises(ConfigError) as refused:
        load(mine)
    assert "1 of 2 held-out questions are training questions" in str(refused.value)
    assert "gsm8k/eval/1 is gsm8k/train/0" in str(refused.value)


def test_a_leak_into_another_data_set_is_seen_too(tmp_path: Path) -> None:
    mine = TaskConfig(name="gsm8k", path=str(data_set(tmp_path / "a", rows("x"), rows("y"))))
    other = data_set(tmp_path / "b", rows("z"), rows("x"))
    with pytest.raises(ConfigError, match="1 of 1 held-out questions are training questions"):
        load(mine, str(other))


def test_only_the_questions_that_are_asked_are_looked_at_for_leaks(tmp_path: Path) -> None:
    held_out = [str(number) for number in range(20)]
    chosen = data_set(tmp_path / "a", rows("x"), rows(*held_out))
    few = load(TaskConfig(name="gsm8k", path=str(chosen)), max_questions=1).prompts[0]
    leaked = next(number for number in held_out if number not in few.question)
    (chosen / "train.jsonl").write_text(rows(leaked))
    assert load(TaskConfig(name="gsm8k", path=str(chosen)), max_questions=1).prompts == (few,)


def test_a_model_that_we_did_not_train_is_not_looked_at_for_leaks(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "mine", rows("1+2"), rows("1+2"))
    config = TaskConfig(name="gsm8k", path=str(folder))
    assert len(load(config, is_trained=False).prompts) == 1


def test_a_folder_without_a_held_out_split_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.jsonl").write_text(rows("a"))
    with pytest.raises(ConfigError, match=r"test\.jsonl"):
        load(TaskConfig(name="gsm8k", path=str(tmp_path / "mine")))


def test_who_grades_a_stored_data_set_is_known_by_its_name() -> None:
    gsm8k = TaskConfig(name="gsm8k", path="/data/gone")
    for config, name, kind in (
        (ARITHMETIC, "arithmetic", Arithmetic), (ARITHMETIC, "gsm8k", Gsm8k),
        (gsm8k, "gsm8k", Gsm8k), (gsm8k, "a folder", Gsm8k),
    ):  # fmt: skip
        task, grader = questions.grader_of(config, name)
        assert isinstance(task, kind)
        assert len(grader) == 64
