"""`rlrun resume`: go on with a run, exactly, or not at all unless that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rlrun.cli import options, show, watch
from rlrun.cli.options import (
    DetachOption,
    DeviceOption,
    MaxTimeOption,
    Orders,
    RootOption,
    RunArgument,
    SetOption,
    StepsOption,
)
from rlrun.config.changes import Change, compare, describe, extension
from rlrun.config.load import apply_overrides, config_to_dict, dump_config, load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import InexactError, NothingToDoError, RunNotFoundError, UsageError
from rlrun.runs import checkpoints, fork, ledger, lock, store
from rlrun.runs.layout import RunDir, find_root
from rlrun.runs.request import SessionRequest
from rlrun.sessions import launch, preflight, state

_SHAPES = frozenset({"model.lora", "model.lora.rank", "model.lora.target_modules"})


def resume(
    name: RunArgument = None,
    from_: Annotated[
        str, typer.Option("--from", metavar="STEP", help="latest, or a checkpoint's step.")
    ] = "latest",
    is_rewind: Annotated[
        bool,
        typer.Option("--rewind", help="Go back to --from; what is behind it moves to abandoned/."),
    ] = False,
    fork_name: Annotated[
        str | None,
        typer.Option(
            "--fork",
            metavar="NEW_NAME",
            help="Go on from there in another run; --set may change its settings.",
            show_default=False,
        ),
    ] = None,
    steps: StepsOption = None,
    max_time: MaxTimeOption = None,
    device: DeviceOption = "auto",
    overrides: SetOption = None,
    allow_inexact: Annotated[
        bool,
        typer.Option("--allow-inexact", help="Go on even if the updates will differ."),
    ] = False,
    detach: DetachOption = False,
    root: RootOption = None,
) -> int:
    """Continue a run exactly where it was left.

    It goes on from the newest checkpoint and replays what is journaled beyond it.  On the same
    machine and versions the run ends in the same bytes as if it had never stopped.

    Exit codes: 0 done, 75 stopped early, 130 stopped at once; the others are in 'rlrun --help'.
    """
    orders = options.orders_of(steps, max_time, device, root, detach=detach)
    whence = Whence(options.from_step_of(from_), is_rewind)
    if is_rewind and (whence.step is None or fork_name is not None):
        raise UsageError("--rewind goes with --from STEP and not with --fork; correct the command")
    run = store.find_run(find_root(root), name)
    if name is None:
        show.talk(f"resuming '{run.name}', the most recently active run")
    refuse_foreign(run)
    if fork_name is not None:
        return work_on_fork(run, whence.step, fork_name, orders, overrides or ())
    settings = settings_of(run, overrides or (), allow_inexact=allow_inexact)
    return go_on(run, orders, settings, whence, allow_inexact=allow_inexact)


@dataclass(frozen=True, slots=True)
class Whence:
    """Where a session is to begin."""

    step: int | None = None  # None: the newest valid one
    is_rewind: bool = False


def go_on(
    run: RunDir, orders: Orders, settings: "Settings", whence: Whence, *, allow_inexact: bool
) -> int:
    """Work a session on a run and return its exit code.

    Raises LockedError if somebody else does, NothingToDoError if the run is finished, and what
    the session failed with.
    """
    refuse_held(run)
    if whence.step is None:
        refuse_finished(run, settings)
    else:
        refuse_unfit(run, whence.step, is_rewind=whence.is_rewind)
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    request = SessionRequest(
        steps=orders.steps,
        max_seconds=orders.max_seconds,
        from_step=whence.step,
        is_rewind=whence.is_rewind,
        device=orders.device,
        allow_inexact=allow_inexact,
        config=settings.as_request(),
        changes=settings.changes,
    )
    return watch.work(watch.NewSession(run, request, settings.num_groups, orders))


def work_on_fork(
    parent: RunDir, step: int | None, name: str, orders: Orders, overrides: Sequence[str]
) -> int:
    """Make another run that begins at the parent's step, and work a session on it."""
    settings = settings_of(parent, overrides, allow_inexact=True)
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    if step is None:
        step = newest_step(parent)
    refuse_misfit(parent, step, settings)
    run = fork.fork(
        parent,
        step,
        find_root(orders.root),
        name=name,
        config_text=dump_config(settings.new),
        now=datetime.now(UTC),
    )
    show.talk(f"forked run '{run.name}' from step {step} of '{parent.name}' in {run.path}")
    request = SessionRequest(
        steps=orders.steps,
        max_seconds=orders.max_seconds,
        device=orders.device,
        allow_inexact=bool(settings.inexact),  # another run may be about something else
        changes=settings.changes,
        inexact=tuple(map(describe, settings.inexact)),
    )
    return watch.work(watch.NewSession(run, request, settings.num_groups, orders))


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
    run_id = store.read_identity(run).id
    newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=False)
    if newest is not None and newest.step > step and not is_rewind:
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
