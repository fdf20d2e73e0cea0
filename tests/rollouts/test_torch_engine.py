"""The in-process engine: a completion is a function of its request and the policy, bit for bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from support.completions import (
    EOS,
    MAX_COMPLETION_TOKENS,
    SAMPLING,
    complete,
    engine_of,
    make_requests,
    never,
    plain_model,
    random_partitions,
)
from support.micro_model import make_model, make_tokenizer
from support.policies import CPU, LORA, disturb, make_policy

from rlrun.engines.protocol import Interrupted, SampleKey, SampleRequest
from rlrun.grpo.batch import Row, build_micro_batch, gather_rows
from rlrun.policy.model import Policy
from rlrun.rollouts.torch_engine import Decoding, TorchEngine
from rlrun.types import Completion, Sampling

NEARLY_GREEDY = replace(SAMPLING, temperature=1e-4)
GREEDY = replace(SAMPLING, temperature=0.0)


@pytest.fixture(scope="module")
def model() -> Any:
    return plain_model()


# One completion, whatever its company.


@dataclass(frozen=True)
class Case:
    """A model and the shapes that its engine works in."""

    hidden: int = 32
    num_rows: int = 8
    max_prompt_tokens: int = 12
    lora_rank: int | None = None
    num_threads: int = 1
    num_partitions: int = 8

    def make_model(self, folder: Path) -> Any:
        if self.lora_rank is None:
            return plain_model(self.hidden)
        policy = make_policy(folder, lora=LORA.model_copy(update={"rank": self.lora_rank}))
        disturb(policy)
        return policy.model

    def make_engine(self, model: Any) -> TorchEngine:
        return engine_of(model, num_rows=self.num_rows, max_prompt_tokens=self.max_prompt_tokens)


CASES = {
    "micro": Case(num_partitions=20),
    "micro, two threads": Case(num_threads=2, num_partitions=20),
    "larger": Case(hidden=128, num_partitions=20),
    "larger, two threads": Case(hidden=128, num_threads=2),
    "prompts of several chunks": Case(max_prompt_tokens=100, num_partitions=20),
    "larger, several chunks, two threads": Case(hidden=128, max_prompt_tokens=100, num_threads=2),
    "all at once": Case(num_rows=24),
    "odd rows, two threads": Case(hidden=128, num_rows=7, num_threads=2),
    "adapter": Case(lora_rank=2),
    "adapter of rank one, odd rows": Case(lora_rank=1, num_rows=6),
    "adapter, odd rows, two threads": Case(lora_rank=1, num_rows=11, num_threads=2),
}


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_no_layer_tells_its_rows_apart(rank: int | None, micro_model: Path) -> None:
    torch.set_num_threads(1)
    case = Case(lora_rank=rank)
    assert case.make_engine(case.make_model(micro_model)).is_pure


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_no_partition_and_no_order_changes_a_bit(case: Case, micro_model: Path) -> None:
    torch.set_num_threads(case.num_threads)
    model = case.make_model(micro_model)
    requests = make_requests(case.max_prompt_tokens)
    expected = complete(case.make_engine(model), requests)
    shared_engine = case.make_engine(model)
    for parts in random_partitions(len(requests), case.num_partitions, seed=case.num_rows):
        for part in parts:
            asked = [requests[place] for place in part]
            # Floats are compared as they are: one bit of one log-probability would show.
            assert complete(shared_engine, asked) == [expected[place] for place in part]
            assert complete(case.make_engine(model), asked) == [expected[place] for place in part]


@pytest.mark.parametrize("num_steps_between", [0, 1, 3])
def test_requests_that_join_later_change_no_bit(model: Any, num_steps_between: int) -> None:
    requests = make_requests(12)
    expected = complete(engine_of(model), requests)
    decoding = Decoding(engine_of(model))
    finished: list[tuple[int, Completion]] = []
    for index, request in enumerate(requests):
        decoding.add(index, request)
        for _ in range(num_steps_between):
            finished += decoding.step()
    while decoding.is_busy:
        finished += decoding.step()
    assert [completion for _, completion in sorted(finished, key=itemgetter(0))] == expected
    assert decoding.num_drawn == sum(len(completion.token_ids) for completion in expected)


def test_an_abandoned_generation_leaves_nothing_behind(model: Any) -> None:
    engine = engine_of(model)
    requests = make_requests(12)
    expected = complete(engine_of(model), requests)
    abandoned = engine.generate(requests, never)
    next(abandoned)
    abandoned.close()
    assert complete(engine, requests) == expected


def test_other_weights_write_something_else_with_the_same_engine(micro_model: Path) -> None:
    policy = make_policy(micro_model)
    engine = engine_of(policy.model)
    before = complete(engine, make_requests(12))
    disturb(policy)
    assert complete(engine, make_requests(12)) != before


# What a completion's randomness comes from.


KEY = SampleKey(run_seed=7, step=1, prompt_id="a", sample=0)


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, run_seed=8),
        replace(KEY, step=2),
        replace(KEY, prompt_id="b"),
        replace(KEY, sample=1),
    ],
)
def test_another_key_draws_another_completion(model: Any, other: SampleKey) -> None:
    requests = [SampleRequest((3, 4, 5), SAMPLING, key) for key in (KEY, other, KEY)]
    first, second, third = complete(engine_of(model), requests)
    assert first == third
    assert first.token_ids != second.token_ids


def test_torchs_own_generator_has_no_say(model: Any) -> None:
    requests = make_requests(12)
    torch.manual_seed(1)
    first = complete(engine_of(model), requests)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert complete(engine_of(model), requests) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_longer_limit_continues_the_same_completion(model: Any) -> None:
    requests = make_requests(12)
    short = [replace(r, sampling=replace(SAMPLING, max_completion_tokens=3)) for r in requests]
    for cut, whole in zip(
        complete(engine_of(model), short), complete(engine_of(model), requests), strict=True
    ):
        assert cut.token_ids == whole.token_ids[:3]
        assert cut.sampler_logprobs == whole.sampler_logprobs[:3]


# Where completions end.


def test_completions_end_at_the_stop_token_or_at_the_limit(model: Any) -> None:
    completions = complete(engine_of(model), make_requests(12, samples=20))
    reasons = {completion.finish_reason for completion in completions}
    assert reasons == {"stop", "length"}
    for completion in completions:
        assert EOS not in completion.token_ids[:-1]
        if completion.finish_reason == "stop":
            assert completion.token_ids[-1] == EOS
        else:
            assert len(completion.token_ids) == MAX_COMPLETION_TOKENS
            assert completion.token_ids[-1] != EOS


def test_a_stop_token_at_the_limit_is_a_stop(model: Any) -> None:
    everything = range(16)
    [completion] = complete(engine_of(model, stop_ids=everything), make_requests(12)[:1])
    assert (len(completion.token_ids), completion.finish_reason) == (1, "stop")


def test_each_token_has_a_logprob_and_the_text_leaves_special_tokens_out(model: Any) -> None:
    tokenizer = make_tokenizer()
    for completion in complete(engine_of(model), make_requests(12)):
        assert len(completion.sampler_logprobs) == len(completion.token_ids)
        ordinary = [token for token in completion.token_ids if token > EOS]
        assert completion.text == tokenizer.decode(ordinary)


def test_nothing_asked_is_nothing_done(model: Any) -> None:
    assert complete(engine_of(model), []) == []


# Stopping.


@dataclass
class StopAfter:
    """Says stop when it was asked more than so many times."""

    limit: int
    num_asked: int = 0

    def __call__(self) -> bool:
        self.num_asked += 1
        return self.num_asked > self.limit


def interrupted(
    engine: TorchEngine, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
) -> dict[int, Completion]:
    """Return what was yielded before the interruption."""
    seen: dict[int, Completion] = {}
    with pytest.raises(Interrupted):
        seen.update(engine.generate(requests, should_stop))
    return seen


@pytest.mark.parametrize("limit", range(12))
def test_a_stop_keeps_what_was_finished_and_draws_no_further_token(model: Any, limit: int) -> None:
    requests = make_requests(12)
    expected = dict(enumerate(complete(engine_of(model), requests)))
    should_stop = StopAfter(limit)
    seen = interrupted(engine_of(model), requests, should_stop)
    assert should_stop.num_asked == limit + 1
    assert seen == {index: expected[index] for index in seen}
    # The first eight requests sit in the eight rows from the first token on.
    at_once = {i for i in range(8) if len(expected[i].token_ids) <= limit}
    assert at_once == {i for i in seen if i < 8}


def test_should_stop_is_asked_before_each_token(model: Any) -> None:
    [completion] = complete(engine_of(model), make_requests(12)[:1])
    should_stop = StopAfter(limit=1000)
    list(engine_of(model).generate(make_requests(12)[:1], should_stop))
    assert should_stop.num_asked == len(completion.token_ids)


def test_between_two_completions_the_caller_may_compute_gradients(model: Any) -> None:
    for _ in engine_of(model).generate(make_requests(12), never):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


# Against other ways to compute the same.


def scored(policy: Policy, requests: Sequence[SampleRequest], completions: Sequence[Completion],
           temperature: float) -> list[tuple[float, ...]]:  # fmt: skip
    rows = [
        Row(request.prompt_token_ids, completion.token_ids, 0.0, True,
            completion.sampler_logprobs, None)
        for request, completion in zip(requests, completions, strict=True)
    ]  # fmt: skip
    batch = build_micro_batch(rows, pad_id=policy.pad_id, device=CPU)
    with torch.no_grad():
        logprobs, _ = policy.token_logprobs(batch, temperature)
    return gather_rows(logprobs, batch.completion_mask)


@pytest.mark.parametrize(
    ("sampling", "max_prompt_tokens"),
    [
        (SAMPLING, 12),
        (SAMPLING, 100),
        (replace(SAMPLING, temperature=0.7), 12),
        (replace(SAMPLING, temperature=1.3, top_p=0.8, top_k=5), 12),
    ],
)
def test_the_policy_gives_the_drawn_tokens_the_same_logprobs(
    micro_model: Path, sampling: Sampling, max_prompt_tokens: int
) -> None:
    policy = make_policy(micro_model)
    disturb(policy)
    requests = make_requests(max_prompt_tokens, sampling)
    completions = complete(engine_of(policy.model, max_prompt_tokens=max_prompt_tokens), requests)
    expected = scored(policy, requests, completions, sampling.temperature)
    for completion, logprobs in zip(completions, expected, strict=True):
        assert completion.sampler_logprobs == pytest.approx(logprobs, abs=1e-5)


@torch.no_grad()
def likeliest_tokens(model: Any, prompt: tuple[int, ...]) -> list[int]:
    """Return the tokens of greedy decoding, each from a forward pass over all that came before."""
    tokens: list[int] = []
    while len(tokens) < MAX_COMPLETION_TOKENS and EOS not in tokens:
        logits = model(input_ids=torch.tensor([[*prompt, *tokens]]), use_cache=False).logits
        tokens.append(int(logits[0, -1].argmax()))
    return tokens


@pytest.mark.parametrize("max_prompt_tokens", [12, 100])
@pytest.mark.parametrize("sampling", [NEARLY_GREEDY, GREEDY])
def test_at_zero_temperature_and_near_it_decodes_greedily_as_transformers_does(
    model: Any, max_prompt_tokens: int, sampling: Sampling
) -> None:
    untouched = make_model()  # with transformers' own attention
    requests = make_requests(max_prompt_tokens, sampling, samples=1)
    completions = complete(engine_of(model, max_prompt_tokens=max_prompt_tokens), requests)
    for request, completion in zip(requests, completions, strict=True):
        expected = likeliest_tokens(untouched, request.prompt_token_ids)
        assert list(completion.token_ids) == expected


def test_tokens_come_as_often_as_the_model_says(model: Any) -> None:
    prompt = (3, 12, 4)
    one_token = replace(SAMPLING, max_completion_tokens=1)
    requests = [
        SampleRequest(prompt, one_token, SampleKey(0, 1, "a", sample)) for sample in range(2000)
    ]
    completions = complete(engine_of(model, num_rows=256), requests)
    with torch.no_grad():
        logits = make_model()(input_ids=torch.tensor([prompt])).logits[0, -1]
    for token, probability in enumerate(logits.softmax(-1).tolist()):
        count = sum(completion.token_ids == (token,) for completion in completions)
        deviation = (2000 * probability * (1 - probability)) ** 0.5
        assert abs(count - 2000 * probability) < 4.5 * deviation + 1


def test_dropout_does_not_reach_the_draws(micro_model: Path) -> None:
    dropping = make_policy(micro_model, lora=LORA.model_copy(update={"dropout": 0.5}))
    plain = make_policy(micro_model)
    for policy in (dropping, plain):
        disturb(policy)
        policy.model.train()
    requests = make_requests(12)
    assert complete(engine_of(dropping.model), requests) == complete(
        engine_of(plain.model), requests
    )
