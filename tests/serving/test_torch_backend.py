"""The torch engine in a process of its own: as training samples, greedy or not, to the bit."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from support.policies import make_policy
from support.trained_adapters import save_adapter, write_policy

from rlrun.engines.client import EngineProcess
from rlrun.engines.model_source import find_model
from rlrun.engines.proof import prove_live
from rlrun.engines.protocol import SampleKey, SampleRequest
from rlrun.engines.spec import EngineSpec, Failure, GenerateRequest
from rlrun.errors import AdapterError, EngineError
from rlrun.policy.encoding import encode_prompts
from rlrun.policy.model import Policy
from rlrun.rollouts.torch_engine import TorchEngine
from rlrun.types import Completion, Prompt, Sampling

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")

ROWS, PROMPT_TOKENS, COMPLETION_TOKENS = 8, 12, 8
ADAPTERS = ("first", "second")
PROBE = (3, 9, 4, 12, 5, 6)


@pytest.fixture(scope="module")
def spec(micro_model: Path) -> EngineSpec:
    return EngineSpec(
        "torch", str(micro_model), "float32", "cpu",
        PROMPT_TOKENS, COMPLETION_TOKENS, 2, 2, ROWS, 1, 0.9,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def policies(micro_model: Path, folder: Path) -> dict[str, Policy]:
    """The policies that the adapters on disk are of."""
    return {
        name: save_adapter(micro_model, folder / name, seed) for seed, name in enumerate(ADAPTERS)
    }


@pytest.fixture(scope="module")
def engine(spec: EngineSpec, policies: dict[str, Policy], folder: Path) -> Iterator[EngineProcess]:
    """One engine with two adapters for all tests: what it answers must not depend on them."""
    with EngineProcess(
        spec, python=None, log=folder / "engine.log", timeout_seconds=120
    ) as started:
        for name in ADAPTERS:
            started.load_adapter(name, folder / name)
        yield started


def make_requests(temperature: float, adapters: Sequence[str | None]) -> list[GenerateRequest]:
    """Return ten requests an adapter, of one to ten tokens."""
    draws = random.Random(0)
    prompts = [tuple(draws.randrange(2, 16) for _ in range(size)) for size in range(1, 11)]
    return [
        GenerateRequest(
            f"{name} {len(tokens)}", name, tokens, len(tokens), temperature, COMPLETION_TOKENS
        )
        for tokens in prompts
        for name in adapters
    ]


def complete(
    engine: EngineProcess, asked: Sequence[GenerateRequest]
) -> dict[str, Completion | Failure]:
    answers = list(engine.generate(asked))
    assert len(answers) == len(asked)
    return dict(answers)


def sampled_in_training(
    policy: Policy, asked: Sequence[GenerateRequest]
) -> dict[str, Completion | Failure]:
    engine = TorchEngine(
        policy.model,
        policy.tokenizer,
        stop_ids=policy.stop_ids,
        num_rows=ROWS,
        max_prompt_tokens=PROMPT_TOKENS,
        max_completion_tokens=COMPLETION_TOKENS,
    )
    requests = [
        SampleRequest(
            one.token_ids,
            Sampling(one.temperature, 1.0, 0, one.max_completion_tokens),
            SampleKey(one.seed, 0, "", 0),
        )
        for one in asked
    ]
    return {asked[i].id: answer for i, answer in engine.generate(requests, lambda: False)}


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("name", ADAPTERS)
def test_it_writes_what_the_policy_samples_in_training(
    engine: EngineProcess, policies: dict[str, Policy], name: str, temperature: float
) -> None:
    asked = make_requests(temperature, [name])
    assert complete(engine, asked) == sampled_in_training(policies[name], asked)


def test_without_an_adapter_it_is_the_base_model(engine: EngineProcess, micro_model: Path) -> None:
    asked = make_requests(1.0, [None])
    base = make_policy(micro_model, lora=None)
    assert complete(engine, asked) == sampled_in_training(base, asked)


def test_whatever_else_is_asked_changes_no_bit(engine: EngineProcess) -> None:
    asked = make_requests(1.0, [None, *ADAPTERS]) + [
        replace(one, id=f"greedy {one.id}", temperature=0.0)
        for one in make_requests(0.0, [None, *ADAPTERS])
    ]
    expected = complete(engine, asked)
    draws = random.Random(1)
    for _ in range(4):
        part = draws.sample(asked, draws.randrange(1, len(asked)))
        assert complete(engine, part) == {one.id: expected[one.id] for one in part}
    for one in asked[:6]:
        assert complete(engine, [one]) == {one.id: expected[one.id]}


def test_what_is_asked_while_it_works_joins_in(engine: EngineProcess) -> None:
    asked = make_requests(1.0, ADAPTERS)
    expected = complete(engine, asked)
    seen = {}
    for name, answer in engine.generate(iter(asked)):
        seen[name] = answer
        engine.token_logprobs("second", PROBE)
    assert seen == expected


def test_who_stops_listening_leaves_nothing_behind(engine: EngineProcess) -> None:
    asked = make_requests(1.0, [*ADAPTERS, None])
    expected = complete(engine, asked)
    answers = engine.generate(asked)
    next(answers)
    answers.close()
    assert complete(engine, asked) == expected


def test_prompts_are_encoded_as_for_training(
    engine: EngineProcess, policies: dict[str, Policy]
) -> None:
    prompts = [Prompt("a", "12+3=", "15", "0 1"), Prompt("b", "7=", "7")]
    trained = encode_prompts(policies["first"].tokenizer, prompts, max_prompt_tokens=PROMPT_TOKENS)
    assert engine.encode(prompts) == tuple(one.token_ids for one in trained)


@torch.no_grad()
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_text_is_scored_as_the_policy_does(
    engine: EngineProcess, policies: dict[str, Policy], name: str
) -> None:
    logits = policies[name].model(input_ids=torch.tensor([PROBE])).logits[0]
    expected = logits.log_softmax(-1)[range(5), PROBE[1:]].tolist()
    assert engine.token_logprobs(name, PROBE) == pytest.approx(expected, abs=1e-6)
    assert engine.token_logprobs(None, PROBE) != pytest.approx(expected, abs=1e-3)


def test_it_says_what_it_computes_with(engine: EngineProcess, micro_model: Path) -> None:
    source, info = find_model(str(micro_model)), engine.info
    assert (info.engine, info.version, info.device) == ("torch", version("torch"), "cpu")
    assert info.versions["peft"] == version("peft")
    assert info.weights_hash == source.weights_hash()
    assert info.tokenizer_hash == source.tokenizer_hash()
    assert info.is_pure


# Proof, and what is refused.


def test_adapters_are_proved_live(engine: EngineProcess, folder: Path, tmp_path: Path) -> None:
    for name in ADAPTERS:
        prove_live(engine, name, folder / name, PROBE, tmp_path / "scratch")


def test_an_adapter_that_is_zero_cannot_be_proved_live(
    engine: EngineProcess, micro_model: Path, tmp_path: Path
) -> None:
    write_policy(make_policy(micro_model), tmp_path / "zero")  # step 0: its second factors are
    engine.load_adapter("zero", tmp_path / "zero")
    with pytest.raises(AdapterError, match="the engine reads the same with it as without it"):
        prove_live(engine, "zero", tmp_path / "zero", PROBE, tmp_path / "scratch")
    engine.unload_adapter("zero")


def test_an_adapter_whose_numbers_are_none_fails_and_the_others_do_not(
    engine: EngineProcess, micro_model: Path, tmp_path: Path
) -> None:
    policy = make_policy(micro_model)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.fill_(float("nan"))
    write_policy(policy, tmp_path / "nan")
    expected = complete(engine, make_requests(1.0, ["first"]))
    engine.load_adapter("nan", tmp_path / "nan")
    answers = complete(engine, make_requests(1.0, ["nan", "first"]))
    reason = Failure("the model's probabilities are not finite")
    assert [answers[f"nan {size}"] for size in range(1, 11)] == [reason] * 10
    assert {name: answers[name] for name in expected} == expected
    with pytest.raises(AdapterError, match="adapter nan: the model's probabilities are not finite"):
        engine.token_logprobs("nan", PROBE)
    engine.unload_adapter("nan")


def test_an_adapter_of_another_model_is_refused(
    engine: EngineProcess, micro_model: Path, tmp_path: Path
) -> None:
    other = find_model("builtin:tiny").folder
    save_adapter(other, tmp_path / "other", seed=0)
    with pytest.raises(AdapterError, match="is of another model: its model"):
        engine.load_adapter("other", tmp_path / "other")


def test_a_model_that_is_none_is_said(spec: EngineSpec, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match=r"the torch engine refused: model.path=.* cannot load"):
        EngineProcess(
            replace(spec, model_path=str(tmp_path)),
            python=None,
            log=tmp_path / "log",
            timeout_seconds=60,
        )
