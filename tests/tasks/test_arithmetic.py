from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks.answers import canonical
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Grade, Prompt, Split, Verdict

PROMPT = Prompt(id="arithmetic/train/12+34", question="12+34=", answer="46")


def terms(prompt: Prompt) -> tuple[int, int]:
    left, right = prompt.question.removesuffix("=").split("+")
    return int(left), int(right)


def test_every_sum_of_two_two_digit_numbers_is_in_exactly_one_split() -> None:
    task = Arithmetic()
    pairs = [terms(prompt) for prompt in task.prompts("train") + task.prompts("eval")]
    assert sorted(pairs) == sorted(product(range(10, 100), repeat=2))


def test_both_orders_of_a_sum_are_in_the_same_split() -> None:
    train = {terms(prompt) for prompt in Arithmetic().prompts("train")}
    assert {(right, left) for left, right in train} == train


def test_about_a_tenth_of_the_sums_is_held_out() -> None:
    assert 0.08 < len(Arithmetic().prompts("eval")) / 8100 < 0.12


def test_the_answer_of_every_prompt_is_the_sum_of_its_terms() -> None:
    prompts = Arithmetic().prompts("eval")
    assert [prompt.answer for prompt in prompts] == [str(sum(terms(prompt))) for prompt in prompts]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_an_id_names_task_split_and_sum(split: Split) -> None:
    prompt = Arithmetic().prompts(split)[0]
    left, right = terms(prompt)
    assert prompt.id == f"arithmetic/{split}/{left}+{right}"


def test_the_order_is_the_one_that_was_first_published() -> None:
    task = Arithmetic()
    first = [prompt.question for prompt in task.prompts("train")[:4]]
    assert first == ["49+95=", "56+74=", "12+70=", "93+92="]
    assert [prompt.question for prompt in task.prompts("eval")[:2]] == ["48+24=", "37+33="]


def test_num_questions_keeps_the_first_training_prompts_and_the_whole_eval_split() -> None:
    task, whole = Arithmetic(num_questions=3), Arithmetic()
    assert task.prompts("train") == whole.prompts("train")[:3]
    assert task.prompts("eval") == whole.prompts("eval")


def test_instructions_go_into_every_prompt() -> None:
    task = Arithmetic(instructions="Add.")
    prompts = task.prompts("train") + task.prompts("eval")
    assert {prompt.instructions for prompt in prompts} == {"Add."}


def test_without_instructions_a_prompt_has_an_empty_text() -> None:
    assert Arithmetic().prompts("eval")[0].instructions == ""


@pytest.mark.parametrize(
    ("text", "is_truncated", "verdict", "answer"),
    [
        pytest.param("46", False, "correct", "46", id="the answer"),
        pytest.param(" 46\n", False, "correct", "46", id="the answer in white space"),
        pytest.param("46", True, "correct", "46", id="the answer, cut off behind it"),
        pytest.param("47", False, "wrong", "47", id="another number"),
        pytest.param("-46", False, "wrong", "-46", id="a negative number"),
        pytest.param("4", True, "truncated", None, id="what may have become the answer"),
        pytest.param("answer: ", True, "truncated", None, id="what may have come to an answer"),
        pytest.param("", True, "truncated", None, id="nothing, cut off"),
        pytest.param("", False, "no_answer", None, id="nothing"),
        pytest.param("046", False, "no_answer", None, id="a number written otherwise"),
        pytest.param("46.", False, "no_answer", None, id="a full stop"),
        pytest.param("4 6", False, "no_answer", None, id="two numbers"),
        pytest.param("46=46", False, "no_answer", None, id="an equation"),
        pytest.param("answer: 46", False, "no_answer", None, id="more than the answer"),
    ],
)
def test_the_whole_text_is_the_answer(
    text: str, is_truncated: bool, verdict: Verdict, answer: str | None
) -> None:
    assert Arithmetic().grade(PROMPT, text, is_truncated=is_truncated) == Grade(verdict, answer)


@pytest.mark.parametrize("text", ["46", " 46", "46\n"])
def test_the_answer_is_worth_one_whatever_white_space_surrounds_it(text: str) -> None:
    assert Arithmetic().reward(PROMPT, text, is_truncated=False).total == 1.0


@pytest.mark.parametrize("text", ["", "4", "47", "046", "46.", "4 6", "46=46", "answer: 46"])
def test_anything_but_the_answer_alone_is_worth_nothing(text: str) -> None:
    assert Arithmetic().reward(PROMPT, text, is_truncated=False).total == 0.0


texts = st.sampled_from(["46", "46 ", "64", "-46", "046", "46."]) | st.text(alphabet="046 .-")


@given(text=texts, is_truncated=st.booleans())
def test_the_only_part_of_a_reward_is_its_total_and_follows_from_the_grade(
    text: str, is_truncated: bool
) -> None:
    grade = Arithmetic().grade(PROMPT, text, is_truncated=is_truncated)
    reward = Arithmetic().reward(PROMPT, text, is_truncated=is_truncated)
    assert reward.parts == {"correct": reward.total}
    assert reward.total == (grade.verdict == "correct")


@given(left=texts, right=texts)
def test_answers_that_are_alike_have_one_verdict(left: str, right: str) -> None:
    grades = [Arithmetic().grade(PROMPT, text, is_truncated=False) for text in (left, right)]
    names = [None if grade.answer is None else canonical(grade.answer) for grade in grades]
    assert names[0] != names[1] or grades[0].verdict == grades[1].verdict
