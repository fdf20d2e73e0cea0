"""`rlrun prune` on the disk: a run that nobody holds is put in order, then no rule's steps go."""

from dataclasses import dataclass

from rlrun.config.load import load_config
from rlrun.errors import UsageError
from rlrun.runs import checkpoints, lock, rewind
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Fate, Pruner, Rules


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of each checkpoint, and what was put in order before that."""

    fates: tuple[Fate, ...]
    note: str | None = None


def rules_of(run: RunDir, keep_latest: int | None, keep_every: int | None) -> Rules:
    """Return the rules that are given, each by itself before that of the run's configuration.

    Raises UsageError if there is none.
    """
    saving = load_config(str(run.config), ()).config.saving
    rules = Rules(keep_latest or saving.keep_latest, keep_every or saving.keep_every)
    if not rules:
        raise UsageError(
            f"nothing says which checkpoints of run '{run.name}' stay; give --keep-latest N or "
            "--keep-every N (a session prunes by itself after 'rlrun resume "
            f"{run.name} --set saving.keep_latest=N')"
        )
    return rules


def survey(run: RunDir, run_id: str, rules: Rules) -> Pruned:
    """Return what `prune` would do; changes nothing."""
    intent = rewind.pending(run)
    note = None if intent is None else f"a rewind to step {intent.step} would be finished first"
    return Pruned(tuple(Pruner(run, run_id).survey(rules)), note)


def prune(run: RunDir, run_id: str, rules: Rules) -> Pruned:
    """Prune a run that nobody holds, with what killed processes left; raises LockedError else.

    Whatever ends it in between leaves whole checkpoints, and what the next prune removes.
    """
    held = lock.Lock(run, lambda: lock.TIDYING)
    try:
        note = rewind.finish_pending(run, session=lock.TIDYING)
        checkpoints.remove_leftovers(run)
        newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
        checkpoints.repair_link(run, newest.step if newest else None, session=lock.TIDYING)
        pruner = Pruner(run, run_id)
        if newest is not None:
            pruner.note(newest)
        return Pruned(tuple(pruner.prune(rules)), note)
    finally:
        held.release()
