"""What a session is to work with, and what can be said against it before there is a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.config.changes import PLACES, Change, compare, describe, extension
from rlrun.config.load import apply_overrides, config_from_dict, config_to_dict, load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import (
    FinishedError,
    InexactError,
    NothingToDoError,
    RunNotFoundError,
    UsageError,
)
from rlrun.runs import checkpoints, ledger, lock, manifest, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session
from rlrun.sessions import preflight, state

_SHAPES = frozenset({"model.lora", "model.lora.rank", "model.lora.target_modules"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration that a run has, and the one that it is to go on with."""

    old: RunConfig
    new: RunConfig
    changes: tuple[str, ...]  # as sentences
    inexact: tuple[Change, ...]  # those that enter an update

    @property
    def num_groups(self) -> int:
        """How many groups make a batch."""
        return self.new.grpo.prompts_per_step

    def as_request(self) -> dict[str, Any] | None:
        """Return the new configuration for the worker, None if it is the old one."""
        return config_to_dict(self.new) if self.changes else None


def settings_of(
    run: RunDir, overrides: Sequence[str], *, step: int | None = None, allow_inexact: bool
) -> Settings:
    """Return the run's settings with `--set` on top, to go on from a step, or the newest.

    Raises InexactError, naming each difference that enters an update, unless they are allowed or
    the run is untouched: then nothing could differ.
    """
    old = load_config(str(run.config), ()).config
    new = preflight.located(apply_overrides(old, overrides), Path.cwd())
    changes = compare(old, new)
    inexact = _not_put_back(run, step, new, changes.inexact)
    if inexact and not allow_inexact and not store.is_untouched(run):
        listed = "; ".join(map(describe, inexact))
        raise InexactError(
            f"run '{run.name}' would not continue exactly, because its updates depend on this: "
            f"{listed}; leave it out, or accept that with --allow-inexact"
        )
    described = tuple(map(describe, (*changes.free, *changes.inexact)))
    return Settings(old, new, described, inexact)


def _not_put_back(
    run: RunDir, step: int | None, new: RunConfig, changes: Sequence[Change]
) -> tuple[Change, ...]:
    """Return the changes but those to what the step was made with: they make it exact again."""
    made_with = config_of(run, step) if changes else None
    if made_with is None:
        return tuple(changes)
    differing = {change.key for change in compare(made_with, new).inexact}
    return tuple(change for change in changes if change.key in differing)


def differences(run: RunDir, step: int | None, config: RunConfig) -> tuple[Change, ...]:
    """Return where a configuration is another computation than what made a step, or the newest."""
    made_with = config_of(run, step)
    return () if made_with is None else compare(made_with, config).inexact


def config_of(run: RunDir, step: int | None) -> RunConfig | None:
    """Return what a step, or the newest, was made with, by its manifest; None if none tells."""
    run_id = store.read_identity(run).id
    if step is None:
        found, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=False)
    else:
        found = checkpoints.inspect(run, step, run_id=run_id, with_hashes=False)
    if found is None or found.manifest is None:
        return None
    return config_from_dict(found.manifest["config"], f"{found.path / manifest.FILE_NAME}")


def refuse_foreign(run: RunDir) -> None:
    """Raise RunNotFoundError if the run is another tool's."""
    if not run.identity.is_file():
        raise RunNotFoundError(
            f"'{run.name}' was not written by rlrun (it has no run.json), so it cannot be "
            f"continued; 'rlrun status {run.name}' shows what it holds, 'rlrun train' starts a run"
        )


def refuse_held(run: RunDir) -> None:
    """Raise LockedError if a session is working on the run."""
    holder = lock.find_holder(run)
    if holder is not None:
        raise lock.refuse(run, holder)


