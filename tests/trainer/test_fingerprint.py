"""What decides the bits, and what is promised when some of it changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from rlrun import __version__
from rlrun.engines.model_source import ModelSource
from rlrun.engines.protocol import SampleRequest
from rlrun.errors import InexactError
from rlrun.trainer import fingerprint
from rlrun.trainer.fingerprint import Verdict
from rlrun.types import Completion, EncodedPrompt, Prompt

NOW = {"torch": "2.13", "deterministic": True, "base_model": "a" * 64, "prompts": "b" * 64}
PROMPT = EncodedPrompt(Prompt("sum/1", "1+1=", "2"), (5, 6))


@dataclass(frozen=True)
class Engine:
    """An engine that only says whether its completions are a function of the request."""

    is_pure: bool = True

    def generate(
        self, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        raise NotImplementedError


def compare(*before: dict[str, object], now: dict[str, object] | None = None,
            changes: Sequence[str] = (), engine: Engine | None = None,
            allow_inexact: bool = False) -> Verdict:  # fmt: skip
    """Return the promise of a session `now`, after others with the fingerprints `before`."""
    return fingerprint.compare(
        before, now or NOW, changes, engine or Engine(), allow_inexact=allow_inexact
    )


def test_the_same_fingerprint_and_a_pure_engine_promise_the_same_bits() -> None:
    assert compare(NOW) == Verdict("bitwise", ())


def test_a_new_run_promises_the_same_bits() -> None:
    assert compare() == Verdict("bitwise", ())


def test_an_engine_that_is_not_pure_promises_exact_replays() -> None:
    assert compare(NOW, engine=Engine(is_pure=False)) == Verdict("replay-exact", ())


def test_another_machine_is_best_effort_with_the_difference_said() -> None:
    verdict = compare({**NOW, "torch": "2.12"})
    assert verdict == Verdict("best effort", ("torch: 2.12 -> 2.13",))


def test_a_key_that_only_one_side_knows_is_a_difference() -> None:
    assert compare(NOW, now={**NOW, "driver": "cuda 13"}).differences == (
        "driver: none -> cuda 13",
    )
    assert compare({**NOW, "driver": "cuda 13"}).differences == ("driver: cuda 13 -> none",)


@pytest.mark.parametrize(
    "key", ["base_model", "tokenizer", "prompts", "reward_code", "initial_adapter"]
)
def test_another_identity_is_refused_and_named(key: str) -> None:
    before: dict[str, object] = {**NOW, key: "0" * 64}
    now: dict[str, object] = {**NOW, key: "f" * 64}
    with pytest.raises(InexactError) as caught:
        compare(before, now=now)
    assert str(caught.value) == (
        f"this run was made with something else ({key}: 000000000000... -> ffffffffffff...); give "
        "the same again, or continue without the promise of exactness with --allow-inexact"
    )
    verdict = compare(before, now=now, allow_inexact=True)
    assert verdict == Verdict("best effort", (f"{key}: 000000000000... -> ffffffffffff...",))


def test_every_past_session_counts_and_each_difference_is_said_once() -> None:
    verdict = compare({**NOW, "torch": "2.11"}, {**NOW, "torch": "2.12"}, {**NOW, "torch": "2.11"})
    assert verdict.differences == ("torch: 2.11 -> 2.13", "torch: 2.12 -> 2.13")


def test_another_identity_is_refused_when_it_is_new_and_remembered_afterwards() -> None:
    other: dict[str, object] = {**NOW, "prompts": "c" * 64}
    with pytest.raises(InexactError):
        compare(NOW, other)
    verdict = compare(other, NOW)
    assert verdict == Verdict("best effort", ("prompts: cccccccccccc... -> bbbbbbbbbbbb...",))


def test_changed_settings_come_before_changed_versions() -> None:
    verdict = compare({**NOW, "torch": "2.12"}, changes=["grpo.learning_rate: 0.1 -> 0.2"])
    assert verdict.promise == "best effort"
    assert verdict.differences == ("grpo.learning_rate: 0.1 -> 0.2", "torch: 2.12 -> 2.13")


def test_without_deterministic_kernels_nothing_is_promised() -> None:
    verdict = compare(now={**NOW, "deterministic": False})
    assert verdict == Verdict("best effort", ("train.deterministic is off",))


def test_the_machines_part_names_what_decides_the_bits() -> None:
    found = fingerprint.machine_fingerprint(
        torch.device("cpu"), {"deterministic": True, "num_threads": 1}
    )
    assert found["rlrun"] == __version__
    assert found["torch"] == torch.__version__
    assert found["transformers"] == version("transformers")
    assert found["peft"] == version("peft")
    assert (found["device"], found["driver"], found["cuda"]) == ("cpu", None, None)
    assert found["cpu"]
    assert (found["deterministic"], found["num_threads"]) == (True, 1)


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    return ModelSource("micro", tmp_path)


def identity(source: ModelSource, *prompts: EncodedPrompt, adapter: bytes | None = None,
             reward_code: str = "r") -> dict[str, object]:  # fmt: skip
    return fingerprint.identity_fingerprint(source, prompts or (PROMPT,), reward_code, adapter)


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [key for key in before if before[key] != after[key]]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("config.json", "base_model"),
        ("model.safetensors", "base_model"),
        ("tokenizer.json", "tokenizer"),
    ],
)
def test_every_file_of_the_model_counts_for_its_part(
    name: str, key: str, source: ModelSource
) -> None:
    before = identity(source)
    (source.folder / name).write_bytes(b"other")
    assert changed(before, identity(source)) == [key]


def test_the_prompts_count_by_id_answer_and_tokens_and_by_their_order(source: ModelSource) -> None:
    before = identity(source)
    others = [
        (EncodedPrompt(replace(PROMPT.prompt, id="sum/2"), (5, 6)),),
        (EncodedPrompt(replace(PROMPT.prompt, answer="3"), (5, 6)),),
        (EncodedPrompt(PROMPT.prompt, (5, 7)),),
        (PROMPT, PROMPT),
    ]
    for prompts in others:
        assert changed(before, identity(source, *prompts)) == ["prompts"]
    second = EncodedPrompt(replace(PROMPT.prompt, id="sum/2"), (5, 6))
    turned = identity(source, second, PROMPT)
    assert changed(identity(source, PROMPT, second), turned) == ["prompts"]


def test_the_reward_and_the_adapter_count(source: ModelSource) -> None:
    before = identity(source)
    assert before["initial_adapter"] is None
    assert changed(before, identity(source, reward_code="s")) == ["reward_code"]
    with_adapter = identity(source, adapter=b"a")
    assert changed(before, with_adapter) == ["initial_adapter"]
    assert changed(with_adapter, identity(source, adapter=b"b")) == ["initial_adapter"]
