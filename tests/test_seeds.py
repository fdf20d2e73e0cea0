"""Randomness without state: ranges, independence, and numbers that must never change."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun import seeds
from rlrun.seeds import derive_seed, permutation, uniforms

RUN_SEEDS = st.integers(0, 2**64)
PLACES = st.lists(st.integers() | st.text(max_size=5), max_size=3)


@given(RUN_SEEDS, st.text(max_size=5), PLACES)
def test_a_seed_is_one_that_torch_takes(
    run_seed: int, purpose: str, where: list[int | str]
) -> None:
    assert 0 <= derive_seed(run_seed, purpose, *where) < 2**63


def test_draws_are_the_same_numbers_in_every_version() -> None:
    # Written down once: another number would silently change every run that is resumed.
    assert derive_seed(0, "lora_init") == 946290635033249356
    assert uniforms(7, "sample", 1, "gsm8k/train/0", 0, count=2) == [
        0.1771492794502122,
        0.6891343948950878,
    ]
    assert permutation(7, "data", 0, size=8) == [1, 3, 0, 2, 7, 4, 6, 5]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0, "a"), (1, "a")),
        ((0, "a"), (0, "b")),
        ((0, "a", 1), (0, "a", 2)),
        ((0, "a", 1), (0, "a", "1")),
        ((0, "a", "b", "c"), (0, "a", "bc")),
        ((0, "a", 1, 2), (0, "a", 12)),
        ((0, "a"), (0, "a", "")),
    ],
)
def test_each_use_has_randomness_of_its_own(left: tuple[int, str], right: tuple[int, str]) -> None:
    assert derive_seed(*left) != derive_seed(*right)
    assert uniforms(*left, count=1) != uniforms(*right, count=1)
    assert permutation(*left, size=40) != permutation(*right, size=40)


@given(RUN_SEEDS, PLACES, st.integers(0, 30), st.integers(0, 30))
def test_the_ith_uniform_does_not_depend_on_how_many_are_asked_for(
    run_seed: int, where: list[int | str], fewer: int, more: int
) -> None:
    long = uniforms(run_seed, "sample", *where, count=fewer + more)
    assert long[:fewer] == uniforms(run_seed, "sample", *where, count=fewer)


@pytest.mark.parametrize(("byte", "expected"), [(b"\x00", 2**-53), (b"\xff", 1 - 2**-53)])
def test_the_extreme_uniforms_are_inside_the_open_interval(
    byte: bytes, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No key is known whose hash is all zeros or all ones, so the hash is replaced.
    monkeypatch.setattr(seeds, "_stream", lambda *_: byte * 8)
    assert uniforms(0, "sample", count=1) == [expected]
    assert 0 < expected < 1


def test_uniforms_are_spread_evenly() -> None:
    draws = sorted(uniforms(3, "sample", count=10_000))
    # Kolmogorov and Smirnov's distance exceeds 1.95 / sqrt(n) once in a thousand times.
    distance = max(abs(draw - i / len(draws)) for i, draw in enumerate(draws))
    assert distance < 1.95 / math.sqrt(len(draws))
    assert all(left < right for left, right in pairwise(draws))


@given(RUN_SEEDS, st.integers(0, 50))
def test_a_permutation_has_every_place_once(run_seed: int, size: int) -> None:
    assert sorted(permutation(run_seed, "data", 0, size=size)) == list(range(size))


def test_the_first_place_of_a_permutation_is_any_place_equally_often() -> None:
    firsts = [permutation(0, "data", epoch, size=4)[0] for epoch in range(4000)]
    # 1000 of each are expected, with a standard deviation of sqrt(4000 * 1/4 * 3/4) = 27.4.
    assert all(abs(firsts.count(place) - 1000) < 4 * 27.4 for place in range(4))
