"""What an engine may do to an evaluation: die, hang, refuse, fail; the work outlives it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import scoring
from support.scoring import Bench

from rlrun.errors import AdapterError, EngineError
from rlrun.evaluation import work

LABELS = ("step_0", "step_1", "step_2", "step_3")
QUESTION = "72+41="
FIRST_QUESTION = "57+66="  # in the order by which questions are chosen


@pytest.fixture
def undisturbed(bench: Bench, tmp_path: Path) -> dict[str, Any]:
    """What the evaluation amounts to if nothing happens; its folder is moved away."""
    bench.evaluate()
    found = bench.digest()
    (bench.root / "eval_runs").rename(tmp_path / "undisturbed")
    bench.asked()
    bench.num_starts()
    return found


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("at_step", [1, 4, 12, 23])
@pytest.mark.parametrize("do", ["crash", "exit"])
def test_an_engine_that_dies_is_started_again_and_loses_nothing(
    do: str, at_step: int, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    bench.behave(do=do, at_step=at_step, once=bench.once())
    done = bench.evaluate()
    assert (done.scored, done.given_up, done.num_starts) == (LABELS, {}, 2)
    (failure,) = bench.seen.of("failed")
    assert "the torch engine ended on its own" in failure[0]
    assert str(bench.root / "eval_runs" / "a_arithmetic.engine.log") in failure[0]
    assert len(bench.seen.of("completed")) == len(LABELS) * 5
    assert bench.digest() == undisturbed


def test_an_engine_that_hangs_is_ended_and_started_again(
    bench: Bench, undisturbed: dict[str, Any]
) -> None:
    engines = []

    def start(*arguments: Any) -> Any:
        engines.append(scoring.start(*arguments, timeout_seconds=1.5))
        return engines[-1]

    bench.behave(do="hang", at_step=9, once=bench.once())
    assert bench.evaluate(starter=start).num_starts == 2
    (failure,) = bench.seen.of("failed")
    assert "gave no sign of life in time, and was ended" in failure[0]
    assert all(is_gone(engine.pid) for engine in engines)
    assert bench.digest() == undisturbed


def test_a_completion_that_fails_once_is_asked_again_of_the_same_engine(
    bench: Bench, undisturbed: dict[str, Any]
) -> None:
    once = bench.once()
    Path(once).write_text(QUESTION)
    bench.behave(fail_once=once)
    done = bench.evaluate()
    assert (done.scored, done.given_up, bench.num_starts()) == (LABELS, {}, 1)
    assert Counter(bench.asked()).most_common(2)[0][1] == 2
    assert bench.digest() == undisturbed


def test_a_completion_that_always_fails_is_reported_and_never_counted_as_wrong(
    bench: Bench,
) -> None:
    bench.behave(fail=[QUESTION])
    done = bench.evaluate()
    assert done.scored == LABELS
    reason = "the engine failed 2 times at 1 of its completions: it fails"
    assert done.given_up == dict.fromkeys(LABELS, reason)
    assert [row["num_engine_error"] for row in bench.digest()["table"]] == ["1"] * 4
    assert [row["num_questions"] for row in bench.digest()["table"]] == ["4"] * 4


def test_what_failed_in_an_earlier_command_is_asked_again_alone(
    bench: Bench, undisturbed: dict[str, Any]
) -> None:
    bench.behave(fail=[QUESTION])
    bench.evaluate()
    bench.asked()
    bench.behave()
    assert bench.evaluate().given_up == {}
    assert {question for _, question, _ in bench.asked()} == {QUESTION}
    assert bench.digest() == undisturbed


def test_a_checkpoint_of_which_nothing_can_be_completed_has_no_numbers(bench: Bench) -> None:
    bench.behave(fail=[FIRST_QUESTION])
    done = bench.evaluate("eval.max_samples=1", steps=(1,))
    assert done.plan.asked.question_ids == (f"arithmetic/eval/{FIRST_QUESTION[:-1]}",)
    assert done.scored == ()
    assert set(done.given_up) == {"step_0", "step_1"}
    assert not done.folder.consolidated.exists()


def test_an_engine_that_cannot_start_is_tried_twice_and_what_is_kept_stays(bench: Bench) -> None:
    bench.evaluate()
    before = bench.digest()
    bench.num_starts()
    scoring.publish(bench.maker, 4)
    bench.behave(refuse_start="there is no model at /models/base")
    with pytest.raises(EngineError, match="there is no model at /models/base"):
        bench.evaluate()
    assert bench.num_starts() == 2
    assert bench.digest() == before


def test_an_engine_that_starts_at_its_second_chance_is_used(bench: Bench) -> None:
    chances = [EngineError("no memory"), None]

    def start(*arguments: Any) -> Any:
        error = chances.pop(0)
        if error is not None:
            raise error
        return scoring.start(*arguments)

    assert bench.evaluate(starter=start).scored == LABELS
    assert bench.seen.of("failed") == [("no memory",)]


def test_an_adapter_that_is_refused_is_given_up_with_the_reason_and_the_others_scored(
    bench: Bench,
) -> None:
    bench.behave(refuse=["step_2"])
    done = bench.evaluate()
    assert done.scored == ("step_0", "step_1", "step_3")
    assert list(done.given_up) == ["step_2"]
    assert "it is refused" in done.given_up["step_2"]
    assert bench.seen.of("gives up") == list(done.given_up.items())
    assert bench.num_starts() == 1


def test_an_adapter_that_the_engine_does_not_apply_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = work.prove_live

    def judged(engine: Any, name: str, *arguments: Any) -> None:
        prove(engine, name, *arguments)
        if name.startswith("step_1@"):
            raise AdapterError("it changes nothing")

    monkeypatch.setattr(work, "prove_live", judged)
    done = bench.evaluate()
    assert (done.scored, done.given_up) == (
        ("step_0", "step_2", "step_3"), {"step_1": "it changes nothing"},
    )  # fmt: skip
    assert {name.partition("@")[0] for name, _, _ in bench.asked()} == {"None", "step_2", "step_3"}


def test_a_checkpoint_that_kills_the_engine_each_time_is_given_up_and_the_others_scored(
    bench: Bench, undisturbed: dict[str, Any]
) -> None:
    bench.behave(die_for=["step_2"])
    done = bench.evaluate()
    assert done.scored == ("step_0", "step_1", "step_3")
    assert "ended on its own" in done.given_up["step_2"]
    # One with four in flight, after which each is alone: step_2 twice, and one for the rest.
    assert done.num_starts == bench.num_starts() <= 4
    bench.behave()
    assert bench.evaluate().given_up == {}
    assert bench.digest() == undisturbed


def test_of_two_that_kill_the_engine_both_are_given_up(bench: Bench) -> None:
    bench.behave(die_for=["step_1", "step_3"])
    done = bench.evaluate()
    assert done.scored == ("step_0", "step_2")
    assert set(done.given_up) == {"step_1", "step_3"}
    assert done.num_starts <= 6


@pytest.mark.parametrize(("width", "most"), [(1, 1), (2, 2), (4, 3)])
def test_as_many_adapters_as_allowed_are_in_flight(width: int, most: int, bench: Bench) -> None:
    loaded: set[str] = set()
    sizes = []

    def start(*arguments: Any) -> Any:
        engine = scoring.start(*arguments)
        load, unload, generate = engine.load_adapter, engine.unload_adapter, engine.generate

        def load_adapter(name: str, folder: Path) -> None:
            assert name not in loaded
            loaded.add(name)
            load(name, folder)

        def unload_adapter(name: str) -> None:
            loaded.remove(name)
            unload(name)

        def generate_all(requests: Any) -> Any:
            sizes.append(len(loaded))
            return generate(requests)

        engine.load_adapter, engine.unload_adapter = load_adapter, unload_adapter  # type: ignore[method-assign]
        engine.generate = generate_all  # type: ignore[method-assign,assignment]
        return engine

    bench.evaluate(f"eval.max_adapters={width}", starter=start)
    assert max(sizes) == most
    assert loaded == set()
    completed = [label for label, _ in bench.seen.of("completed")]
    is_mixed = any(completed.index(label) < completed.index("step_0") for label in LABELS[1:])
    assert not is_mixed


def test_the_number_of_adapters_in_flight_changes_no_completion(
    bench: Bench, undisturbed: dict[str, Any]
) -> None:
    bench.evaluate("eval.max_adapters=1")
    assert bench.digest() == undisturbed


def publish_models(bench: Bench, *steps: int) -> None:
    for step in steps:
        scoring.publish(bench.maker, step, files=scoring.model_files(8 * step))


def test_models_that_were_trained_whole_get_an_engine_each(bench: Bench) -> None:
    publish_models(bench, 4, 5)
    done = bench.evaluate()
    assert done.scored == (*LABELS, "step_4", "step_5")
    started = [line.split()[0] for line in bench.starts.read_text().splitlines()]
    models = [str(bench.maker.run.step(step) / "model") for step in (4, 5)]
    assert started == ["builtin:tiny", *models]


def test_a_model_that_no_engine_can_load_is_given_up_and_the_others_scored(bench: Bench) -> None:
    publish_models(bench, 4, 5)
    bench.behave(refuse_start=[str(bench.maker.run.step(4) / "model"), "its weights are torn"])
    done = bench.evaluate()
    assert done.scored == (*LABELS, "step_5")
    assert "its weights are torn" in done.given_up["step_4"]
    assert bench.num_starts() == 4  # the base's, two that were in vain, step_5's


def test_a_checkpoint_that_is_removed_before_its_turn_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = work._Group._load

    def remove_first(group: Any, engine: Any, name: str, folder: Path) -> None:
        if name.startswith("step_1@"):
            bench.maker.run.step(2).rename(bench.root / "elsewhere")
        load(group, engine, name, folder)

    monkeypatch.setattr(work._Group, "_load", remove_first)
    done = bench.evaluate("eval.max_adapters=1")
    assert done.scored == ("step_0", "step_1", "step_3")
    assert done.given_up["step_2"].endswith("was removed before its turn came")
