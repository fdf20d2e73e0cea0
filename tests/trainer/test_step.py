"""One update: what it changes, what it leaves alone, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.calls import recorded

from rlrun.errors import NotFiniteError, WorkerError
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import Recovered, RolloutJournal
from rlrun.trainer import checkpoint, step
from rlrun.trainer.batches import Batch, BatchSource
from rlrun.trainer.step import take_step
from rlrun.trainer.workbench import Workbench

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")

MakeBench = Callable[..., Workbench]


def first_batch(run: RunDir, bench: Workbench) -> Batch:
    source = BatchSource(bench, Recovered({}, {}), RolloutJournal(run), 1)
    return source.generate(1, 0, 0, lambda: False)


def state_of(bench: Workbench) -> dict[str, bytes]:
    """Return the training state as the bytes that a checkpoint would hold."""
    copied = checkpoint.copy_state(bench.learner, {}, 0, {})
    return {name: bytes(data) for name, data in checkpoint.to_files(copied).items()}


def weights_of(bench: Workbench) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in bench.learner.policy.parameters().items()}


def test_an_update_changes_weights_moments_and_schedule(run: RunDir, bench: Workbench) -> None:
    batch = first_batch(run, bench)
    before = state_of(bench)
    update = take_step(bench.learner, batch, 1)
    after = state_of(bench)
    assert [name for name in before if before[name] == after[name]] == []
    assert update.learning_rate == 0.01
    assert update.grad_norm > 0
    assert update.sums.tokens == sum(len(row.completion_ids) for row in batch.rows)
    assert all(p.grad is None for p in bench.learner.policy.parameters().values())


def test_the_frozen_weights_stay_as_they_were(run: RunDir, bench: Workbench) -> None:
    frozen = [p for p in bench.learner.policy.model.parameters() if not p.requires_grad]
    before = [p.clone() for p in frozen]
    take_step(bench.learner, first_batch(run, bench), 1)
    assert all(torch.equal(old, new) for old, new in zip(before, frozen, strict=True))


def test_the_first_update_of_a_window_has_a_ratio_of_exactly_one(
    run: RunDir, bench: Workbench
) -> None:
    sums = take_step(bench.learner, first_batch(run, bench), 1).sums
    assert (sums.ratio_min, sums.ratio_max) == (1.0, 1.0)
    assert sums.ratio == sums.tokens
    assert (sums.clipped_low, sums.clipped_high) == (0, 0)


def test_a_later_update_of_a_window_is_measured_against_its_start(
    run: RunDir, make_bench: MakeBench
) -> None:
    bench = make_bench("grpo.updates_per_batch=2")
    batch = first_batch(run, bench)
    first = take_step(bench.learner, batch, 1).sums
    second = take_step(bench.learner, batch, 2).sums
    assert (first.ratio_min, first.ratio_max) == (1.0, 1.0)
    assert second.ratio_min < 1.0 < second.ratio_max


def test_the_same_update_from_the_same_state_is_the_same_bits(
    run: RunDir, make_bench: MakeBench
) -> None:
    states = []
    for _ in range(2):
        bench = make_bench("model.lora.dropout=0.3")
        run.journal.unlink(missing_ok=True)
        take_step(bench.learner, first_batch(run, bench), 1)
        states.append(state_of(bench))
    assert states[0] == states[1]


def test_dropout_differs_between_steps(run: RunDir, make_bench: MakeBench) -> None:
    states = []
    for number in (1, 2):
        bench = make_bench("model.lora.dropout=0.5")
        run.journal.unlink(missing_ok=True)
        take_step(bench.learner, first_batch(run, bench), number)
        states.append(state_of(bench))
    assert states[0] != states[1]


@pytest.mark.parametrize("setting", ["grpo.micro_batch_size=5", "grpo.micro_batch_size=1"])
def test_the_split_into_micro_batches_changes_the_gradient_by_roundings_only(
    setting: str, run: RunDir, make_bench: MakeBench
) -> None:
    norms = []
    for settings in ([], [setting]):
        bench = make_bench(*settings)
        run.journal.unlink(missing_ok=True)
        update = take_step(bench.learner, first_batch(run, bench), 1)
        norms.append((update.grad_norm, update.sums.loss, update.sums.entropy))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4, abs=1e-6)


def test_a_batch_without_gradient_is_still_an_update_momentum_goes_on(
    run: RunDir, bench: Workbench
) -> None:
    batch = first_batch(run, bench)
    nothing = replace(batch, record=replace(batch.record, micro_batches=()))
    before = weights_of(bench)
    update = take_step(bench.learner, nothing, 1)
    assert (update.grad_norm, update.sums.tokens, update.sums.loss) == (0.0, 0, 0.0)
    assert all(torch.equal(old, weights_of(bench)[name]) for name, old in before.items())
    assert bench.learner.scheduler.last_epoch == 1
    take_step(bench.learner, batch, 2)
    moved = weights_of(bench)
    take_step(bench.learner, nothing, 3)
    assert any(not torch.equal(old, weights_of(bench)[name]) for name, old in moved.items())


def test_the_gradient_is_clipped_and_its_norm_before_that_is_told(
    run: RunDir, make_bench: MakeBench
) -> None:
    norms = []
    for limit in ("1.0", "0.001"):
        bench = make_bench(f"grpo.max_grad_norm={limit}")
        run.journal.unlink(missing_ok=True)
        norms.append(take_step(bench.learner, first_batch(run, bench), 1).grad_norm)
    assert norms[0] == norms[1] > 0.001


def test_the_reference_of_a_window_is_computed_once_and_is_the_untouched_policy(
    run: RunDir, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("grpo.kl_weight=0.1", "grpo.updates_per_batch=2")
    batch = first_batch(run, bench)
    calls: list[int] = []
    compute = step._reference_logprobs

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(step, "_reference_logprobs", counted)
    first = take_step(bench.learner, batch, 1).sums
    second = take_step(bench.learner, batch, 2).sums
    assert calls == [1]
    assert first.kl == pytest.approx(0.0, abs=1e-6)
    assert second.kl > 0


def spoil_loss(loss: torch.Tensor) -> torch.Tensor:
    return loss * float("nan")


def spoil_gradient(loss: torch.Tensor) -> torch.Tensor:
    loss.register_hook(lambda gradient: gradient * float("inf"))
    return loss


@pytest.mark.parametrize(("what", "spoil"), [("loss", spoil_loss), ("gradient", spoil_gradient)])
def test_a_loss_or_gradient_that_is_not_finite_changes_nothing_and_names_the_step(
    what: str,
    spoil: Callable[[torch.Tensor], torch.Tensor],
    run: RunDir,
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = first_batch(run, bench)
    take_step(bench.learner, batch, 1)
    before = state_of(bench)
    whole = step.grpo_loss
    monkeypatch.setattr(step, "grpo_loss", lambda *a, **k: spoil(whole(*a, **k)))
    with pytest.raises(NotFiniteError) as caught, recorded() as calls:
        take_step(bench.learner, batch, 2)
    assert str(caught.value).startswith(
        f"the {what} of step 2 is not finite; the state before it is saved; start a new run from"
    )
    assert caught.value.exit_code == WorkerError.exit_code == 8
    assert state_of(bench) == before
    assert all(p.grad is None for p in bench.learner.policy.parameters().values())
    assert calls == []
