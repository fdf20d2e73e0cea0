"""One session at work: where it stands, what it writes, when it ends."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

from rlrun.config.schema import SavingConfig
from rlrun.errors import NoSpaceError, NotFiniteError, RlrunError
from rlrun.policy import saved_form
from rlrun.policy.optimizer import set_hyperparameters
from rlrun.runs import canonical, ledger
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, SessionWarning
from rlrun.runs.manifest import Manifest
from rlrun.runs.retention import Pruner, Rules
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.trainer.batches import Batch, BatchSource
from rlrun.trainer.checkpoint import Saver, copy_state
from rlrun.trainer.reporting import Reporter, StepClock, StepFacts
from rlrun.trainer.schedule import SaveSchedule
from rlrun.trainer.step import Update, take_step
from rlrun.trainer.stopping import Stopper
from rlrun.trainer.workbench import Workbench

_log = logging.getLogger(__name__)

Phase = Literal["loading", "sampling", "updating", "saving"]


@dataclass(slots=True)
class Progress:
    """How far the run is."""

    step: int = 0
    num_batches: int = 0  # begun
    data_position: int = 0  # prompts in them
    completion_tokens: int = 0  # generated for them
    seconds: float = 0.0  # spent on them, replays not counted

    @classmethod
    def of(cls, manifest: Manifest | None) -> "Progress":
        """Return the progress of a checkpoint, or of step 0."""
        if manifest is None:
            return cls()
        totals = manifest["totals"]
        return cls(
            manifest["step"],
            manifest["batches"],
            manifest["data_position"],
            totals["completion_tokens"],
            totals["seconds"],
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is to do."""

    run: RunDir
    run_id: str
    session: int
    from_step: int
    frontier: int  # steps up to here were taken before
    target_step: int


