"""From a run as some session left it, to the one checkpoint that a session goes on from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlrun.errors import DamagedError, StorageError, UsageError
from rlrun.runs import checkpoints, jsonl, pins, quarantine, rollout_journal, salvage
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir
from rlrun.runs.manifest import Manifest
from rlrun.runs.rollout_journal import Recovered
from rlrun.runs.salvage import Salvage


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Where a session begins."""

    checkpoint: Step | None  # None: step 0
    recovered: Recovered
    frontier: int  # the last step that was taken before, as far as the disk tells
    passed: tuple[Step, ...] = ()  # newer ones of ours that do not verify
    lost: tuple[int, int] | None = None  # steps that the log has and the journal lacks
    problem: str | None = None  # of the journal; `recovered` is what can be used

    @property
    def notes(self) -> tuple[str, ...]:
        """What a session has to say of where it begins."""
        count = self.frontier - self.step
        replayed = f"{count} journaled step{'' if count == 1 else 's'}"
        lost = []
        if self.problem is not None:
            lost.append(f"{self.problem}: what cannot be used is in quarantine/, and made anew")
        if self.lost is not None:
            first, last = self.lost
            lost.append(f"the journal lacks what steps {first} to {last} were made of: made anew")
        passed = [
            f"step {step.step} does not verify ({step.problem}); it is in quarantine/, going on "
            f"from step {self.step} and replaying {replayed}"
            for step in self.passed
        ]
        return (*passed, *lost)

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def has_beyond(self) -> bool:
        """Whether sessions have made anything behind the checkpoint that is still there."""
        return self.frontier > self.step or bool(self.recovered.groups)

    @property
    def has_kl_batches(self) -> bool:
        """Whether a batch to be replayed has a KL term, whatever the configuration says now."""
        return any(b["config"]["grpo"]["kl_weight"] > 0 for b in self.recovered.batches.values())

    @property
    def manifest(self) -> Manifest | None:
        """The checkpoint's manifest."""
        return self.checkpoint.manifest if self.checkpoint else None


def find_older_starting_point(run: RunDir, *, run_id: str, step: int) -> StartingPoint:
    """Return where to begin when what is behind `step` (0: everything) is to be abandoned.

    Changes nothing.  Raises RunNotFoundError or DamagedError if the run cannot go on from there,
    and UsageError if a step behind it is to stay.
    """
    wanted = None if step == 0 else checkpoints.require(run, step, run_id=run_id)
    pinned = sorted(set(checkpoints.list_steps(run)) & pins.list_pinned(run) - set(range(step + 1)))
    if pinned:
        raise UsageError(
            f"step {pinned[0]} of run '{run.name}' is pinned, so it cannot be left behind; use "
            f"'rlrun pin {run.name} {pinned[0]} --unpin', or go on in another run with --fork"
        )
    recovered = rollout_journal.recover(run, step, up_to=step)
    if wanted is not None and wanted.manifest is not None:
        rollout_journal.require_window(run, wanted.manifest, recovered)
    return StartingPoint(wanted, recovered, frontier=step)


def find_starting_point(run: RunDir, *, run_id: str, from_step: int | None) -> StartingPoint:
    """Return where to begin; changes nothing.

    Raises RunNotFoundError, DamagedError or UsageError if `from_step` is not the newest valid step.
    """
    newest, passed = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
    if from_step is not None and not (from_step == 0 and newest is None):
        wanted = checkpoints.require(run, from_step, run_id=run_id)
        if newest is not None and newest.step > wanted.step:
            raise checkpoints.refuse_older(run, wanted.step, newest.step)
    newest, passed, found = _before_lost_windows(run, newest, passed, run_id, from_step)
    step = newest.step if newest else 0
    unreadable = next((one for one in passed if one.is_unreadable), None)
    if unreadable is not None:
        raise StorageError(
            f"step {unreadable.step} of run '{run.name}' cannot be judged: {unreadable.problem}; "
            "check the disk and the permissions, then resume"
        )
    frontier, lost = _frontier(run, step, found.recovered)
    if newest is None and passed:
        _refuse_to_begin_anew(run, passed, found)
    return StartingPoint(newest, found.recovered, frontier, tuple(passed), lost, found.problem)


def _refuse_to_begin_anew(run: RunDir, passed: Sequence[Step], found: Salvage) -> None:
    """Raise DamagedError unless the journal leads from step 0 to all that checkpoints were of."""
    last = max(step.step for step in passed)
    journaled = max((batch["last_step"] for batch in found.recovered.batches.values()), default=0)
    if found.problem is None and journaled >= last:
        return
    lacks = f"the journal lacks what steps {journaled + 1} to {last} were made of"
    problem = found.problem or lacks
    raise DamagedError(
        f"no checkpoint of run '{run.name}' verifies, and {problem}, so it would begin anew; "
        f"restore logs/ or training_state/step_{last}/ from a copy, or start another run"
    )


def _before_lost_windows(
    run: RunDir, newest: Step | None, passed: list[Step], run_id: str, from_step: int | None
) -> tuple[Step | None, list[Step], Salvage]:
    """Pass over steps that lie in a window of which the journal has lost the batch.

    Raises DamagedError if there is none before them, or `from_step` asks for one of them.
    """
    found = salvage.look(run, newest.step if newest else 0)
    while newest is not None and newest.manifest is not None:
        window = rollout_journal.lost_window(newest.manifest, found.recovered)
        if window is None:
            break
        older, more = checkpoints.newest_valid(
            run, run_id=run_id, with_hashes=True, below=newest.step
        )
        if older is None or from_step is not None:
            rollout_journal.require_window(run, newest.manifest, found.recovered)
        lacks = f"the journal lacks the batch of steps {window[0]} to {window[1]}, which it lies in"
        passed = [*passed, replace(newest, problem=lacks), *more]
        newest, found = older, salvage.look(run, older.step if older else 0)
    return newest, passed, found


def _frontier(run: RunDir, step: int, recovered: Recovered) -> tuple[int, tuple[int, int] | None]:
    """Return the last step taken that can be replayed, and the later ones that the log tells of.

    A batch is committed only when its elders are used up, and before any of its steps is logged.
    """
    logged = (jsonl.read_last(run.train_log) or {}).get("step")
    logged = logged if type(logged) is int else 0  # what does not read says nothing
    journaled = max((batch["last_step"] for batch in recovered.batches.values()), default=step)
    committed = max(recovered.batches, default=1) - 1
    lost = (journaled + 1, logged) if logged > max(step, journaled) else None
    return max(step, min(logged, journaled), committed), lost


def tidy(run: RunDir, start: StartingPoint, *, session: int) -> None:
    """Remove a dead session's leftovers, put what does not verify aside, and mend the link."""
    checkpoints.remove_leftovers(run)
    for step in start.passed:
        quarantine.set_aside(run, step.path, step.problem or "", session=session)
    if start.problem is not None:
        salvage.mend(run, start.step, start.problem, session=session)
    checkpoints.repair_link(run, start.step or None, session=session)
