"""A batch is the same value whether it comes from the engine or from the journal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support import bits

from rlrun.engines.protocol import Interrupted, SampleRequest
from rlrun.runs import jsonl, rollout_journal
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.trainer.batches import Batch, BatchSource
from rlrun.trainer.workbench import Workbench
from rlrun.types import Completion, Prompt, Reward, Split

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")

MakeBench = Callable[..., Workbench]


@dataclass
class Watched:
    """The engine itself, with a memory of what it returned."""

    engine: Any
    completions: dict[tuple[str, int], Completion] = field(default_factory=dict)
    is_pure: bool = True

    def generate(
        self, requests: Sequence[SampleRequest], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        for index, completion in self.engine.generate(requests, should_stop):
            key = requests[index].key
            self.completions[key.prompt_id, key.sample] = completion
            yield index, completion


class FlatTask:
    """The same reward for everything: no group says anything about better or worse."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        raise NotImplementedError

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        return Reward(0.5, {"flat": 0.5})


def source(run: RunDir, bench: Workbench, session: int = 1, step: int = 0) -> BatchSource:
    recovered = rollout_journal.recover(run, step)
    return BatchSource(bench, recovered, RolloutJournal(run), session)


def never() -> bool:
    return False


def after(num_questions: int) -> Callable[[], bool]:
    """Return what says stop when it was asked that often."""
    asked = iter(range(num_questions))
    return lambda: next(asked, None) is None


def generate(run: RunDir, bench: Workbench, **how: Any) -> Batch:
    return source(run, bench, **how).generate(1, 0, 0, never)


def journaled(run: RunDir, bench: Workbench, at: int = 1, **how: Any) -> Batch:
    batch = source(run, bench, **how).journaled(at)
    assert batch is not None
    return batch


def sizes(batch: Batch) -> list[int]:
    return [len(rows) for rows in batch.record.micro_batches]


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["grpo.updates_per_batch=2", "grpo.micro_batch_size=5"],
        ["grpo.mask_truncated=true", "sampling.top_p=0.9"],
    ],
)
def test_a_journaled_batch_is_the_generated_one(
    settings: list[str], run: RunDir, make_bench: MakeBench
) -> None:
    bench = make_bench(*settings)
    made = generate(run, bench)
    found = journaled(run, bench)
    assert found.is_replayed
    assert not made.is_replayed
    assert (found.record, found.config) == (made.record, made.config)
    assert (found.groups, found.rows) == (made.groups, made.rows)


def test_the_journal_holds_the_engines_log_probabilities_to_the_bit(
    run: RunDir, bench: Workbench
) -> None:
    engine = Watched(bench.engine)
    generate(run, replace(bench, engine=engine))
    records = [r for r in jsonl.read(run.journal, checked=True) if r["kind"] == "group"]
    assert len(engine.completions) == sum(len(r["completions"]) for r in records) == 12
    for record in records:
        for sample, row in enumerate(record["completions"]):
            drawn = engine.completions[record["prompt_id"], sample]
            assert tuple(row["tokens"]) == drawn.token_ids
            assert bits.of_singles(row["sampler_logprobs"]) == bits.of_singles(
                drawn.sampler_logprobs
            )


def test_groups_are_journaled_one_by_one_and_the_batch_behind_them(
    run: RunDir, bench: Workbench
) -> None:
    batch = generate(run, bench, session=4)
    records = jsonl.read(run.journal, checked=True)
    assert [record["kind"] for record in records] == ["group"] * 3 + ["batch"]
    assert batch.record.groups == ("1.0.4", "1.1.4", "1.2.4")
    assert sorted(record["id"] for record in records[:3]) == list(batch.record.groups)
    prompts = [encoded.prompt.id for encoded in bench.prompts_at(0, 3)]
    assert [scored.group.prompt.prompt.id for scored in batch.groups] == prompts
    assert batch.record.data_position == (0, 3)


def test_a_later_batch_takes_the_prompts_behind_and_counts_on(
    run: RunDir, bench: Workbench
) -> None:
    batch = source(run, bench).generate(4, 3, 9, never)
    assert (batch.record.first_step, batch.record.last_step, batch.record.batch) == (4, 4, 3)
    assert batch.record.data_position == (9, 12)
    assert {scored.group.policy_step for scored in batch.groups} == {3}


