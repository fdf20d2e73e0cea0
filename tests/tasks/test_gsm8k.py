"""GSM8K from local files, from a stand-in for the hub's library, and the real data where it is."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rlrun.errors import ConfigError, MissingExtraError
from rlrun.tasks.answers import is_correct
from rlrun.tasks.gsm8k import INSTRUCTIONS, Gsm8k, gold_of
from rlrun.types import Prompt, Split

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"

EGGS = {"question": "What are 4 eggs at $18 worth?", "answer": "4 * 18 = <<4*18=72>>72\n#### 72"}
CLIPS = {"question": "How many clips are a thousand and 80?", "answer": "A sum.\n#### 1,080"}


def write_rows(file: Path, *rows: object) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_rows(tmp_path / "train.jsonl", EGGS, CLIPS)
    write_rows(tmp_path / "test.jsonl", CLIPS)
    return str(tmp_path)


def refusal(path: str, split: Split = "train", num_questions: int | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        Gsm8k(path, num_questions).prompts(split)
    return str(caught.value)


def test_the_training_questions_are_the_rows_of_train_jsonl_in_order(folder: str) -> None:
    assert Gsm8k(folder).prompts("train") == (
        Prompt("gsm8k/train/0", EGGS["question"], "72", INSTRUCTIONS),
        Prompt("gsm8k/train/1", CLIPS["question"], "1,080", INSTRUCTIONS),
    )


def test_the_eval_questions_are_the_rows_of_test_jsonl(folder: str) -> None:
    ids = [prompt.id for prompt in Gsm8k(folder).prompts("eval")]
    assert ids == ["gsm8k/eval/0"]


def test_num_questions_keeps_the_first_training_questions_and_all_eval_questions(
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "train.jsonl", EGGS, CLIPS)
    write_rows(tmp_path / "test.jsonl", CLIPS, EGGS)
    task = Gsm8k(str(tmp_path), num_questions=1)
    assert [prompt.answer for prompt in task.prompts("train")] == ["72"]
    assert len(task.prompts("eval")) == 2


def test_more_questions_than_there_are_is_refused(folder: str) -> None:
    message = refusal(folder, num_questions=3)
    assert message.startswith("task.num_questions is 3, but")
    assert "2 training questions" in message


def test_empty_instructions_mean_none(folder: str) -> None:
    assert Gsm8k(folder, instructions="").prompts("train")[0].instructions == ""


def test_a_single_file_is_the_train_split(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "questions.jsonl", EGGS)
    assert [prompt.answer for prompt in Gsm8k(file).prompts("train")] == ["72"]


def test_a_single_file_has_no_eval_split(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "questions.jsonl", EGGS)
    assert "is one file, which is the train split" in refusal(file, "eval")


def test_blank_lines_and_unusual_line_separators_do_not_split_or_number_rows(
    tmp_path: Path,
) -> None:
    strange = {"question": "One\u2028two\x85three?", "answer": "#### 3"}
    text = "\ufeff" + json.dumps(strange, ensure_ascii=False) + "\r\n\n" + json.dumps(EGGS)
    (tmp_path / "q.jsonl").write_bytes(text.encode())
    prompts = Gsm8k(str(tmp_path / "q.jsonl")).prompts("train")
    assert [(p.id, p.answer) for p in prompts] == [("gsm8k/train/0", "3"), ("gsm8k/train/1", "72")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"question": "Cut', "is not JSON"),
        pytest.param("[" * 100_000, "is not JSON", id="brackets without end"),
        ('["question", "answer"]', "is not a JSON object"),
        ('{"answer": "#### 1"}', 'has no text under "question"'),
        ('{"question": " ", "answer": "#### 1"}', 'has no text under "question"'),
        ('{"question": "How many?"}', 'has no text under "answer"'),
        ('{"question": "How many?", "answer": 1}', 'has no text under "answer"'),
        ('{"question": "How many?", "answer": "It is 1"}', 'has no answer after "####"'),
        ('{"question": "How many?", "answer": "It is ####"}', 'has no answer after "####"'),
        ('{"question": "How many?", "answer": "#### 1\\n2"}', "no completion could match"),
        ('{"question": "How many?", "answer": "#### $"}', "no completion could match"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(EGGS) + "\n" + line + "\n", encoding="utf-8")
    message = refusal(str(file))
    assert message.startswith(f"{file}:2 ")
    assert complaint in message


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert "has no train questions" in refusal(write_rows(tmp_path / "q.jsonl"))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe{")
    assert "is not UTF-8 text" in refusal(str(tmp_path / "q.jsonl"))


def test_a_folder_without_the_split_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", EGGS)
    assert f"{tmp_path / 'test.jsonl'} cannot be read" in refusal(str(tmp_path), "eval")


@pytest.mark.parametrize("path", ["/no/such/folder", "./nothing", "data/q.jsonl", "a/b/c", "gsm8k"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    assert refusal(path).startswith(f"task.path: there is no file or folder {path}")


def test_the_hub_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install datasets")):
        Gsm8k().prompts("train")


class FakeHub(ModuleType):
    """Stands in for the datasets package: one row, and a note of what was asked for."""

    def __init__(self) -> None:
        super().__init__("datasets")
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, path: str, name: str | None, *, split: str) -> list[object]:
        self.asked.append((path, name, split))
        if path == "no/such":
            raise FileNotFoundError("Dataset 'no/such' doesn't exist on the hub\nmore talk")
        return [{"question": "How many?", "answer": "5"} if path == "bad/rows" else EGGS]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def test_without_a_path_the_hub_is_asked_once_for_each_split(hub: FakeHub) -> None:
    task = Gsm8k()
    assert task.prompts("train") == task.prompts("train")
    assert [prompt.id for prompt in task.prompts("eval")] == ["gsm8k/eval/0"]
    assert hub.asked == [("openai/gsm8k", "main", "train"), ("openai/gsm8k", "main", "test")]


def test_another_data_set_on_the_hub_is_read_in_its_default_configuration(hub: FakeHub) -> None:
    assert Gsm8k("some/problems").prompts("train")[0].answer == "72"
    assert hub.asked == [("some/problems", None, "train")]


def test_a_data_set_that_the_hub_has_not_is_refused_with_the_reason(hub: FakeHub) -> None:
    message = refusal("no/such")
    assert "(Dataset 'no/such' doesn't exist on the hub)" in message
    assert "\n" not in message


def test_a_bad_row_of_the_hub_is_refused_by_split_and_index(hub: FakeHub) -> None:
    assert refusal("bad/rows", "eval").startswith("bad/rows test row 0 has no answer")


@pytest.mark.parametrize(
    ("text", "correct", "form"),
    [
        ("48 + 24 = 72\n#### 72", 1.0, 0.1),
        (r"\boxed{72}", 1.0, 0.1),
        ("so it is 72", 1.0, 0.0),
        ("#### 71", 0.0, 0.1),
        ("71", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_a_reward_is_correctness_plus_a_tenth_for_the_mark(
    text: str, correct: float, form: float
) -> None:
    reward = Gsm8k().reward(Prompt("gsm8k/train/0", "How many?", "72"), text)
    assert reward.parts == {"correct": correct, "format": form}
    assert reward.total == correct + form


def test_the_gold_follows_the_last_hashes() -> None:
    assert gold_of("#### 1 was a guess\n#### 1,080 ") == "1,080"


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the GSM8K files are not at {REAL_DATA}")
@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("eval", 1319)])
def test_every_real_gold_and_its_solution_grade_as_correct(split: Split, count: int) -> None:
    task = Gsm8k(str(REAL_DATA))
    prompts = task.prompts(split)
    assert len(prompts) == count
    assert [p.id for p in prompts if not is_correct(p.answer, p.answer)] == []
    file = REAL_DATA / ("train.jsonl" if split == "train" else "test.jsonl")
    solutions = [json.loads(line)["answer"] for line in file.read_text("utf-8").splitlines()]
    rewards = {task.reward(p, text).total for p, text in zip(prompts, solutions, strict=True)}
    assert rewards == {1.1}
