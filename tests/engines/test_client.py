"""The client of an engine: what is asked is answered, with a fake engine at the other end."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import SPEC, Start, requests
from support.fake_engine import completion_of
from support.peft_folders import write_adapter

from rlrun.engines.client import EngineProcess
from rlrun.engines.spec import Failure, GenerateRequest
from rlrun.errors import AdapterError, EngineError, MissingExtraError
from rlrun.types import Completion, Prompt


def test_every_request_is_answered_once(start_fake: Start) -> None:
    asked = requests(30)
    answers = list(start_fake().generate(asked))
    assert len(answers) == 30
    assert dict(answers) == {one.id: completion_of(one) for one in asked}


def test_nothing_asked_is_nothing_answered(start_fake: Start) -> None:
    assert list(start_fake().generate([])) == []


def test_a_request_that_fails_says_why_and_the_others_do_not(start_fake: Start) -> None:
    answers = dict(start_fake(fail=["r1"]).generate(requests(3)))
    assert answers["r1"] == Failure("it fails")
    assert isinstance(answers["r0"], Completion)
    assert isinstance(answers["r2"], Completion)


def test_requests_are_taken_as_there_is_room_for_them(start_fake: Start) -> None:
    num_taken = 0

    def counted() -> Iterator[GenerateRequest]:
        nonlocal num_taken
        for request in requests(100):
            num_taken += 1
            yield request

    answers = start_fake().generate(counted())
    for num_answered in range(1, 101):
        next(answers)
        assert num_taken <= num_answered - 1 + 2 * SPEC.batch_rows


def test_who_stops_listening_stops_the_rest(start_fake: Start) -> None:
    engine = start_fake(step_seconds=0.05)
    answers = engine.generate(requests(8))
    next(answers)
    answers.close()
    others = [GenerateRequest("x", None, (9,), 9, 1.0, 8)]
    started = time.monotonic()
    assert dict(engine.generate(others)) == {"x": completion_of(others[0])}
    assert time.monotonic() - started < 7 * 0.05


def test_other_things_may_be_asked_between_two_answers(start_fake: Start) -> None:
    engine = start_fake()
    seen = {}
    for name, answer in engine.generate(requests(20)):
        seen[name] = answer
        assert engine.token_logprobs(None, (1, 2, 3)) == (-1.0, -1.0)
    assert seen == {one.id: completion_of(one) for one in requests(20)}


def test_prompts_are_encoded_with_their_instructions(start_fake: Start) -> None:
    prompts = [Prompt("a", "1+", "2", "="), Prompt("b", "3", "3")]
    assert start_fake().encode(prompts) == ((61, 49, 43), (51,))


def test_it_says_what_it_is(start_fake: Start) -> None:
    info = start_fake().info
    assert (info.engine, info.version, info.device, info.is_pure) == ("torch", "1.0", "cpu", True)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (GenerateRequest("a", None, (), 1, 0.0, 8), "the prompt has 0 tokens"),
        (GenerateRequest("a", None, (1,) * 17, 1, 0.0, 8), "this engine takes from 1 to 16"),
        (GenerateRequest("a", None, (1,), 1, 0.0, 9), "the completion has 9 tokens"),
        (GenerateRequest("a", "b", (1,), 1, 0.0, 8), "there is no adapter named 'b'"),
    ],
)
def test_a_request_that_the_engine_has_no_room_for_fails(
    start_fake: Start, request_: GenerateRequest, reason: str
) -> None:
    [(_, answer)] = start_fake().generate([request_])
    assert isinstance(answer, Failure)
    assert reason in answer.reason


# Adapters.


def test_an_adapter_is_asked_for_by_its_name(start_fake: Start, tmp_path: Path) -> None:
    engine = start_fake()
    engine.load_adapter("a", write_adapter(tmp_path / "a", lora_alpha=8.0))
    assert engine.token_logprobs("a", (1, 2)) == (-1.8,)
    asked = requests(3, adapter="a")
    assert dict(engine.generate(asked)) == {one.id: completion_of(one) for one in asked}
    engine.unload_adapter("a")
    [(_, answer)] = engine.generate(requests(1, adapter="a"))
    assert answer == Failure("there is no adapter named 'a'")


def test_a_name_is_never_used_for_two_adapters(start_fake: Start, tmp_path: Path) -> None:
    engine, folder = start_fake(), write_adapter(tmp_path / "a")
    engine.load_adapter("a", folder)
    engine.unload_adapter("a")
    with pytest.raises(AdapterError, match="adapter a: an adapter named 'a' was loaded before"):
        engine.load_adapter("a", folder)


def test_an_adapter_that_no_engine_serves_is_refused_with_the_reason(
    start_fake: Start, tmp_path: Path
) -> None:
    engine = start_fake()
    with pytest.raises(AdapterError, match="cannot be served: it is a DoRA adapter"):
        engine.load_adapter("a", write_adapter(tmp_path / "a", use_dora=True))
    assert engine.token_logprobs(None, (1, 2)) == (-1.0,)  # it works on


def test_one_that_this_engine_refuses_may_be_loaded_later(
    start_fake: Start, tmp_path: Path
) -> None:
    engine, folder = start_fake(refuse=["a"]), write_adapter(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(AdapterError, match="adapter a: it is refused"):
            engine.load_adapter("a", folder)


def test_more_than_there_is_room_for_are_refused(start_fake: Start, tmp_path: Path) -> None:
    engine, folder = start_fake(), write_adapter(tmp_path / "a")
    for number in range(SPEC.max_adapters + 2):  # two more, for the proof that one is live
        engine.load_adapter(f"a{number}", folder)
    with pytest.raises(AdapterError, match="4 adapters are loaded, and no more fit"):
        engine.load_adapter("b", folder)
    engine.unload_adapter("a0")
    engine.load_adapter("b", folder)


# What goes wrong.


def test_an_engine_that_refuses_to_start_says_why(start_fake: Start) -> None:
    with pytest.raises(EngineError) as error:
        start_fake(refuse_start="there is no such model")
    assert str(error.value) == "the torch engine refused: there is no such model"


@pytest.mark.parametrize("how", ["crash", "exit", "abort", "break off"])
@pytest.mark.parametrize("step", [1, 5])
def test_one_that_dies_is_said_with_its_last_words(
    start_fake: Start, tmp_path: Path, how: str, step: int
) -> None:
    engine = start_fake(do=how, at_step=step)
    with pytest.raises(EngineError) as error:
        complete(engine, 8)
    log = tmp_path / "logs" / "engine.log"
    why = {
        "crash": "ValueError: it crashes",
        "abort": "the engine's process ended by SIGABRT",
    }.get(how, "the engine's process ended with code 3")
    assert str(error.value) == (
        f"the torch engine ended on its own: {why}; all it said is in {log}"
    )


def complete(engine: EngineProcess, count: int) -> dict[str, Completion | Failure]:
    return dict(engine.generate(requests(count)))


def test_what_was_answered_before_it_died_was_handed_on(start_fake: Start) -> None:
    seen: list[tuple[str, Completion | Failure]] = []
    with pytest.raises(EngineError):
        seen.extend(start_fake(do="crash", at_step=4).generate(requests(8)))
    assert [name for name, _ in seen] == ["r0", "r1", "r2"]


@pytest.mark.parametrize("how", ["hang", "idle"])
def test_one_that_makes_nothing_for_too_long_is_ended(start_fake: Start, how: str) -> None:
    engine = start_fake(timeout_seconds=1.5, do=how, at_step=2)
    with pytest.raises(EngineError, match="gave no sign of life in time, and was ended"):
        complete(engine, 8)


def test_one_that_is_slow_and_says_so_is_waited_for(start_fake: Start) -> None:
    engine = start_fake(timeout_seconds=0.5, do="work long", at_step=2)
    assert len(complete(engine, 4)) == 4


def test_one_that_starts_for_too_long_is_ended(start_fake: Start) -> None:
    with pytest.raises(EngineError, match="gave no sign of life in time"):
        start_fake(start_timeout_seconds=0.5, start_seconds=60.0)


def test_what_libraries_print_goes_to_the_log(start_fake: Start, tmp_path: Path) -> None:
    assert len(complete(start_fake(do="print", at_step=2), 8)) == 8
    said = (tmp_path / "logs" / "engine.log").read_text()
    assert "a library says something\nand so does its C code\n" in said


def test_one_that_says_what_is_no_message_is_ended(start_fake: Start) -> None:
    with pytest.raises(EngineError, match=r"said b'Loading weights: 50%', which is no message"):
        complete(start_fake(do="say garbage", at_step=2), 8)


def test_after_the_end_there_is_no_answer(start_fake: Start) -> None:
    engine = start_fake(do="exit", at_step=1)
    for _ in range(2):
        with pytest.raises(EngineError):
            engine.token_logprobs(None, (1, 2))
    engine.close()


def test_an_interpreter_that_is_not_there_is_missing(tmp_path: Path) -> None:
    spec = SPEC.__class__(**{**SPEC.to_json(), "engine": "vllm"})
    with pytest.raises(MissingExtraError, match="nothing cannot be started"):
        EngineProcess(
            spec, python=str(tmp_path / "nothing"), log=tmp_path / "log", timeout_seconds=1.0
        )


def test_a_command_that_is_not_there_cannot_be_started(tmp_path: Path) -> None:
    command = [str(tmp_path / "nothing")]
    with pytest.raises(EngineError, match="nothing cannot be started"):
        EngineProcess(SPEC, python=None, log=tmp_path / "log", timeout_seconds=1.0, command=command)
