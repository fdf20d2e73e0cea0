"""Prompts times group size, to scored groups, one by one as they finish."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlrun.engines.protocol import Engine, SampleKey, SampleRequest
from rlrun.types import Completion, EncodedPrompt, Group, Sampling, ScoredGroup, Task


@dataclass(frozen=True, slots=True)
class CollectPlan:
    """What a batch's groups are drawn from."""

    run_seed: int
    policy_step: int
    group_size: int
    sampling: Sampling


def collect(
    prompts: Sequence[EncodedPrompt],
    finished_slots: Container[int],
    plan: CollectPlan,
    engine: Engine,
    task: Task,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[int, ScoredGroup]]:
    """Yield (slot, scored group) for each prompt not in `finished_slots`, as groups finish.

    A prompt's slot is its place in `prompts`.  Raises Interrupted when `should_stop` says so;
    groups that had finished were yielded before.
    """
    todo = [slot for slot in range(len(prompts)) if slot not in finished_slots]
    places = [(slot, sample) for slot in todo for sample in range(plan.group_size)]
    requests = [_request(prompts, slot, sample, plan) for slot, sample in places]
    done: dict[int, dict[int, Completion]] = {slot: {} for slot in todo}
    for index, completion in engine.generate(requests, should_stop):
        slot, sample = places[index]
        done[slot][sample] = completion
        if len(done[slot]) == plan.group_size:
            yield slot, _reward(prompts[slot], done.pop(slot), plan, task)


def _request(
    prompts: Sequence[EncodedPrompt], slot: int, sample: int, plan: CollectPlan
) -> SampleRequest:
    encoded = prompts[slot]
    # Where an epoch ends a batch may hold a prompt twice: its samples are numbered through.
    earlier = sum(1 for other in prompts[:slot] if other.prompt.id == encoded.prompt.id)
    number = earlier * plan.group_size + sample
    key = SampleKey(plan.run_seed, plan.policy_step + 1, encoded.prompt.id, number)
    return SampleRequest(encoded.token_ids, plan.sampling, key)


def _reward(
    prompt: EncodedPrompt, completions: Mapping[int, Completion], plan: CollectPlan, task: Task
) -> ScoredGroup:
    ordered = tuple(completions[sample] for sample in range(plan.group_size))
    rewards = tuple(
        task.reward(prompt.prompt, it.text, is_truncated=it.finish_reason == "length")
        for it in ordered
    )
    return ScoredGroup(Group(prompt, ordered, plan.sampling, plan.policy_step), rewards)
