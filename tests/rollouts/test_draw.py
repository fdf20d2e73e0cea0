"""Draws: which tokens are possible, how often they come, and what is said of their probability."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlrun.rollouts.draw import draw_tokens
from rlrun.types import Sampling

NUM_DRAWS = 4000
PLAIN = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_completion_tokens=1)
QUARTERS = st.integers(-8, 8).map(lambda count: count / 4)  # so that a tie is a tie to the bit
LOGITS = st.lists(QUARTERS, min_size=2, max_size=8)
HOLES = st.lists(QUARTERS | st.just(-math.inf), min_size=2, max_size=8).filter(
    lambda logits: max(logits) > -math.inf
)
TEMPERATURES = st.sampled_from([0.5, 1.0, 2.0])


def sampling(temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> Sampling:
    return Sampling(temperature, top_p, top_k, max_completion_tokens=1)


def draw(logits: list[float], settings: Sampling, num_draws: int = NUM_DRAWS) -> Counter[int]:
    """Return how often each token comes at uniforms that are spread evenly over (0, 1)."""
    uniforms = (torch.arange(num_draws, dtype=torch.float64) + 0.5) / num_draws
    tokens, _ = draw_tokens(torch.tensor(logits).expand(num_draws, -1), uniforms, settings)
    return Counter(tokens.tolist())


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp(logit / temperature) for logit in logits]
    return [weight / math.fsum(weights) for weight in weights]


def likeliest_first(logits: list[float]) -> list[int]:
    return sorted(range(len(logits)), key=lambda token: (-logits[token], token))


def assert_shares(counts: Counter[int], shares: dict[int, float]) -> None:
    for token in counts.keys() | shares.keys():
        assert abs(counts[token] - NUM_DRAWS * shares.get(token, 0.0)) <= 1.01


def test_uniforms_select_tokens_in_their_order() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]] * 4).log()
    uniforms = torch.tensor([0.49, 0.51, 0.74, 0.76], dtype=torch.float64)
    tokens, logprobs = draw_tokens(logits, uniforms, PLAIN)
    assert tokens.tolist() == [0, 1, 1, 2]
    assert logprobs.tolist() == pytest.approx([math.log(p) for p in (0.5, 0.25, 0.25, 0.25)])


@settings(deadline=None)
@given(HOLES, TEMPERATURES)
def test_tokens_come_as_often_as_they_are_likely(logits: list[float], temperature: float) -> None:
    counts = draw(logits, sampling(temperature))
    assert_shares(counts, dict(enumerate(softmax(logits, temperature))))


@settings(deadline=None)
@given(LOGITS, TEMPERATURES, st.integers(1, 9))
def test_top_k_keeps_exactly_the_likeliest(
    logits: list[float], temperature: float, top_k: int
) -> None:
    probabilities = softmax(logits, temperature)
    kept = likeliest_first(logits)[:top_k]
    mass = math.fsum(probabilities[token] for token in kept)
    counts = draw(logits, sampling(temperature, top_k=top_k))
    assert_shares(counts, {token: probabilities[token] / mass for token in kept})


@settings(deadline=None)
@given(LOGITS, TEMPERATURES, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_that_is_likely_enough(
    logits: list[float], temperature: float, top_p: float
) -> None:
    probabilities = softmax(logits, temperature)
    kept: list[int] = []
    mass = 0.0
    for token in likeliest_first(logits):
        assume(abs(mass - top_p) > 1e-6)
        if mass >= top_p:
            break
        kept.append(token)
        mass += probabilities[token]
    counts = draw(logits, sampling(temperature, top_p=top_p))
    assert_shares(counts, {token: probabilities[token] / mass for token in kept})


@settings(deadline=None)
@given(HOLES, st.floats(1e-9, 1.0), st.integers(0, 8))
def test_an_impossible_token_is_never_drawn(logits: list[float], top_p: float, top_k: int) -> None:
    extremes = torch.tensor([2.0**-53, 0.5, 1 - 2.0**-53, 1.0], dtype=torch.float64)
    rows = torch.tensor(logits).expand(4, -1)
    tokens, logprobs = draw_tokens(rows, extremes, sampling(top_p=top_p, top_k=top_k))
    assert all(logits[token] > -math.inf for token in tokens.tolist())
    assert logprobs.isfinite().all()


@settings(deadline=None)
@given(LOGITS, TEMPERATURES, st.floats(0.1, 1.0), st.integers(0, 8), st.floats(0.001, 0.999))
def test_the_logprob_is_that_of_the_distribution_before_truncation(
    logits: list[float], temperature: float, top_p: float, top_k: int, uniform: float
) -> None:
    tokens, logprobs = draw_tokens(
        torch.tensor([logits]),
        torch.tensor([uniform], dtype=torch.float64),
        sampling(temperature, top_p, top_k),
    )
    expected = math.log(softmax(logits, temperature)[tokens.item()])
    assert logprobs.dtype == torch.float32
    assert logprobs.item() == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(HOLES, st.floats(0.001, 0.999))
def test_at_temperature_0_the_likeliest_token_comes_the_lowest_of_several(
    logits: list[float], uniform: float
) -> None:
    tokens, logprobs = draw_tokens(
        torch.tensor([logits]), torch.tensor([uniform], dtype=torch.float64), sampling(0.0)
    )
    assert tokens.tolist() == likeliest_first(logits)[:1]
    expected = math.log(softmax(logits)[tokens.item()])
    assert logprobs.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("tight", [sampling(top_p=1e-9), sampling(top_k=1), sampling(1e-4)])
def test_the_tightest_settings_leave_the_likeliest_token(tight: Sampling) -> None:
    assert draw([0.0, 1.0, 3.0, 2.0], tight).keys() == {2}


def test_equally_likely_tokens_are_kept_from_the_lowest_on() -> None:
    assert draw([1.0, 1.0, 1.0, 1.0], sampling(top_k=2)).keys() == {0, 1}
    assert draw([1.0, 1.0, 1.0, 1.0], sampling(top_p=0.6)).keys() == {0, 1, 2}


def test_a_set_that_is_exactly_likely_enough_takes_no_further_token() -> None:
    assert draw([1.0, 1.0, 1.0, 1.0], sampling(top_p=0.5)).keys() == {0, 1}


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_row_is_drawn_alike_among_any_others(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((16, 1000), generator=generator)
    uniforms = torch.rand(16, dtype=torch.float64, generator=generator)
    order = torch.randperm(16, generator=generator)
    settings = sampling(temperature, 0.9, 50)
    tokens, logprobs = draw_tokens(logits, uniforms, settings)
    other_tokens, other_logprobs = draw_tokens(logits[order], uniforms[order], settings)
    assert torch.equal(other_tokens, tokens[order])
    assert torch.equal(other_logprobs, logprobs[order])


def test_half_precision_logits_are_drawn_from_in_single_precision() -> None:
    logits = torch.tensor([[0.1, 2.3, -1.7]], dtype=torch.bfloat16)
    uniforms = torch.tensor([0.4], dtype=torch.float64)
    _, half = draw_tokens(logits, uniforms, PLAIN)
    _, single = draw_tokens(logits.float(), uniforms, PLAIN)
    assert torch.equal(half, single)