def test_a_step_that_no_batch_serves_is_not_in_the_journal(run: RunDir, bench: Workbench) -> None:
    generate(run, bench)
    assert source(run, bench).journaled(2) is None


def test_a_batch_serves_every_step_of_its_window(run: RunDir, make_bench: MakeBench) -> None:
    bench = make_bench("grpo.updates_per_batch=3")
    made = generate(run, bench)
    assert (made.record.first_step, made.record.last_step) == (1, 3)
    for step in (1, 2, 3):
        assert journaled(run, bench, at=step).record == made.record
    assert source(run, bench).journaled(4) is None


def test_a_window_of_one_step_needs_no_log_probabilities_of_its_own(
    run: RunDir, bench: Workbench
) -> None:
    assert generate(run, bench).record.window_logprobs is None


def test_a_longer_window_records_the_policy_at_its_start(
    run: RunDir, make_bench: MakeBench
) -> None:
    batch = generate(run, make_bench("grpo.updates_per_batch=2"))
    windows = batch.record.window_logprobs
    assert windows is not None
    for row, window in zip(batch.rows, windows, strict=True):
        assert row.window_logprobs == window
        # the same policy by another forward pass: close to what sampled, and float32
        assert list(bits.of_singles(window))
        assert window == pytest.approx(row.sampler_logprobs, abs=1e-5)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("grpo.micro_batch_size=null", [12]),
        ("grpo.micro_batch_size=5", [5, 5, 2]),
        ("grpo.micro_batch_size=12", [12]),
        ("grpo.accumulation_steps=3", [4, 4, 4]),
        ("grpo.accumulation_steps=5", [3, 3, 3, 3]),
    ],
)
def test_micro_batches_hold_every_row_once_the_longest_first(
    setting: str, expected: list[int], run: RunDir, make_bench: MakeBench
) -> None:
    batch = generate(run, make_bench(setting))
    assert sizes(batch) == expected
    rows = [row for rows in batch.record.micro_batches for row in rows]
    assert sorted(rows) == list(range(12))
    lengths = [batch.rows[row].length for row in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_groups_of_equal_rewards_carry_no_gradient_but_count_in_the_denominator(
    run: RunDir, bench: Workbench
) -> None:
    batch = generate(run, replace(bench, task=FlatTask()))
    assert batch.record.dropped == (0, 1, 2)
    assert batch.record.micro_batches == ()
    assert batch.num_zero_variance_groups == 3
    assert batch.denominator == sum(len(row.completion_ids) for row in batch.rows)


def test_a_kl_term_needs_every_group(run: RunDir, make_bench: MakeBench) -> None:
    bench = make_bench("grpo.kl_weight=0.1")
    batch = generate(run, replace(bench, task=FlatTask()))
    assert batch.record.dropped == ()
    assert sizes(batch) == [12]
    assert batch.num_zero_variance_groups == 3


def test_masked_completions_are_in_no_micro_batch_and_not_in_the_denominator(
    run: RunDir, make_bench: MakeBench
) -> None:
    bench = make_bench("grpo.mask_truncated=true", "sampling.max_completion_tokens=16")
    batch = generate(run, bench)
    completions = [c for scored in batch.groups for c in scored.group.completions]
    is_whole = [completion.finish_reason == "stop" for completion in completions]
    assert 0 < sum(is_whole) < 12
    assert [row.has_loss for row in batch.rows] == is_whole
    expected = [c for c, whole in zip(completions, is_whole, strict=True) if whole]
    assert batch.denominator == sum(len(completion.token_ids) for completion in expected)
    trained = {row for rows in batch.record.micro_batches for row in rows}
    assert trained == {row for row, whole in enumerate(is_whole) if whole}


def interrupted(run: RunDir, bench: Workbench, num_groups: int) -> None:
    """Leave some finished groups of the first batch, of session 1, and no batch."""
    for num_tokens in range(1, 40):
        with pytest.raises(Interrupted):
            source(run, bench, session=1).generate(1, 0, 0, after(num_tokens))
        if len(jsonl.read(run.journal, checked=True)) >= num_groups:
            return
        run.journal.unlink()
    raise AssertionError("no group finished")


def test_finished_groups_of_a_batch_cut_short_are_used_and_only_the_others_are_drawn(
    run: RunDir, make_bench: MakeBench
) -> None:
    bench = make_bench("sampling.batch_rows=4")
    straight = replace_journal_of(run, bench)
    interrupted(run, bench, num_groups=1)
    kept = [record["slot"] for record in jsonl.read(run.journal, checked=True)]
    engine = Watched(bench.engine)
    batch = generate(run, replace(bench, engine=engine), session=2)
    expected = [f"1.{slot}.{1 if slot in kept else 2}" for slot in range(3)]
    assert list(batch.record.groups) == expected
    assert len(engine.completions) == 4 * (3 - len(kept))
    assert (batch.groups, batch.rows) == (straight.groups, straight.rows)


def replace_journal_of(run: RunDir, bench: Workbench) -> Batch:
    """Return the first batch as drawn in one go, and forget that it was."""
    batch = generate(run, bench)
    run.journal.unlink()
    return batch


@pytest.mark.parametrize(
    "setting", ["sampling.temperature=0.7", "grpo.group_size=2", "seed=5", "sampling.top_k=3"]
)
def test_finished_groups_that_would_be_drawn_otherwise_now_are_drawn_again(
    setting: str, run: RunDir, make_bench: MakeBench
) -> None:
    interrupted(run, make_bench("sampling.batch_rows=4"), num_groups=1)
    bench = make_bench("sampling.batch_rows=4", setting)
    batch = generate(run, bench, session=2)
    sampling = {scored.group.sampling for scored in batch.groups}
    assert {s.temperature for s in sampling} == {bench.config.sampling.temperature.final}
    assert {len(scored.group.completions) for scored in batch.groups} == {
        bench.config.grpo.group_size
    }
    prompts = [encoded.prompt.id for encoded in bench.prompts_at(0, 3)]
    assert [scored.group.prompt.prompt.id for scored in batch.groups] == prompts
    assert [group for group in batch.record.groups if group.endswith(".1")] == []


def test_a_replayed_batch_keeps_its_configuration_and_its_runs_end(
    run: RunDir, make_bench: MakeBench
) -> None:
    made = generate(run, make_bench("grpo.micro_batch_size=5"))
    settings = ["grpo.learning_rate=0.5", "train.max_steps=99"]
    found = journaled(run, make_bench("grpo.micro_batch_size=5", *settings))
    assert (found.config, found.record) == (made.config, made.record)
    assert (made.record.max_steps, sizes(found)) == (6, [5, 5, 2])


def test_a_replayed_batch_takes_another_split_and_journals_it(
    run: RunDir, make_bench: MakeBench
) -> None:
    generate(run, make_bench("grpo.micro_batch_size=5"))
    other = make_bench("grpo.micro_batch_size=4", "grpo.learning_rate=0.5")
    found = journaled(run, other)
    assert sizes(found) == [4, 4, 4]
    assert found.config.grpo.micro_batch_size == 4
    assert found.config.grpo.learning_rate == 0.01
    size = run.journal.stat().st_size
    assert journaled(run, other).record == found.record
    assert run.journal.stat().st_size == size


def test_a_batch_of_prompts_that_the_task_no_longer_has_can_be_replayed(
    run: RunDir, bench: Workbench
) -> None:
    made = generate(run, bench)
    poorer = replace(bench, prompts=bench.prompts[:1])
    assert journaled(run, poorer).rows == made.rows


def test_finished_groups_of_prompts_that_the_task_no_longer_has_are_drawn_again(
    run: RunDir, make_bench: MakeBench
) -> None:
    bench = make_bench("sampling.batch_rows=4")
    interrupted(run, bench, num_groups=1)
    others = [
        replace(encoded, prompt=replace(encoded.prompt, id=f"other/{index}"))
        for index, encoded in enumerate(bench.prompts)
    ]
    batch = generate(run, replace(bench, prompts=tuple(others)), session=2)
    assert batch.record.groups == ("1.0.2", "1.1.2", "1.2.2")