class Session:
    """The working state of a session."""

    def __init__(
        self,
        plan: Plan,
        bench: Workbench,
        source: BatchSource,
        journal: RolloutJournal,
        progress: Progress,
        stopper: Stopper,
        pruner: Pruner,
    ) -> None:
        self.plan = plan
        self.bench = bench
        self.progress = progress
        self.stopper = stopper
        self.phase: Phase = "loading"
        self.num_replayed = 0
        self.num_tokens = 0
        self._source = source
        self._journal = journal
        self._reporter = Reporter(plan.run, plan.session, first_step=plan.from_step + 1)
        self._static_files = saved_form.static_files(bench.learner.policy)
        self._pruner = pruner
        self._saver = Saver(
            plan.run,
            background=bench.config.saving.background,
            guard=journal.guard,
            before=self._reporter.sync,
            on_published=self._after_save,
            on_refused=self._after_refusal,
        )
        self._schedule = SaveSchedule(step=progress.step, epoch=self._epoch, now=monotonic())
        self._generation_seconds = 0.0
        self._said: set[str] = set()  # warnings
        self._last_batch: Batch | None = None  # of the last step that this session took

    @property
    def _epoch(self) -> float:
        return self.progress.data_position / len(self.bench.prompts)

    def why_end(self) -> Outcome | None:
        """Return why no further step may begin, or None."""
        if self.progress.step >= self.bench.max_steps:
            return "finished"
        if self.progress.step >= self.plan.target_step:
            return "steps_done"
        return self.stopper.reason()

    def next_batch(self) -> Batch:
        """Return the batch that serves the next step.

        Raises Interrupted when told to stop; the groups that had finished are journaled.  Raises
        NotFiniteError if the policy is spoiled, and what went wrong with a save in the background.
        """
        self._saver.check()
        self.phase = "sampling"
        progress, started = self.progress, monotonic()
        batch = self._source.journaled(progress.step + 1)
        if batch is None:
            batch = self._generate()
        self._generation_seconds = monotonic() - started
        if not batch.is_replayed:
            self.num_tokens += batch.num_tokens
        set_hyperparameters(
            self.bench.learner.optimizer,
            self.bench.learner.scheduler,
            batch.config.grpo,
            batch.record.max_steps,
        )
        return batch

    def _generate(self) -> Batch:
        progress = self.progress
        try:
            return self._source.generate(
                progress.step + 1,
                progress.num_batches,
                progress.data_position,
                self.stopper.must_break_off,
            )
        except NotFiniteError:
            self.save_last()
            raise

    def update(self, batch: Batch) -> None:
        """Take the next step with a batch, and report it.

        Raises NotFiniteError if it would spoil the state, which is saved as it is then.
        """
        self.phase = "updating"
        self._journal.guard()
        started = monotonic()
        step = self.progress.step + 1
        try:
            update = take_step(self.bench.learner, batch, step)
        except NotFiniteError:
            self.save_last()
            raise
        self._journal.guard()  # an update is long enough for a machine to have slept in it
        self._count(batch, step)
        clock = StepClock(
            generation_seconds=self._generation_seconds,
            update_seconds=monotonic() - started,
            is_replayed=step <= self.plan.frontier,
        )
        self._generation_seconds = 0.0
        seconds = clock.generation_seconds + clock.update_seconds
        if clock.is_replayed:
            self.num_replayed += 1
        else:
            self.progress.seconds += seconds
        self.stopper.note_step(seconds, clock.update_seconds)
        self._reporter.report(self._facts(batch, update), clock)

    def _count(self, batch: Batch, step: int) -> None:
        """Move on to a step that was taken; its batch is consumed by the first of its window."""
        self._last_batch = batch
        self.progress.step = step
        if step == batch.record.first_step:
            self.progress.num_batches += 1
            self.progress.data_position = batch.record.data_position[1]
            self.progress.completion_tokens += batch.num_tokens

    def _facts(self, batch: Batch, update: Update) -> StepFacts:
        return StepFacts(
            step=self.progress.step,
            batch=batch.record.batch,
            epoch=self._epoch,
            groups=batch.groups,
            num_zero_variance_groups=batch.num_zero_variance_groups,
            learning_rate=update.learning_rate,
            temperature=batch.temperature,
            grad_norm=update.grad_norm,
            sums=update.sums,
            tokens_total=self.progress.completion_tokens,
            has_kl=batch.config.grpo.kl_weight > 0,
        )

    def save_if_due(self, batch: Batch) -> None:
        """Write a checkpoint if the configuration asks for one here."""
        if self._schedule.is_due(
            self._saving,
            step=self.progress.step,
            epoch=self._epoch,
            now=monotonic(),
        ):
            self._save(batch)

    @property
    def _saving(self) -> SavingConfig:
        """The saving settings in force: a replayed step keeps those of its batch."""
        if self._last_batch is not None and self.progress.step <= self.plan.frontier:
            return self._last_batch.config.saving
        return self.bench.config.saving

    def save_last(self) -> None:
        """Write a checkpoint if a step was taken since the last one; return when it is safe."""
        if self._last_batch is not None and self.progress.step != self._schedule.step:
            self._save(self._last_batch)
        self._saver.finish()

    def wait_for_save(self) -> None:
        """Return when no checkpoint is being written; raises what went wrong with the last one."""
        self._saver.wait()

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written in the background."""
        return self._saver.is_busy

    def _save(self, batch: Batch) -> None:
        self.phase = "saving"
        step = self.progress.step
        self._journal.seal(step)
        copied = copy_state(
            self.bench.learner, self._static_files, step, self._manifest_info(batch)
        )
        self._saver.save(copied)
        self._schedule.note(step=step, epoch=self._epoch, now=monotonic())

    def _after_save(self, step: int, seconds: float) -> None:
        """Remove what no rule keeps, in the saver's thread; that it cannot be is no failure."""
        started, saving = monotonic(), self.bench.config.saving
        rules = Rules(saving.keep_latest, saving.keep_every)
        try:
            self._pruner.note_published(step)
            if rules:
                for fate in self._pruner.prune_quickly(rules):
                    _log.info("removed step %d (%s)", fate.step, rules)
        except (RlrunError, OSError) as refusal:
            self._warn(step, f"could not remove older checkpoints: {refusal}")
        self.stopper.note_save(seconds + monotonic() - started)

    def _after_refusal(self, step: int, refusal: NoSpaceError) -> None:
        """Say that a checkpoint had no room, and that training goes on."""
        self._warn(step, f"{refusal}; training goes on, and the next checkpoint tries again")

    def _warn(self, step: int, message: str) -> None:
        """Tell the user, once, what does not end the session."""
        _log.warning("%s", message)
        if message not in self._said:
            self._said.add(message)
            ledger.append_warning(self.plan.run, SessionWarning(self.plan.session, step, message))

    def _manifest_info(self, batch: Batch) -> Mapping[str, Any]:
        progress, config = self.progress, dict(batch.record.config)
        return {
            "run_id": self.plan.run_id,
            "session": self.plan.session,
            "step": progress.step,
            "parent_step": self.plan.from_step,
            "world_size": 1,
            "rank": 0,
            "batches": progress.num_batches,
            "data_position": progress.data_position,
            "window": {
                "first_step": batch.record.first_step,
                "last_step": batch.record.last_step,
            },
            "config": config,
            "config_hash": canonical.sha256_of(config),
            "fingerprint": self.bench.fingerprint,
            "totals": {
                "completion_tokens": progress.completion_tokens,
                "seconds": round(progress.seconds, 3),
            },
        }

    def close(self) -> None:
        """Close the logs and the journal."""
        self._reporter.close()
        self._journal.close()
