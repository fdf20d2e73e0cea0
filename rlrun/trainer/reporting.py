"""What a step leaves in the logs and in TensorBoard.

Metrics are data: one record a step; all that depends on the wall clock stands under `clock`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rlrun.grpo.loss import TokenSums
from rlrun.runs import files, jsonl
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.trainer.events import EventFile
from rlrun.types import ScoredGroup


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What a step was, the wall clock aside."""

    step: int
    batch: int
    epoch: float  # prompts consumed over prompts there are
    groups: Sequence[ScoredGroup]
    num_zero_variance_groups: int
    learning_rate: float
    temperature: float
    grad_norm: float  # before clipping
    sums: TokenSums
    tokens_total: int  # completion tokens since step 1
    has_kl: bool  # whether the loss has a KL term


@dataclass(frozen=True, slots=True)
class StepClock:
    """What a step took."""

    generation_seconds: float
    update_seconds: float
    is_replayed: bool


def train_record(facts: StepFacts) -> dict[str, Any]:
    """Return the step's record of `train_log.jsonl`, without its clock.

    What was not computed is None: the KL without a KL term, and what is a mean over tokens that
    carry loss where there are none.
    """
    rewards = [reward for scored in facts.groups for reward in scored.rewards]
    completions = [c for scored in facts.groups for c in scored.group.completions]
    totals = [reward.total for reward in rewards]
    lengths = [len(completion.token_ids) for completion in completions]
    sums, has_loss = facts.sums, facts.sums.tokens > 0
    has_kl = facts.has_kl and has_loss
    return {
        "step": facts.step,
        "batch": facts.batch,
        "epoch": facts.epoch,
        "reward_mean": _mean(totals),
        "reward_std": _mean([(total - _mean(totals)) ** 2 for total in totals]) ** 0.5,
        "reward_parts": {
            name: _mean([reward.parts[name] for reward in rewards])
            for name in sorted(rewards[0].parts)
        },
        "num_groups": len(facts.groups),
        "num_zero_variance_groups": facts.num_zero_variance_groups,
        "completion_tokens_mean": _mean(lengths),
        "completion_tokens_max": max(lengths),
        "truncated_share": _mean([c.finish_reason == "length" for c in completions]),
        "loss": sums.loss if has_loss else None,
        "kl": sums.kl / sums.tokens if has_kl else None,
        "entropy": sums.entropy / sums.tokens if has_loss else None,
        "clip_low_share": sums.clipped_low / sums.tokens if has_loss else None,
        "clip_high_share": sums.clipped_high / sums.tokens if has_loss else None,
        "grad_norm": facts.grad_norm if has_loss else None,
        "learning_rate": facts.learning_rate,
        "temperature": facts.temperature,
        "tokens": sum(lengths),
        "tokens_total": facts.tokens_total,
    }


def ratio_record(step: int, sums: TokenSums) -> dict[str, Any]:
    """Return the step's record of `ratios.jsonl`: the policy against the window and the sampler.

    `effective_sample_share` is (sum w)^2 / (n sum w^2) of the weights policy / sampler, 1 at best.
    """
    if sums.tokens == 0:
        return {"step": step, "tokens": 0}
    return {
        "step": step,
        "tokens": sums.tokens,
        "ratio_mean": sums.ratio / sums.tokens,
        "ratio_min": sums.ratio_min,
        "ratio_max": sums.ratio_max,
        "mismatch_mean": sums.mismatch / sums.tokens,
        "mismatch_max": sums.mismatch_max,
        "mismatch_kl": sums.mismatch_kl / sums.tokens,
        "effective_sample_share": sums.weight**2 / (sums.tokens * sums.weight_squared),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_NOT_SCALARS = frozenset({"step", "batch", "reward_parts", "clock"})


def scalars_of(record: Record, ratios: Record) -> dict[str, float]:
    """Return what TensorBoard shows of a step."""
    scalars = {f"train/{k}": v for k, v in record.items() if k not in _NOT_SCALARS}
    scalars |= {f"reward/{name}": value for name, value in record["reward_parts"].items()}
    scalars |= {f"ratios/{k}": v for k, v in ratios.items() if k not in ("step", "tokens")}
    scalars["clock/tokens_per_second"] = record["clock"]["tokens_per_second"]
    scalars["clock/seconds"] = record["clock"]["seconds"]
    return {tag: float(value) for tag, value in scalars.items() if value is not None}


class Reporter:
    """The logs of a session, open for appending."""

    def __init__(self, run: RunDir, session: int, *, first_step: int) -> None:
        self._train = files.Appender(run.train_log)
        self._ratios = files.Appender(run.ratios)
        self._events = EventFile(
            run, session, first_step=first_step, wall_time=datetime.now(UTC).timestamp()
        )

    def report(self, facts: StepFacts, clock: StepClock) -> None:
        """Append a step to every log."""
        now = datetime.now(UTC)
        seconds = clock.generation_seconds + clock.update_seconds
        record = train_record(facts)
        record["clock"] = {
            "time": now.isoformat(timespec="milliseconds"),
            "seconds": seconds,
            "generation_seconds": clock.generation_seconds,
            "update_seconds": clock.update_seconds,
            "tokens_per_second": None if clock.is_replayed else record["tokens"] / seconds,
            "replayed": clock.is_replayed,
        }
        ratios = ratio_record(facts.step, facts.sums)
        self._train.append(jsonl.encode(record, checked=False), sync=False)
        self._ratios.append(jsonl.encode(ratios, checked=False), sync=False)
        self._events.add(facts.step, scalars_of(record, ratios), wall_time=now.timestamp())

    def sync(self) -> None:
        """Make what was appended durable."""
        for log in (self._train, self._ratios, self._events):
            log.sync()

    def close(self) -> None:
        """Close the logs."""
        for log in (self._train, self._ratios, self._events):
            log.close()
