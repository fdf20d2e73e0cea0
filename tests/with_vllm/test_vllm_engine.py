"""vLLM against the torch engine: the same model, adapters and questions, the same completions."""

import math
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.policies import LORA, make_policy
from support.trained_adapters import save_adapter, write_policy

from rlrun.engines.client import EngineProcess
from rlrun.engines.model_source import find_model
from rlrun.engines.proof import prove_live
from rlrun.engines.spec import EngineSpec, Failure, GenerateRequest
from rlrun.errors import AdapterError
from rlrun.policy.model import load_model
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Completion, Prompt

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")

MAX_DIFFERENCE = 1e-3
PROMPT_TOKENS, COMPLETION_TOKENS = 160, 8
ALL_SEVEN = LORA.model_copy(
    update={
        "rank": 5,
        "target_modules": (
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        ),
    }
)  # fmt: skip
LORAS = {"few": LORA, "all": ALL_SEVEN}
SPEC = EngineSpec(
    "vllm", "builtin:tiny", "float32", "cpu",
    PROMPT_TOKENS, COMPLETION_TOKENS, 12, 2, 64, 1, 0.5,
)  # fmt: skip
TokenIds = tuple[int, ...]
Answers = dict[str, Completion | Failure]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made, model = tmp_path_factory.mktemp("adapters"), find_model("builtin:tiny").folder
    for seed, (name, lora) in enumerate(LORAS.items()):
        save_adapter(model, made / name, seed, lora)
    return {name: made / name for name in LORAS}


