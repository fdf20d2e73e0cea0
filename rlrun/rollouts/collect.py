"""Prompts times group size, to scored groups, one by one as they finish."""

from collections.abc import Callable, Iterator, Mapping
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
    prompts: Mapping[int, EncodedPrompt],
    plan: CollectPlan,
    engine: Engine,
    task: Task,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[int, ScoredGroup]]:
    """Yield (slot, scored group) for each prompt of `prompts` (slot to prompt), as groups finish.

    Raises Interrupted when `should_stop` says so; groups that had finished were yielded before.
    """
    places = [(slot, sample) for slot in prompts for sample in range(plan.group_size)]
    requests = [_request(prompts[slot], sample, plan) for slot, sample in places]
    done: dict[int, dict[int, Completion]] = {slot: {} for slot in prompts}
    for index, completion in engine.generate(requests, should_stop):
        slot, sample = places[index]
        done[slot][sample] = completion
        if len(done[slot]) == plan.group_size:
            yield slot, _score(prompts[slot], done.pop(slot), plan, task)


def _request(prompt: EncodedPrompt, sample: int, plan: CollectPlan) -> SampleRequest:
    key = SampleKey(plan.run_seed, plan.policy_step + 1, prompt.prompt.id, sample)
    return SampleRequest(prompt.token_ids, plan.sampling, key)


def _score(
    prompt: EncodedPrompt, completions: Mapping[int, Completion], plan: CollectPlan, task: Task
) -> ScoredGroup:
    ordered = tuple(completions[sample] for sample in range(plan.group_size))
    rewards = tuple(task.reward(prompt.prompt, completion.text) for completion in ordered)
    return ScoredGroup(Group(prompt, ordered, plan.sampling, plan.policy_step), rewards)
