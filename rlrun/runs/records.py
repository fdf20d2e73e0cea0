"""The records of the rollout journal: groups, and the batches made of them.

Written with `to_record`, read with `from_record`; a round trip returns an equal value, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlrun.runs.jsonl import Record
from rlrun.types import Completion, EncodedPrompt, Group, Prompt, Reward, Sampling, ScoredGroup


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A finished group, with its place in the batch it was made for."""

    id: str  # "<first_step>.<slot>.<session>"
    first_step: int
    slot: int
    scored: ScoredGroup

    def to_record(self) -> Record:
        """Return the journal's record of the group."""
        group = self.scored.group
        completions = zip(group.completions, self.scored.rewards, strict=True)
        return {
            "kind": "group",
            "id": self.id,
            "first_step": self.first_step,
            "slot": self.slot,
            "policy_step": group.policy_step,
            "prompt_id": group.prompt.prompt.id,
            "prompt_tokens": list(group.prompt.token_ids),
            "sampling": asdict(group.sampling),
            "completions": [
                {
                    "tokens": list(completion.token_ids),
                    "text": completion.text,
                    "sampler_logprobs": list(completion.sampler_logprobs),
                    "finish_reason": completion.finish_reason,
                    "reward": reward.total,
                    "reward_parts": dict(reward.parts),
                }
                for completion, reward in completions
            ],
        }

    @classmethod
    def from_record(cls, record: Record, prompts: Mapping[str, Prompt]) -> "GroupRecord":
        """Return the group of a record; `prompts` maps the ids of the task to its prompts.

        A prompt that the task no longer has is known by its id and its tokens alone.
        """
        prompt_id = record["prompt_id"]
        prompt = prompts.get(prompt_id, Prompt(prompt_id, question="", answer=""))
        encoded = EncodedPrompt(prompt, tuple(record["prompt_tokens"]))
        rows = record["completions"]
        completions = tuple(
            Completion(
                tuple(row["tokens"]),
                row["text"],
                tuple(row["sampler_logprobs"]),
                row["finish_reason"],
            )
            for row in rows
        )
        group = Group(encoded, completions, Sampling(**record["sampling"]), record["policy_step"])
        rewards = tuple(Reward(row["reward"], row["reward_parts"]) for row in rows)
        return cls(record["id"], record["first_step"], record["slot"], ScoredGroup(group, rewards))


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """The commitment to train on these groups in this way, made before the first update."""

    first_step: int
    last_step: int
    max_steps: int  # the run's end as it stood then: the learning rate's course depends on it
    batch: int  # counted from 0
    data_position: tuple[int, int]  # prompts consumed before and after
    groups: tuple[str, ...]  # ids, in slot order
    dropped: tuple[int, ...]  # slots that carry no gradient
    rewards: tuple[tuple[float, ...], ...]  # [slot][sample]
    micro_batches: tuple[tuple[int, ...], ...]  # rows; row = slot * group_size + sample
    window_logprobs: tuple[tuple[float, ...], ...] | None  # [row][token]; () for dropped rows
    config: Mapping[str, Any]  # the whole configuration in force

    def to_record(self) -> Record:
        """Return the journal's record of the batch."""
        return {
            "kind": "batch",
            "first_step": self.first_step,
            "last_step": self.last_step,
            "max_steps": self.max_steps,
            "batch": self.batch,
            "data_position": list(self.data_position),
            "groups": list(self.groups),
            "dropped": list(self.dropped),
            "rewards": [list(row) for row in self.rewards],
            "micro_batches": [list(rows) for rows in self.micro_batches],
            "window_logprobs": self.window_logprobs and [list(r) for r in self.window_logprobs],
            "config": dict(self.config),
        }

    @classmethod
    def from_record(cls, record: Record) -> "BatchRecord":
        """Return the batch of a record."""
        window = record["window_logprobs"]
        before, after = record["data_position"]
        return cls(
            record["first_step"],
            record["last_step"],
            record["max_steps"],
            record["batch"],
            (before, after),
            tuple(record["groups"]),
            tuple(record["dropped"]),
            tuple(tuple(row) for row in record["rewards"]),
            tuple(tuple(rows) for rows in record["micro_batches"]),
            None if window is None else tuple(tuple(row) for row in window),
            record["config"],
        )