def refuse_misfit(parent: RunDir, step: int, settings: Settings) -> None:
    """Raise an error if a fork could not go on from the step with these settings."""
    changes = (*settings.inexact, *differences(parent, step, settings.new))
    shapes = [change for change in changes if change.key in _SHAPES]
    if shapes:
        raise UsageError(
            f"the weights of step {step} do not fit {describe(shapes[0])}; leave it out, or start "
            "a run with 'rlrun train'"
        )
    max_steps = settings.new.train.max_steps
    if max_steps is not None and step >= max_steps:
        raise NothingToDoError(
            f"step {step} of run '{parent.name}' is the last of {max_steps}; give the fork more "
            f"with {extension(settings.new)}"
        )


def newest_step(run: RunDir) -> int:
    """Return the newest step that verifies; RunNotFoundError if there is none."""
    newest, _ = checkpoints.newest_valid(run, run_id=store.read_identity(run).id, with_hashes=True)
    if newest is None:
        raise RunNotFoundError(
            f"run '{run.name}' has no checkpoint to fork from; 'rlrun resume {run.name} --steps 1' "
            "makes one"
        )
    return newest.step


def refuse_unfit(run: RunDir, step: int, *, is_rewind: bool) -> None:
    """Raise an error if the run has no such checkpoint, or a newer one and is not to be rewound."""
    steps = checkpoints.list_steps(run)
    if is_rewind and step == 0:
        return
    if step not in steps:
        known = ", ".join(map(str, steps)) or "none"
        raise RunNotFoundError(f"run '{run.name}' has no step {step} to go on from; it has {known}")
    if not is_rewind:
        refuse_older(run, step)


def refuse_older(run: RunDir, step: int) -> None:
    """Raise UsageError if the run has a newer valid checkpoint than the step."""
    run_id = store.read_identity(run).id
    newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
    if newest is not None and newest.step > step:
        raise checkpoints.refuse_older(run, step, newest.step)


def refuse_finished(run: RunDir, settings: Settings) -> None:
    """Raise FinishedError if the run's last session ended where the run ends, and that is there.

    A last checkpoint that does not verify, or is gone, is made again from what is journaled.
    """
    sessions = ledger.read(run, is_lenient=True)  # the session mends it
    ends = (one.end for one in reversed(sessions) if one.start or _is_finished(one))
    last = next(ends, None)
    start = state.last_start(sessions)
    if last is None or last.outcome != "finished" or start is None or run.rewind.exists():
        return
    max_steps = settings.new.train.max_steps
    if max_steps is None and settings.new.train == settings.old.train:
        max_steps = start.max_steps  # how many steps its epochs are, only a worker knows
    run_id = store.read_identity(run).id
    newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
    if newest is not None and max_steps is not None and newest.step >= max_steps:
        raise FinishedError(
            f"run '{run.name}' is finished at step {newest.step} of {max_steps}; extend it with "
            f"'rlrun resume {run.name} {extension(settings.new)}'"
        )


def _is_finished(session: Session) -> bool:
    return session.end is not None and session.end.outcome == "finished"


def kept_settings(run: RunDir, own: RunConfig, asked: RunConfig) -> list[str]:
    """Return the settings that a run keeps although another value of them is asked for.

    Raises InexactError if what is asked for is another computation, another end, or about a model
    or data in another place: whether they are the same is not looked at here.
    """
    changes = compare(own, asked)
    refused = [*changes.inexact, *(one for one in changes.free if _decides(one.key))]
    if refused:
        listed = "; ".join(map(describe, refused))
        raise InexactError(
            f"run '{run.name}' was made with other settings than this command asks for: {listed}; "
            f"ask for the run's own, change it with 'rlrun resume {run.name} --set KEY=VALUE', or "
            "give another --name"
        )
    return [change.key for change in changes.free]


def _decides(key: str) -> bool:
    return key.startswith("train.") or key in PLACES


def settings_as_asked(run: RunDir, asked: RunConfig) -> Settings:
    """Return the settings of a run that nothing was made of yet, replaced by those asked for."""
    old = load_config(str(run.config), ()).config
    changes = compare(old, asked)
    return Settings(old, asked, tuple(map(describe, (*changes.free, *changes.inexact))), ())
