"""The worth of a choice: by hand, in its invariants, and without bias where the maximum has one."""

import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.evaluation.held_out import Points, held_out_accuracy
from rlrun.evaluation.scores import Scores, accuracy

TABLES = st.integers(2, 12).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 4), min_size=size, max_size=size), min_size=1, max_size=6
    )
)


def steps_of(rows: list[list[int]], num_samples: int = 4) -> dict[int, Scores]:
    """Return one step for each row of right samples by question."""
    return {
        step: {f"q{i}": (right, num_samples) for i, right in enumerate(row)}
        for step, row in enumerate(rows)
    }


def held_out(steps: Mapping[int, Scores], seed: int = 0, num_repetitions: int = 5) -> float:
    return held_out_accuracy(Points.of(steps), seed=seed, num_repetitions=num_repetitions)


def test_of_two_steps_that_are_right_by_turns_the_wrong_one_is_always_chosen() -> None:
    # Without "a" the second step is ahead, and is wrong on "a"; without "b" the other way round.
    assert held_out(steps_of([[4, 0], [0, 4]])) == 0.0


def test_a_step_that_is_better_on_every_fold_is_worth_its_score() -> None:
    assert held_out(steps_of([[1, 1, 1, 1], [3, 3, 3, 3]])) == 3 / 4


def test_a_tie_goes_to_the_earlier_step() -> None:
    # All three questions are worth 2 points.  Without the one they differ on, both steps have
    # the same; without another, the second is one behind.
    steps = steps_of([[1, 1, 1], [0, 1, 1]])
    assert held_out(steps) == held_out({7: steps[0], 3: steps[0]}) == 1 / 4
    assert Points.of({7: steps[0], 3: steps[0]}).best() == 3


def test_shares_of_different_numbers_of_samples_are_compared_exactly() -> None:
    # 1/3 + 1/2 against 5/6 + 0: as floats they differ in the last bit.
    points = Points.of({1: {"a": (1, 3), "b": (1, 2)}, 2: {"a": (5, 6), "b": (0, 2)}})
    assert points.points_per_question == 6
    assert points.totals() == {1: 5, 2: 5}


@given(TABLES)
def test_points_are_the_accuracy(rows: list[list[int]]) -> None:
    steps = steps_of(rows)
    points = Points.of(steps)
    unit = points.points_per_question * len(points.questions)
    expected = {step: accuracy(scores).value for step, scores in steps.items()}
    assert {s: total / unit for s, total in points.totals().items()} == pytest.approx(expected)


@given(TABLES)
def test_the_choice_is_never_worth_more_than_the_best_score(rows: list[list[int]]) -> None:
    steps = steps_of(rows)
    most = max(accuracy(scores).value for scores in steps.values())
    assert 0 <= held_out(steps) <= most + 1e-12


@given(TABLES)
def test_without_a_choice_the_score_stands(rows: list[list[int]]) -> None:
    steps = steps_of(rows[:1])
    assert held_out(steps) == pytest.approx(accuracy(steps[0]).value)
    assert held_out({1: steps[0], 2: steps[0]}) == held_out(steps)


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_questions_and_steps_does_not_matter(rows, order) -> None:
    steps = steps_of(rows)
    shuffled = {
        step: dict(order.sample(list(steps[step].items()), len(steps[step])))
        for step in order.sample(sorted(steps), len(steps))
    }
    assert held_out(shuffled) == held_out(steps)


def test_the_seed_decides_the_folds() -> None:
    rng = np.random.default_rng(5)
    steps = steps_of(rng.binomial(1, 0.5, (10, 50)).tolist(), 1)
    assert held_out(steps, seed=1) == held_out(steps, seed=1)
    assert len({held_out(steps, seed=seed) for seed in range(5)}) > 1


def test_several_steps_cannot_be_chosen_from_by_one_question() -> None:
    with pytest.raises(ValueError, match="one question cannot both choose a step and score it"):
        held_out({1: {"a": (1, 1)}, 2: {"a": (1, 1)}})
    assert held_out({1: {"a": (1, 2)}}) == 1 / 2


@pytest.mark.parametrize(("num_steps", "maximum"), [(5, 0.736), (10, 0.747), (20, 0.760)])
def test_the_best_of_equal_steps_is_worth_what_each_is(num_steps: int, maximum: float) -> None:
    # Of one draw the worth has a standard deviation of 0.05, so the mean over 1000 has 0.0016.
    rng = np.random.default_rng(6)
    questions = tuple(map(str, range(200)))
    best, worth = [], []
    for rights in rng.binomial(1, 0.7, (1000, num_steps, 200)):
        packed = np.packbits(rights, axis=1, bitorder="little")
        planes = {i: (int.from_bytes(row, "little"),) for i, row in enumerate(packed)}
        best.append(rights.mean(axis=1).max())
        worth.append(held_out_accuracy(Points(questions, 1, planes), seed=0, num_repetitions=1))
    assert np.mean(best) == pytest.approx(maximum, abs=0.003)
    assert np.mean(worth) == pytest.approx(0.70, abs=0.005)


def test_a_hundred_repetitions_over_forty_steps_of_a_whole_benchmark_take_seconds() -> None:
    rng = np.random.default_rng(7)
    steps = steps_of(rng.binomial(16, 0.7, (40, 1319)).tolist(), 16)
    start = time.process_time()
    assert 0 < held_out(steps, num_repetitions=100) < 1
    assert time.process_time() - start < 5
