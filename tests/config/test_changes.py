"""What a resume may alter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.config.changes import Change, Changes, compare, describe
from rlrun.config.load import apply_overrides, load_config

TINY = load_config("tiny", []).config
LINEAR = apply_overrides(TINY, ["grpo.schedule=linear"])
OVERRIDES = [
    "seed=7",
    "model.lora=null",
    "task.instructions=Think",
    "sampling.temperature=2",
    "grpo.schedule=cosine",
    "train.max_steps=5",
    "saving.every_steps=null",
]


def free(*changes: Change) -> Changes:
    return Changes(free=changes, inexact=())


def inexact(*changes: Change) -> Changes:
    return Changes(free=(), inexact=changes)


@given(overrides=st.lists(st.sampled_from(OVERRIDES)))
def test_a_configuration_does_not_differ_from_itself(overrides: list[str]) -> None:
    config = apply_overrides(TINY, overrides)
    assert compare(config, config) == Changes((), ())


@given(overrides=st.lists(st.sampled_from(OVERRIDES)))
def test_turning_a_comparison_round_turns_each_change_round(overrides: list[str]) -> None:
    config = apply_overrides(TINY, overrides)
    there, back = compare(TINY, config), compare(config, TINY)
    turned = Changes(
        free=tuple(Change(change.key, change.new, change.old) for change in back.free),
        inexact=tuple(Change(change.key, change.new, change.old) for change in back.inexact),
    )
    assert there == turned


def test_saving_may_change_freely() -> None:
    config = apply_overrides(TINY, ["saving.every_steps=3", "saving.every_seconds=60"])
    assert compare(TINY, config) == free(
        Change("saving.every_steps", 10, 3), Change("saving.every_seconds", None, 60.0)
    )


def test_the_horizon_may_change_freely_under_a_constant_schedule() -> None:
    config = apply_overrides(TINY, ["train.max_steps=null", "train.num_epochs=2"])
    assert compare(TINY, config) == free(
        Change("train.max_steps", 100, None), Change("train.num_epochs", None, 2.0)
    )


def test_the_horizon_is_part_of_any_other_schedule() -> None:
    config = apply_overrides(LINEAR, ["train.max_steps=200"])
    assert compare(LINEAR, config) == inexact(Change("train.max_steps", 100, 200))


def test_leaving_the_constant_schedule_takes_the_horizon_s_freedom() -> None:
    config = apply_overrides(LINEAR, ["train.max_steps=200"])
    assert compare(TINY, config) == inexact(
        Change("grpo.schedule", "constant", "linear"), Change("train.max_steps", 100, 200)
    )


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("seed=1", Change("seed", 0, 1)),
        ("grpo.learning_rate=1e-5", Change("grpo.learning_rate", 0.001, 0.00001)),
        ("sampling.batch_rows=32", Change("sampling.batch_rows", 128, 32)),
        ("train.num_threads=2", Change("train.num_threads", None, 2)),
        ("train.deterministic=false", Change("train.deterministic", True, False)),
        ("model.lora.rank=8", Change("model.lora.rank", 16, 8)),
    ],
)
def test_whatever_enters_an_update_is_inexact(override: str, change: Change) -> None:
    assert compare(TINY, apply_overrides(TINY, [override])) == inexact(change)


def test_a_section_switched_off_is_one_change_at_its_own_key() -> None:
    changes = compare(TINY, apply_overrides(TINY, ["model.lora=null"]))
    (change,) = changes.inexact
    assert (change.key, change.new) == ("model.lora", None)
    assert isinstance(change.old, dict)
    assert change.old["rank"] == 16


def test_a_change_is_described_by_key_and_both_values() -> None:
    assert describe(Change("grpo.learning_rate", 0.001, 0.0005)) == (
        "grpo.learning_rate: 0.001 -> 0.0005"
    )
    assert describe(Change("task.path", None, "a.jsonl")) == "task.path: null -> a.jsonl"
