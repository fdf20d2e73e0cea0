"""The next batch: from the journal if it was committed there, else from the engine.

Either way the trainer gets the same value, so a replay is the same loop with another source.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import torch

from rlrun.config.load import config_from_dict, config_to_dict
from rlrun.config.schema import GrpoConfig, RunConfig
from rlrun.grpo.advantages import group_advantages, is_uniform
from rlrun.grpo.batch import MicroBatch, Row, build_micro_batch, gather_rows, split_rows
from rlrun.policy.model import Policy
from rlrun.rollouts.collect import CollectPlan, collect
from rlrun.runs.records import BatchRecord, GroupRecord
from rlrun.runs.rollout_journal import Recovered, RolloutJournal
from rlrun.trainer.workbench import Workbench, sampling_at
from rlrun.types import EncodedPrompt, ScoredGroup


@dataclass(slots=True)
class Batch:
    """A committed batch, ready to train on."""

    record: BatchRecord
    config: RunConfig  # in force when it was committed
    groups: tuple[ScoredGroup, ...]  # in slot order
    rows: tuple[Row, ...]  # row = slot * group_size + sample
    is_replayed: bool
    references: dict[int, torch.Tensor] = field(default_factory=dict)  # by micro-batch, [B, K]

    @property
    def num_tokens(self) -> int:
        """Completion tokens of the whole batch."""
        return sum(len(row.completion_ids) for row in self.rows)

    @property
    def denominator(self) -> int:
        """Completion tokens of the whole batch that carry loss, dropped groups included."""
        return max(1, sum(len(row.completion_ids) for row in self.rows if row.has_loss))

    @property
    def temperature(self) -> float:
        """The temperature it was sampled at."""
        return self.groups[0].group.sampling.temperature

    @property
    def num_zero_variance_groups(self) -> int:
        """Groups whose rewards are all equal."""
        return sum(is_uniform(rewards) for rewards in self.record.rewards)

    def micro_batch(self, rows: Sequence[int], policy: Policy) -> MicroBatch:
        """Return some of its rows as tensors."""
        chosen = [self.rows[row] for row in rows]
        return build_micro_batch(chosen, pad_id=policy.pad_id, device=policy.device)


class BatchSource:
    """Hands out batches in order."""

    def __init__(
        self,
        bench: Workbench,
        recovered: Recovered,
        journal: RolloutJournal,
        session: int,
    ) -> None:
        self._bench = bench
        self._recovered = recovered
        self._journal = journal
        self._session = session

    def journaled(self, step: int) -> Batch | None:
        """Return the committed batch that serves `step`, if there is one."""
        for record in self._recovered.batches.values():
            if record["first_step"] <= step <= record["last_step"]:
                batch = BatchRecord.from_record(record)
                prompts = self._bench.prompts_by_id
                groups = tuple(
                    GroupRecord.from_record(self._recovered.groups[group], prompts).scored
                    for group in batch.groups
                )
                return self._assemble(self._fitting(batch, groups), groups, is_replayed=True)
        return None

    def _fitting(self, record: BatchRecord, groups: Sequence[ScoredGroup]) -> BatchRecord:
        """Return the record, split as the configuration says now; a new split is journaled first.

        The split of a committed batch changes only when a user allowed inexactness, usually because
        its micro-batches did not fit in memory.
        """
        config = _config_of(record)
        wanted = self._bench.config.grpo
        split = {
            "micro_batch_size": wanted.micro_batch_size,
            "accumulation_steps": wanted.accumulation_steps,
        }
        if all(getattr(config.grpo, key) == value for key, value in split.items()):
            return record
        resplit = replace(
            record,
            micro_batches=_split(record, _rows(record, groups, config), wanted),
            config={**record.config, "grpo": {**record.config["grpo"], **split}},
        )
        self._journal.append_batch(resplit)
        return resplit

    def generate(
        self, step: int, num_batches: int, position: int, should_stop: Callable[[], bool]
    ) -> Batch:
        """Sample, commit and return the batch whose first step is `step`.

        Raises Interrupted when told to stop; the groups that had finished are journaled.
        """
        config = self._bench.config
        groups = self._collect(step, position, should_stop)
        record = self._plan(groups, step, num_batches, position)
        scored = tuple(group.scored for group in groups)
        batch = self._assemble(record, scored, is_replayed=False)
        if config.grpo.updates_per_batch > 1:
            record = _with_window(record, batch, self._bench.learner.policy)
            batch = self._assemble(record, scored, is_replayed=False)
        self._journal.append_batch(record)
        return batch

    def _collect(
        self, step: int, position: int, should_stop: Callable[[], bool]
    ) -> list[GroupRecord]:
        bench, config = self._bench, self._bench.config
        prompts = bench.prompts_at(position, config.grpo.prompts_per_step)
        plan = CollectPlan(config.seed, step - 1, config.grpo.group_size, sampling_at(config, step))
        finished: dict[int, GroupRecord] = {}
        for slot, record in self._recovered.pending_groups(step).items():
            group = GroupRecord.from_record(record, bench.prompts_by_id)
            if slot < len(prompts) and _fits(group, plan, prompts[slot]):
                finished[slot] = group
        for slot, scored in collect(
            prompts, frozenset(finished), plan, bench.engine, bench.task, should_stop
        ):
            group = GroupRecord(f"{step}.{slot}.{self._session}", step, slot, scored)
            self._journal.append_group(group)
            finished[slot] = group
        return [finished[slot] for slot in range(len(prompts))]

    def _plan(
        self, groups: Sequence[GroupRecord], step: int, num_batches: int, position: int
    ) -> BatchRecord:
        config = self._bench.config
        rewards = tuple(tuple(r.total for r in group.scored.rewards) for group in groups)
        needs_all = config.grpo.kl_weight > 0
        dropped = tuple(
            slot for slot, row in enumerate(rewards) if is_uniform(row) and not needs_all
        )
        unsplit = BatchRecord(
            first_step=step,
            last_step=step + config.grpo.updates_per_batch - 1,
            max_steps=self._bench.max_steps,
            batch=num_batches,
            data_position=(position, position + len(groups)),
            groups=tuple(group.id for group in groups),
            dropped=dropped,
            rewards=rewards,
            micro_batches=(),
            window_logprobs=None,
            config=config_to_dict(config),
        )
        rows = _rows(unsplit, [group.scored for group in groups], config)
        return replace(unsplit, micro_batches=_split(unsplit, rows, config.grpo))

    def _assemble(
        self, record: BatchRecord, groups: Sequence[ScoredGroup], *, is_replayed: bool
    ) -> Batch:
        config = _config_of(record)
        rows = _rows(record, groups, config)
        return Batch(record, config, tuple(groups), rows, is_replayed)


def _config_of(record: BatchRecord) -> RunConfig:
    return config_from_dict(dict(record.config), f"the batch at step {record.first_step}")


def _fits(group: GroupRecord, plan: CollectPlan, prompt: EncodedPrompt) -> bool:
    """Return whether a finished group is what the plan would draw again."""
    drawn = group.scored.group
    return (
        drawn.sampling == plan.sampling
        and len(drawn.completions) == plan.group_size
        and drawn.prompt == prompt
    )


def _rows(record: BatchRecord, groups: Sequence[ScoredGroup], config: RunConfig) -> tuple[Row, ...]:
    rows: list[Row] = []
    windows = record.window_logprobs
    for rewards, scored in zip(record.rewards, groups, strict=True):
        advantages = group_advantages(rewards, config.grpo.scale_advantages)
        for completion, advantage in zip(scored.group.completions, advantages, strict=True):
            is_masked = config.grpo.mask_truncated and completion.finish_reason == "length"
            rows.append(
                Row(
                    prompt_ids=scored.group.prompt.token_ids,
                    completion_ids=completion.token_ids,
                    advantage=advantage,
                    has_loss=not is_masked,
                    sampler_logprobs=completion.sampler_logprobs,
                    window_logprobs=windows[len(rows)] if windows else None,
                )
            )
    return tuple(rows)


def _split(
    record: BatchRecord, rows: Sequence[Row], grpo: GrpoConfig
) -> tuple[tuple[int, ...], ...]:
    """Return the rows of each micro-batch; rows that carry no loss are in none."""
    per_group = len(rows) // len(record.groups)
    active = [
        row
        for row in range(len(rows))
        if rows[row].has_loss and row // per_group not in record.dropped
    ]
    parts = grpo.accumulation_steps or 1
    size = grpo.micro_batch_size or max(1, ceil(len(active) / parts))
    split = split_rows([rows[row].length for row in active], size)
    return tuple(tuple(active[index] for index in indices) for indices in split)


def _with_window(record: BatchRecord, batch: Batch, policy: Policy) -> BatchRecord:
    """Return the record with the policy's log-probabilities at the window's start."""
    windows: list[tuple[float, ...]] = [()] * len(batch.rows)
    policy.model.eval()
    with torch.no_grad():
        for rows in record.micro_batches:
            micro = batch.micro_batch(rows, policy)
            logprobs, _ = policy.token_logprobs(micro, batch.temperature)  # [B, K]
            found = gather_rows(logprobs, micro.completion_mask)
            for row, values in zip(rows, found, strict=True):
                windows[row] = values
    return replace(record, window_logprobs=tuple(windows))
