"""What a step leaves in the logs, with numbers that can be checked by hand."""

from dataclasses import replace
from typing import Any

import pytest
from support import journal as made
from support.calls import recorded

from rlrun.grpo.loss import TokenSums
from rlrun.runs import canonical, jsonl
from rlrun.runs.layout import RunDir
from rlrun.trainer import reporting
from rlrun.trainer.reporting import Reporter, StepClock, StepFacts
from rlrun.types import Reward, ScoredGroup

SUMS = TokenSums(
    loss=-0.125,
    tokens=4,
    entropy=8.0,
    kl=1.0,
    clipped_low=1,
    clipped_high=2,
    ratio=6.0,
    ratio_min=0.5,
    ratio_max=2.5,
    mismatch=2.0,
    mismatch_max=1.0,
    mismatch_kl=0.5,
    weight=4.0,
    weight_squared=8.0,
)
CLOCK = StepClock(generation_seconds=1.5, update_seconds=0.5, is_replayed=False)


def rewarded(slot: int, *totals: float) -> ScoredGroup:
    rewards = tuple(Reward(total, {"exact": total, "form": 1.0}) for total in totals)
    return replace(made.scored_group(slot), rewards=rewards)


def facts(step: int = 7, sums: TokenSums = SUMS, *, has_kl: bool = True) -> StepFacts:
    """Return a step of two groups: completions of 2 and 1 tokens each, the longer one cut off."""
    return StepFacts(
        step=step,
        batch=3,
        epoch=0.25,
        groups=(rewarded(0, 1.0, 0.0), rewarded(1, 3.0, 0.0)),
        num_zero_variance_groups=1,
        learning_rate=0.01,
        temperature=0.8,
        grad_norm=2.0,
        sums=sums,
        tokens_total=60,
        has_kl=has_kl,
    )


def test_the_training_log_has_the_means_of_the_step() -> None:
    assert reporting.train_record(facts()) == {
        "step": 7,
        "batch": 3,
        "epoch": 0.25,
        "reward_mean": 1.0,  # of 1, 0, 3, 0
        "reward_std": 1.5**0.5,  # of 0, 1, 4, 1 squared
        "reward_parts": {"exact": 1.0, "form": 1.0},
        "num_groups": 2,
        "num_zero_variance_groups": 1,
        "completion_tokens_mean": 1.5,
        "completion_tokens_max": 2,
        "truncated_share": 0.5,
        "loss": -0.125,
        "kl": 0.25,
        "entropy": 2.0,
        "clip_low_share": 0.25,
        "clip_high_share": 0.5,
        "grad_norm": 2.0,
        "learning_rate": 0.01,
        "temperature": 0.8,
        "tokens": 6,
        "tokens_total": 60,
    }


def test_the_ratios_are_means_over_the_tokens_that_carry_loss() -> None:
    assert reporting.ratio_record(7, SUMS) == {
        "step": 7,
        "tokens": 4,
        "ratio_mean": 1.5,
        "ratio_min": 0.5,
        "ratio_max": 2.5,
        "mismatch_mean": 0.5,
        "mismatch_max": 1.0,
        "mismatch_kl": 0.125,
        "effective_sample_share": 0.5,  # 4^2 / (4 * 8)
    }


def test_a_step_without_a_token_of_loss_has_records_that_json_can_hold() -> None:
    nothing = TokenSums()
    assert reporting.ratio_record(7, nothing) == {"step": 7, "tokens": 0}
    record = reporting.train_record(facts(sums=nothing))
    assert {record[key] for key in ("loss", "kl", "entropy", "grad_norm")} == {None}
    canonical.dumps(record)


def test_without_a_kl_term_there_is_no_kl() -> None:
    assert reporting.train_record(facts(has_kl=False))["kl"] is None


def test_tensorboard_shows_numbers_and_neither_counters_nor_texts() -> None:
    record = {
        "step": 7,
        "batch": 3,
        "loss": 0.5,
        "kl": None,
        "tokens": 6,
        "reward_parts": {"exact": 1},
        "clock": {"seconds": 2.0, "tokens_per_second": 3.0, "time": "2026-01-31"},
    }
    ratios = {"step": 7, "tokens": 4, "ratio_mean": 1.5}
    assert reporting.scalars_of(record, ratios) == {
        "train/loss": 0.5,
        "train/tokens": 6.0,
        "reward/exact": 1.0,
        "ratios/ratio_mean": 1.5,
        "clock/seconds": 2.0,
        "clock/tokens_per_second": 3.0,
    }


def reported(run: RunDir, clock: StepClock) -> dict[str, Any]:
    reporter = Reporter(run, 1, first_step=7)
    reporter.report(facts(), clock)
    reporter.close()
    (record,) = jsonl.read(run.train_log)
    return dict(record)


def test_all_that_depends_on_the_wall_clock_stands_under_clock(run: RunDir) -> None:
    record = reported(run, CLOCK)
    clock = record.pop("clock")
    assert record == reporting.train_record(facts())
    assert clock.pop("time").startswith("20")
    assert clock == {
        "seconds": 2.0,
        "generation_seconds": 1.5,
        "update_seconds": 0.5,
        "tokens_per_second": 3.0,
        "replayed": False,
    }
    assert jsonl.read(run.ratios) == [reporting.ratio_record(7, SUMS)]


def test_a_replayed_step_claims_no_speed(run: RunDir) -> None:
    clock = reported(run, replace(CLOCK, is_replayed=True))["clock"]
    assert (clock["tokens_per_second"], clock["replayed"]) == (None, True)


def test_a_step_is_one_write_to_each_log_and_none_is_synced(run: RunDir) -> None:
    reporter = Reporter(run, 1, first_step=7)
    with recorded() as calls:
        reporter.report(facts(), CLOCK)
    assert calls == [
        "write train_log.jsonl",
        "write ratios.jsonl",
        "write events.out.tfevents.0000000001.rlrun",
    ]
    with recorded() as calls:
        reporter.sync()
    assert [call.split()[0] for call in calls] == ["fsync", "fsync", "fsync"]
    reporter.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_hold_is_refused(value: float, run: RunDir) -> None:
    reporter = Reporter(run, 1, first_step=7)
    with pytest.raises(ValueError):
        reporter.report(facts(sums=replace(SUMS, entropy=value)), CLOCK)
    reporter.close()
    assert jsonl.read(run.train_log) == []
