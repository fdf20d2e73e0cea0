"""GSM8K from local files, and the real data where it is."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.errors import ConfigError
from rlrun.tasks import checker, gsm8k
from rlrun.tasks.gsm8k import INSTRUCTIONS, Gsm8k, gold_of
from rlrun.tasks.leaks import require_disjoint
from rlrun.types import Grade, Prompt, Split

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


def write_golds(file: Path, *golds: str) -> str:
    return write_rows(file, *({"question": "How many?", "answer": f"#### {g}"} for g in golds))


def test_every_bad_row_is_named_the_first_ten_of_them(tmp_path: Path) -> None:
    file = write_golds(tmp_path / "q.jsonl", "1", *["$"] * 12, "2")
    lines = refusal(file).splitlines()
    assert [line.partition(" ")[0] for line in lines[:10]] == [f"{file}:{n}" for n in range(2, 12)]
    assert lines[10:] == ["... and 2 more"]


@pytest.mark.parametrize("gold", [r"\frac{1}{2", r"\frac{1}{x}}{2}"])
def test_an_answer_that_survives_hashes_but_no_box_is_refused(tmp_path: Path, gold: str) -> None:
    file = write_golds(tmp_path / "q.jsonl", gold)
    assert "no completion could match" in refusal(file)


@pytest.mark.parametrize("gold", ["72", "1,080", "3/4", r"\frac{3}{4}", "50%", "Paris", "12:30"])
def test_numbers_and_words_need_no_checker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gold: str
) -> None:
    monkeypatch.setattr(checker, "require", lambda *_: pytest.fail("it was required"))
    file = write_golds(tmp_path / "q.jsonl", gold)
    assert [prompt.answer for prompt in Gsm8k(file).prompts("train")] == [gold]


def test_a_formula_requires_the_checker_once_and_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(checker, "require", lambda *what: asked.append(what))
    file = write_golds(tmp_path / "q.jsonl", "72", "2x", "3x")
    assert len(Gsm8k(file).prompts("train")) == 3
    assert asked == [(f"{file}:2", "2x")]


def test_a_split_is_read_once(folder: str) -> None:
    task = Gsm8k(folder)
    before = task.prompts("train")
    (Path(folder) / "train.jsonl").unlink()
    assert task.prompts("train") is before


def test_without_a_path_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Split]] = []

    def rows(path: str, split: Split) -> list[tuple[str, object]]:
        asked.append((path, split))
        return [("row 0", EGGS)]

    monkeypatch.setattr(gsm8k, "read_rows", rows)
    assert [prompt.id for prompt in Gsm8k().prompts("eval")] == ["gsm8k/eval/0"]
    assert asked == [("openai/gsm8k", "eval")]


PROMPT = Prompt("gsm8k/train/0", "How many?", "72")


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
    reward = Gsm8k().reward(PROMPT, text, is_truncated=False)
    assert reward.parts == {"correct": correct, "format": form, "checker_timeout": 0.0}
    assert reward.total == correct + form


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("so it is 72", 0.0),
        ("#### 72", 0.0),
        ("#### 72\nso", 1.1),
        (r"\boxed{72} so", 1.1),
        (r"\boxed{71} so", 0.1),
    ],
)
def test_what_was_cut_off_is_worth_only_what_it_has_marked(text: str, total: float) -> None:
    assert Gsm8k().reward(PROMPT, text, is_truncated=True).total == total


def test_a_checker_that_gives_up_shows_in_a_part_and_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checker, "check", lambda *_: "checker_timeout")
    prompt = Prompt("gsm8k/train/0", "What is it?", "2x")
    reward = Gsm8k().reward(prompt, r"\boxed{x + x}", is_truncated=False)
    assert reward.parts == {"correct": 0.0, "format": 0.1, "checker_timeout": 1.0}
    assert reward.total == 0.1


@given(
    text=st.lists(st.sampled_from(["72", "71", "####", " ", "\n", r"\boxed{", "}"])).map("".join),
    is_truncated=st.booleans(),
)
def test_what_is_trained_on_is_what_is_evaluated(text: str, is_truncated: bool) -> None:
    task = Gsm8k()
    grade = task.grade(PROMPT, text, is_truncated=is_truncated)
    reward = task.reward(PROMPT, text, is_truncated=is_truncated)
    assert reward.parts["correct"] == (grade.verdict == "correct")


def test_the_gold_follows_the_last_hashes() -> None:
    assert gold_of("#### 1 was a guess\n#### 1,080 ") == "1,080"


needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason=f"the GSM8K files are not at {REAL_DATA}"
)


@needs_real_data
@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("eval", 1319)])
def test_every_real_solution_answers_its_gold(split: Split, count: int) -> None:
    task = Gsm8k(str(REAL_DATA))
    prompts = task.prompts(split)
    assert len(prompts) == count
    file = REAL_DATA / ("train.jsonl" if split == "train" else "test.jsonl")
    solutions = [json.loads(line)["answer"] for line in file.read_text("utf-8").splitlines()]
    pairs = list(zip(prompts, solutions, strict=True))
    grades = [task.grade(p, text, is_truncated=False) for p, text in pairs]
    assert grades == [Grade("correct", prompt.answer) for prompt in prompts]
    assert {task.reward(p, text, is_truncated=False).total for p, text in pairs} == {1.1}


@needs_real_data
def test_a_real_solution_without_its_mark_still_ends_in_its_gold() -> None:
    task = Gsm8k(str(REAL_DATA))
    for prompt in task.prompts("eval"):
        text = f"Altogether that makes {prompt.answer}."
        assert task.grade(prompt, text, is_truncated=False).verdict == "correct"
        assert task.grade(prompt, text, is_truncated=True) == Grade("truncated", None)


@needs_real_data
def test_the_real_splits_have_no_question_in_common() -> None:
    task = Gsm8k(str(REAL_DATA))
    require_disjoint(task.prompts("train"), task.prompts("eval"))