@pytest.fixture(scope="module")
def engine(
    vllm_python: str, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """One vLLM for all tests: what it answers must not depend on them."""
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    with EngineProcess(SPEC, python=vllm_python, log=log, timeout_seconds=120) as started:
        for name, folder in adapters.items():
            started.load_adapter(name, folder)
        yield started


@pytest.fixture(scope="module")
def reference(
    adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """The torch engine with the same adapters."""
    spec, log = replace(SPEC, engine="torch"), tmp_path_factory.mktemp("torch") / "engine.log"
    with EngineProcess(spec, python=None, log=log, timeout_seconds=120) as started:
        for name, folder in adapters.items():
            started.load_adapter(name, folder)
        yield started


@pytest.fixture(scope="module")
def questions(engine: EngineProcess) -> tuple[TokenIds, ...]:
    prompts = Arithmetic().prompts("eval")[:100]
    assert len(prompts) == 100
    return engine.encode(prompts)


def make_requests(
    questions: Sequence[TokenIds], adapter: str | None, temperature: float = 0.0
) -> list[GenerateRequest]:
    return [
        GenerateRequest(f"{adapter} {i}", adapter, tokens, i, temperature, COMPLETION_TOKENS)
        for i, tokens in enumerate(questions)
    ]


def complete(engine: EngineProcess, asked: Sequence[GenerateRequest]) -> dict[str, Completion]:
    answers = list(engine.generate(asked))
    assert len(answers) == len(asked)
    found = {name: answer for name, answer in answers if isinstance(answer, Completion)}
    assert len(found) == len(asked)
    return found


def assert_agree(found: Mapping[str, Completion], expected: Mapping[str, Completion]) -> None:
    """Each token is the same, or another that is as likely; so are the log-probabilities."""
    assert found.keys() == expected.keys()
    num_ties = 0
    for name, completion in found.items():
        other = expected[name]
        pairs = list(zip(completion.token_ids, other.token_ids, strict=False))
        parting = next((i for i, (one, two) in enumerate(pairs) if one != two), len(pairs))
        num_ties += parting < len(pairs)
        for mine, theirs in zip(
            completion.sampler_logprobs[: parting + 1],
            other.sampler_logprobs[: parting + 1],
            strict=True,
        ):
            assert abs(mine - theirs) < MAX_DIFFERENCE
        if parting == len(pairs):
            assert (completion.text, completion.finish_reason) == (other.text, other.finish_reason)
    assert num_ties <= 1


# Agreement.


@pytest.mark.parametrize("adapter", [None, *LORAS])
def test_greedy_completions_are_those_of_the_torch_engine(
    engine: EngineProcess,
    reference: EngineProcess,
    questions: tuple[TokenIds, ...],
    adapter: str | None,
) -> None:
    asked = make_requests(questions, adapter)
    assert_agree(complete(engine, asked), complete(reference, asked))


def test_rows_with_and_without_adapters_do_not_touch_each_other(
    engine: EngineProcess, reference: EngineProcess, questions: tuple[TokenIds, ...]
) -> None:
    asked = [one for adapter in (None, *LORAS) for one in make_requests(questions[:40], adapter)]
    random.Random(0).shuffle(asked)
    assert_agree(complete(engine, asked), complete(reference, asked))


def test_adapters_that_come_and_go_are_those_of_the_torch_engine(
    engine: EngineProcess, reference: EngineProcess, questions: tuple[TokenIds, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    model = find_model("builtin:tiny").folder
    for seed in range(10, 16):
        name = f"run@step_{seed}@abc"
        save_adapter(model, tmp_path / name, seed, ALL_SEVEN)
        for one in (engine, reference):
            one.load_adapter(name, tmp_path / name)
        asked = make_requests(questions[:20], name)
        assert_agree(complete(engine, asked), complete(reference, asked))
        for one in (engine, reference):
            one.unload_adapter(name)


@pytest.mark.parametrize("adapter", [None, *LORAS])
def test_texts_are_scored_as_by_the_torch_engine(
    engine: EngineProcess,
    reference: EngineProcess,
    questions: tuple[TokenIds, ...],
    adapter: str | None,
) -> None:
    for tokens in [*questions[:4], questions[0] * 20]:
        found = engine.token_logprobs(adapter, tokens)
        expected = reference.token_logprobs(adapter, tokens)
        assert found == pytest.approx(expected, abs=MAX_DIFFERENCE)
        assert found == engine.token_logprobs(adapter, tokens)


def test_prompts_are_encoded_as_by_the_torch_engine(
    engine: EngineProcess, reference: EngineProcess
) -> None:
    prompts = [Prompt("a", "12+3=", "15", "Add."), Prompt("b", "7=", "7")]
    assert engine.encode(prompts) == reference.encode(prompts)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_logprobs_are_those_at_the_sampling_temperature(
    engine: EngineProcess, questions: tuple[TokenIds, ...], temperature: float
) -> None:
    model, _, _ = load_model("builtin:tiny", "float32")
    asked = make_requests(questions[:20], None, temperature)
    for one, completion in zip(asked, complete(engine, asked).values(), strict=True):
        completion = complete(engine, [one])[one.id]
        tokens = [*one.token_ids, *completion.token_ids]
        logits = model(input_ids=torch.tensor([tokens])).logits[0, len(one.token_ids) - 1 : -1]
        logprobs = (logits / temperature).log_softmax(-1)
        expected = logprobs[range(len(completion.token_ids)), completion.token_ids].tolist()
        assert completion.sampler_logprobs == pytest.approx(expected, abs=MAX_DIFFERENCE)


def test_drawn_tokens_come_as_often_as_they_are_likely(
    engine: EngineProcess, questions: tuple[TokenIds, ...]
) -> None:
    first = [GenerateRequest(str(seed), None, questions[0], seed, 1.0, 1) for seed in range(1000)]
    drawn = [answer.token_ids[0] for answer in complete(engine, first).values()]
    for token in set(drawn):
        logprob = engine.token_logprobs(None, (*questions[0], token))[-1]
        expected = 1000 * math.exp(logprob)
        deviation = math.sqrt(expected * (1 - math.exp(logprob)))
        assert abs(drawn.count(token) - expected) < 4.5 * deviation + 1


# One completion, whatever its company.


def test_whatever_else_is_asked_changes_no_bit(
    engine: EngineProcess, questions: tuple[TokenIds, ...]
) -> None:
    long = tuple(tokens * 20 for tokens in questions[:12])  # share their beginnings with nobody
    alike = tuple((*long[0][:140], *tokens) for tokens in questions[:12])  # with each other
    asked = [
        replace(one, id=f"{kind} {temperature} {one.id}")
        for kind, texts in {"short": questions[:20], "long": long, "alike": alike}.items()
        for temperature in (0.0, 1.0)
        for adapter in (None, *LORAS)
        for one in make_requests(texts, adapter, temperature)
    ]
    expected = complete(engine, asked)
    draws = random.Random(0)
    for _ in range(3):
        part = draws.sample(asked, draws.randrange(2, len(asked)))
        assert complete(engine, part) == {one.id: expected[one.id] for one in part}
    for one in draws.sample(asked, 12):
        assert complete(engine, [one]) == {one.id: expected[one.id]}
    assert engine.info.is_pure


def test_who_stops_listening_leaves_nothing_behind(
    engine: EngineProcess, questions: tuple[TokenIds, ...]
) -> None:
    asked = make_requests(questions, "all", 1.0)
    expected = complete(engine, asked)
    answers = engine.generate(asked)
    next(answers)
    answers.close()
    assert complete(engine, asked) == expected


def test_another_seed_draws_another_completion(
    engine: EngineProcess, questions: tuple[TokenIds, ...]
) -> None:
    asked = [
        GenerateRequest(str(seed), None, questions[0], seed, 2.0, COMPLETION_TOKENS)
        for seed in range(30)
    ]
    assert len({answer.text for answer in complete(engine, asked).values()}) > 15


# Proof, and what is refused.


def test_adapters_are_proved_live(
    engine: EngineProcess,
    questions: tuple[TokenIds, ...],
    adapters: dict[str, Path],
    tmp_path: Path,
) -> None:
    for name, folder in adapters.items():
        prove_live(engine, name, folder, questions[0], tmp_path / "scratch")


def test_one_that_is_too_weak_to_show_is_proved_live(
    engine: EngineProcess, questions: tuple[TokenIds, ...], tmp_path: Path
) -> None:
    policy = save_adapter(find_model("builtin:tiny").folder, tmp_path / "strong", 0)
    with torch.no_grad():
        for name, parameter in policy.parameters().items():
            parameter *= 1e-4 if "lora_B" in name else 1.0
    write_policy(policy, tmp_path / "weak")
    engine.load_adapter("weak", tmp_path / "weak")
    weak = engine.token_logprobs("weak", questions[0])
    assert weak == pytest.approx(engine.token_logprobs(None, questions[0]), abs=MAX_DIFFERENCE)
    prove_live(engine, "weak", tmp_path / "weak", questions[0], tmp_path / "scratch")
    engine.unload_adapter("weak")


def test_one_that_is_zero_cannot_be_proved_live(
    engine: EngineProcess, questions: tuple[TokenIds, ...], tmp_path: Path
) -> None:
    write_policy(make_policy(find_model("builtin:tiny").folder), tmp_path / "zero")
    engine.load_adapter("zero", tmp_path / "zero")
    with pytest.raises(AdapterError, match="the engine reads the same with it as without it"):
        prove_live(engine, "zero", tmp_path / "zero", questions[0], tmp_path / "scratch")
    engine.unload_adapter("zero")


def test_adapters_that_do_not_fit_are_refused_and_the_engine_works_on(
    engine: EngineProcess,
    questions: tuple[TokenIds, ...],
    adapters: dict[str, Path],
    micro_model: Path,
    tmp_path: Path,
) -> None:
    large = LORA.model_copy(update={"rank": 13})
    save_adapter(find_model("builtin:tiny").folder, tmp_path / "large", 0, large)
    save_adapter(micro_model, tmp_path / "other", 0)
    torn = shutil.copytree(adapters["all"], tmp_path / "torn")
    weights = (torn / "adapter_model.safetensors").read_bytes()
    (torn / "adapter_model.safetensors").write_bytes(weights[:-100])
    expected = complete(engine, make_requests(questions[:8], "all"))
    for name, reason in {
        "large": "has rank 13, and the engine was started for rank 12",
        "other": "is of another model",
        "torn": "is damaged",
        "gone": "has no adapter_config.json",
    }.items():
        with pytest.raises(AdapterError, match=f"adapter {name}: .*{reason}"):
            engine.load_adapter(name, tmp_path / name)
    assert complete(engine, make_requests(questions[:8], "all")) == expected


def test_an_adapter_whose_numbers_are_none_fails_and_the_others_do_not(
    engine: EngineProcess, questions: tuple[TokenIds, ...], tmp_path: Path
) -> None:
    policy = make_policy(find_model("builtin:tiny").folder)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.fill_(float("nan"))
    write_policy(policy, tmp_path / "nan")
    asked = make_requests(questions[:8], "all")
    expected = complete(engine, asked)
    engine.load_adapter("nan", tmp_path / "nan")
    answers: Answers = dict(engine.generate([*make_requests(questions[:8], "nan"), *asked]))
    reason = Failure("the model's probabilities are not finite")
    assert [answers[f"nan {i}"] for i in range(8)] == [reason] * 8
    assert {name: answers[name] for name in expected} == expected
    engine.unload_adapter("nan")
