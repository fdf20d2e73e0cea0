"""Groups and batches of a few tokens, for journals that no model wrote."""

from typing import Any

from rlrun.runs.records import BatchRecord, GroupRecord
from rlrun.types import Completion, EncodedPrompt, Group, Prompt, Reward, Sampling, ScoredGroup

PROMPTS = {f"sum/{slot}": Prompt(f"sum/{slot}", f"{slot}+1=", str(slot + 1)) for slot in range(4)}
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_completion_tokens=2)


def scored_group(slot: int = 0, policy_step: int = 0, tokens: int = 2) -> ScoredGroup:
    """Return a group of two completions with rewards 1 and 0."""
    ids = tuple(range(tokens))
    logprobs = (-0.5,) * tokens
    completions = (
        Completion(ids, "9", logprobs, "length"),
        Completion(ids[:-1], "8", logprobs[:-1], "stop"),
    )
    prompt = EncodedPrompt(PROMPTS[f"sum/{slot}"], (7, 8, 9))
    rewards = (Reward(1.0, {"exact": 1.0}), Reward(0.0, {"exact": 0.0}))
    return ScoredGroup(Group(prompt, completions, SAMPLING, policy_step), rewards)


def group(first_step: int, slot: int = 0, session: int = 1) -> GroupRecord:
    scored = scored_group(slot, policy_step=first_step - 1)
    return GroupRecord(f"{first_step}.{slot}.{session}", first_step, slot, scored)


def batch(first_step: int, last_step: int | None = None, **changes: Any) -> BatchRecord:
    """Return a batch of one group, `<first_step>.0.1`."""
    fields: dict[str, Any] = {
        "first_step": first_step,
        "last_step": last_step or first_step,
        "max_steps": 100,
        "batch": first_step - 1,
        "data_position": (first_step - 1, first_step),
        "groups": (f"{first_step}.0.1",),
        "dropped": (),
        "rewards": ((1.0, 0.0),),
        "micro_batches": ((0, 1),),
        "window_logprobs": None,
        "config": {"seed": 0},
    }
    return BatchRecord(**{**fields, **changes})
