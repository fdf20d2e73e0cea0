"""What a session is to work with, and what can be said against it before there is a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.config.changes import Change, compare, describe, extension
from rlrun.config.load import apply_overrides, config_to_dict, load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import InexactError, NothingToDoError, RunNotFoundError, UsageError
from rlrun.runs import checkpoints, ledger, lock, store
from rlrun.runs.layout import RunDir
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


def settings_of(run: RunDir, overrides: Sequence[str], *, allow_inexact: bool) -> Settings:
    """Return the run's settings with `--set` on top.

    Raises InexactError, naming each difference that enters an update, unless they are allowed or
    the run is untouched: then nothing could differ.
    """
    old = load_config(str(run.config), ()).config
    new = preflight.located(apply_overrides(old, overrides), Path.cwd())
    changes = compare(old, new)
    if changes.inexact and not allow_inexact and not store.is_untouched(run):
        listed = "; ".join(map(describe, changes.inexact))
        raise InexactError(
            f"run '{run.name}' would not continue exactly, because its updates depend on this: "
            f"{listed}; leave it out, or accept that with --allow-inexact"
        )
    described = tuple(map(describe, (*changes.free, *changes.inexact)))
    return Settings(old, new, described, changes.inexact)


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
    shapes = [change for change in settings.inexact if change.key in _SHAPES]
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
    """Return the newest step that looks valid; RunNotFoundError if there is none."""
    newest, _ = checkpoints.newest_valid(run, run_id=store.read_identity(run).id, with_hashes=False)
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
    newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=False)
    if newest is not None and newest.step > step:
        raise checkpoints.refuse_older(run, step, newest.step)


def refuse_finished(run: RunDir, settings: Settings) -> None:
    """Raise NothingToDoError if the run's last session ended where the run ends."""
    sessions = reversed(ledger.read(run, is_lenient=True))  # the session mends it
    last = next((session for session in sessions if session.start), None)
    if last is None or last.start is None or last.end is None or last.end.outcome != "finished":
        return
    if run.rewind.exists() or state.summarise(run).step < last.end.step:
        return  # it went back since
    step, max_steps = last.end.step, settings.new.train.max_steps
    if max_steps is None and settings.new.train == settings.old.train:
        max_steps = last.start.max_steps  # how many steps its epochs are, only a worker knows
    if max_steps is not None and step >= max_steps:
        raise NothingToDoError(
            f"run '{run.name}' is finished at step {step} of {max_steps}; extend it with "
            f"'rlrun resume {run.name} {extension(settings.new)}'"
        )


def kept_settings(run: RunDir, own: RunConfig, asked: RunConfig) -> list[str]:
    """Return the settings that a run keeps although another value of them is asked for.

    Raises InexactError if what is asked for is another computation, or another end.
    """
    changes = compare(own, asked)
    refused = [*changes.inexact, *(one for one in changes.free if one.key.startswith("train."))]
    if refused:
        listed = "; ".join(map(describe, refused))
        raise InexactError(
            f"run '{run.name}' was made with other settings than this command asks for: {listed}; "
            f"ask for the run's own, change it with 'rlrun resume {run.name} --set KEY=VALUE', or "
            "give another --name"
        )
    return [change.key for change in changes.free]
