"""Collecting: which completions are asked for, and when groups are handed on."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.engines.protocol import Interrupted, SampleRequest
from rlrun.rollouts.collect import CollectPlan, collect
from rlrun.types import (
    Completion,
    EncodedPrompt,
    FinishReason,
    Prompt,
    Reward,
    Sampling,
    ScoredGroup,
    Split,
)

SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_completion_tokens=4)
PLAN = CollectPlan(run_seed=7, policy_step=3, group_size=2, sampling=SAMPLING)


class LengthTask:
    """Rewards a completion by the length of its text unless it was cut off; prompts for nothing."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return ()

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        length = 0.0 if is_truncated else float(len(completion_text))
        return Reward(length, {"length": length})


@dataclass
class ScriptedEngine:
    """Finishes requests in a given order (indices), each with a text that is its key."""

    order: Sequence[int] | None = None  # None: as asked
    stop_after: int | None = None
    requests: list[SampleRequest] = field(default_factory=list)
    num_finished: int = 0
    is_pure: bool = True
    cut_off: Collection[int] = ()  # samples that are

    def generate(
        self, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        self.requests = list(requests)
        for index in self.order if self.order is not None else range(len(requests)):
            if should_stop() or self.num_finished == self.stop_after:
                raise Interrupted
            self.num_finished += 1
            key = requests[index].key
            reason: FinishReason = "length" if key.sample in self.cut_off else "stop"
            yield index, Completion((1,), f"{key.prompt_id}#{key.sample}", (-0.5,), reason)


def prompt(name: str) -> EncodedPrompt:
    return EncodedPrompt(Prompt(name, f"{name}?", "1"), (5, 6))


def run(
    engine: ScriptedEngine, names: Sequence[str] = ("a", "b", "c"), finished: Sequence[int] = ()
) -> Iterator[tuple[int, ScoredGroup]]:
    prompts = [prompt(name) for name in names]
    return collect(prompts, finished, PLAN, engine, LengthTask(), lambda: False)


def texts(group: ScoredGroup) -> list[str]:
    return [completion.text for completion in group.group.completions]


def test_every_prompt_becomes_a_group_of_its_completions() -> None:
    groups = dict(run(ScriptedEngine()))
    assert {slot: texts(group) for slot, group in groups.items()} == {
        0: ["a#0", "a#1"],
        1: ["b#0", "b#1"],
        2: ["c#0", "c#1"],
    }


def test_a_group_says_what_it_was_drawn_with() -> None:
    [(_, scored)] = run(ScriptedEngine(), ["a"])
    assert scored.group.prompt == prompt("a")
    assert (scored.group.sampling, scored.group.policy_step) == (SAMPLING, 3)


def test_each_completion_has_its_own_reward() -> None:
    [(_, scored)] = run(ScriptedEngine(), ["abc"])
    assert [reward.total for reward in scored.rewards] == [5.0, 5.0]
    assert scored.rewards[0].parts == {"length": 5.0}


def test_a_task_is_told_which_completions_were_cut_off() -> None:
    [(_, scored)] = run(ScriptedEngine(cut_off=[1]), ["abc"])
    assert [reward.total for reward in scored.rewards] == [5.0, 0.0]


@given(st.permutations(range(6)))
def test_the_order_of_finishing_changes_only_the_order_of_groups(order: list[int]) -> None:
    assert dict(run(ScriptedEngine(order))) == dict(run(ScriptedEngine()))


def test_a_group_is_handed_on_as_soon_as_it_is_whole() -> None:
    engine = ScriptedEngine(order=[0, 4, 5, 2, 1, 3])
    seen = [(slot, engine.num_finished) for slot, _ in run(engine)]
    assert seen == [(2, 3), (0, 5), (1, 6)]


def test_finished_slots_are_not_generated_again() -> None:
    engine = ScriptedEngine()
    groups = dict(run(engine, finished=[0, 2]))
    assert list(groups) == [1]
    assert {request.key.prompt_id for request in engine.requests} == {"b"}


def test_groups_that_are_left_are_those_of_a_batch_that_was_never_cut() -> None:
    whole = dict(run(ScriptedEngine(), ["a", "b", "a", "c"]))
    rest = dict(run(ScriptedEngine(), ["a", "b", "a", "c"], finished=[0, 1]))
    assert rest == {slot: whole[slot] for slot in (2, 3)}


def test_what_is_finished_needs_no_engine() -> None:
    assert list(run(ScriptedEngine(stop_after=0), finished=[0, 1, 2])) == []


def test_an_interruption_keeps_the_groups_that_were_whole() -> None:
    seen: dict[int, ScoredGroup] = {}
    with pytest.raises(Interrupted):
        seen.update(run(ScriptedEngine(stop_after=5)))
    assert list(seen) == [0, 1]


def test_randomness_is_of_the_step_that_the_groups_are_for() -> None:
    engine = ScriptedEngine()
    list(run(engine, ["a"]))
    assert [(r.key.run_seed, r.key.step, r.key.sample) for r in engine.requests] == [
        (7, 4, 0),
        (7, 4, 1),
    ]


def test_a_prompt_that_comes_twice_is_completed_with_other_randomness() -> None:
    groups = dict(run(ScriptedEngine(), ["a", "b", "a"]))
    assert texts(groups[0]) == ["a#0", "a#1"]
    assert texts(groups[2]) == ["a#2", "a#3"]
