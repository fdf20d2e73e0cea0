"""What makes two numbers comparable, and which questions are asked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evaluations import ASKED, FOUND, make_prompts

from rlrun.errors import DamagedError
from rlrun.evaluation import plan as plans
from rlrun.evaluation.plan import Plan, choose, completion_seed, from_data

PLAN = Plan(ASKED, FOUND)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert from_data(PLAN.to_data(), "x.yaml") == PLAN


def test_where_the_base_lies_is_written_and_makes_no_other_plan() -> None:
    moved = replace(PLAN, model_path="/models/elsewhere")
    assert moved.hash == PLAN.hash
    assert from_data(moved.to_data(), "x.yaml").model_path == "/models/elsewhere"


@pytest.mark.parametrize(
    "other",
    [
        Plan(replace(ASKED, temperature=0.5), FOUND),
        Plan(replace(ASKED, engine_version="2"), FOUND),
        Plan(replace(ASKED, dtype="bfloat16"), FOUND),
        Plan(replace(ASKED, question_ids=ASKED.question_ids[:-1]), FOUND),
        Plan(ASKED, replace(FOUND, prompts_hash="other")),
        Plan(ASKED, replace(FOUND, device="a GPU")),
    ],
)
def test_whatever_makes_numbers_differ_makes_another_plan(other: Plan) -> None:
    assert other.hash != PLAN.hash
    assert other.short == other.hash[:8]


def test_a_plan_that_was_changed_by_hand_is_refused() -> None:
    data = PLAN.to_data()
    data["asked"]["temperature"] = 0.7
    with pytest.raises(DamagedError, match=r"x\.yaml does not match its own plan_hash"):
        from_data(data, "x.yaml")


@pytest.mark.parametrize("data", [None, {}, {"asked": 3}, {"asked": {}, "found": {}}])
def test_what_is_no_plan_is_said(data: object) -> None:
    with pytest.raises(DamagedError, match=r"x\.yaml holds no plan"):
        from_data(data, "x.yaml")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_a_smaller_choice_is_inside_a_larger_one(size: int, first: int, second: int) -> None:
    prompts = make_prompts(size)
    few = choose(prompts, share=None, max_questions=min(first, second))
    many = choose(prompts, share=None, max_questions=max(first, second))
    assert set(few) <= set(many)
    assert len(many) == min(size, max(first, second))
    assert list(many) == [prompt for prompt in prompts if prompt in many]


def test_a_share_is_rounded_up_so_that_something_is_asked() -> None:
    assert len(choose(make_prompts(30), share=0.01, max_questions=None)) == 1
    assert len(choose(make_prompts(30), share=0.5, max_questions=None)) == 15
    assert len(choose(make_prompts(30), share=None, max_questions=None)) == 30


def test_a_seed_tells_questions_and_samples_apart_and_nothing_else() -> None:
    seeds = {completion_seed(ASKED, name, sample) for name in ("a", "b") for sample in range(3)}
    assert len(seeds) == 6
    other = replace(ASKED, temperature=0.9, engine="vllm")
    assert completion_seed(other, "a", 1) == completion_seed(ASKED, "a", 1)
    assert completion_seed(replace(ASKED, seed=1), "a", 1) != completion_seed(ASKED, "a", 1)


def test_the_questions_hash_sees_the_gold_answer_and_the_instructions() -> None:
    prompts = make_prompts(2)
    for change in ({"answer": "other"}, {"instructions": "other"}, {"question": "other"}):
        changed = (replace(prompts[0], **change), prompts[1])
        assert plans.questions_hash(changed) != plans.questions_hash(prompts)
