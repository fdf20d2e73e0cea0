"""`rlrun resume`: go on with a run, exactly, or not at all unless that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import typer

from rlrun.cli import archive_options as given
from rlrun.cli import options, restore, show, watch
from rlrun.cli.archive_options import FROM, Reach
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
from rlrun.config.changes import describe
from rlrun.config.load import dump_config
from rlrun.errors import EXIT_STOPPED_NOW, UsageError
from rlrun.runs import fork, store
from rlrun.runs.layout import RunDir, find_root
from rlrun.runs.request import SessionRequest
from rlrun.sessions import admission, launch
from rlrun.sessions.admission import Settings


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
    is_restoring: given.RestoreOption = False,
    from_archive: given.FromOption = None,
    root: RootOption = None,
) -> int:
    """Continue a run exactly where it was left.

    It goes on from the newest checkpoint and replays what is journaled beyond it.  On the same
    machine and versions the run ends in the same bytes as if it had never stopped.

    Exit codes: 0 done, 75 stopped early, 130 stopped at once; the others are in 'rlrun --help'.
    """
    orders = options.orders_of(steps, max_time, device, root, detach=detach)
    reach = Reach(from_archive, root=root, option=FROM)
    whence = Whence(options.from_step_of(from_), is_rewind, is_restoring, reach)
    refuse_contradictions(whence, fork_name)
    run = store.find_run(find_root(root), name)
    if name is None:
        show.talk(f"resuming '{run.name}', the most recently active run")
    admission.refuse_foreign(run)
    if fork_name is not None:
        return work_on_fork(run, whence, fork_name, orders, overrides or ())
    return work_on(run, whence, orders, overrides or (), allow_inexact=allow_inexact)


@dataclass(frozen=True, slots=True)
class Whence:
    """Where a session is to begin."""

    step: int | None = None  # None: the newest valid one
    is_rewind: bool = False
    is_restoring: bool = False  # the step is fetched if it is in an archive only
    reach: Reach = field(default_factory=Reach)


def refuse_contradictions(whence: Whence, fork_name: str | None) -> None:
    """Raise UsageError for options that do not go with each other."""
    if whence.is_rewind and (whence.step is None or fork_name is not None):
        raise UsageError("--rewind goes with --from STEP and not with --fork; correct the command")
    given.refuse_without("--restore", is_given=whence.is_restoring, from_archive=whence.reach.place)
    if whence.is_restoring and whence.step is None:
        raise UsageError("--restore goes with --from STEP; give the step that is to be fetched")


def bring_back(run: RunDir, whence: Whence) -> bool:
    """Have the step here if it is in an archive only, and is to be fetched; False if stopped."""
    steps = [] if whence.step is None else [whence.step]
    return restore.bring_back(run, steps, whence.reach, is_asked=whence.is_restoring)


def work_on(
    run: RunDir, whence: Whence, orders: Orders, overrides: Sequence[str], *, allow_inexact: bool
) -> int:
    """Work a session on a run with its own configuration, some settings changed."""
    settings = admission.settings_of(run, overrides, step=whence.step, allow_inexact=allow_inexact)
    return go_on(run, orders, settings, whence, allow_inexact=allow_inexact)


def go_on(
    run: RunDir, orders: Orders, settings: Settings, whence: Whence, *, allow_inexact: bool
) -> int:
    """Work a session on a run and return its exit code.

    Raises LockedError if somebody else does, NothingToDoError if the run is finished, and what
    the session failed with.
    """
    admission.refuse_held(run)
    if whence.step is None:
        admission.refuse_finished(run, settings)
    else:
        if whence.is_restoring and not whence.is_rewind:
            admission.refuse_older(run, whence.step)  # before it is fetched
        if not bring_back(run, whence):
            return EXIT_STOPPED_NOW
        admission.refuse_unfit(run, whence.step, is_rewind=whence.is_rewind)
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
    parent: RunDir, whence: Whence, name: str, orders: Orders, overrides: Sequence[str]
) -> int:
    """Make another run that begins at the parent's step, and work a session on it."""
    settings = admission.settings_of(parent, overrides, step=whence.step, allow_inexact=True)
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    step = admission.newest_step(parent) if whence.step is None else whence.step
    admission.refuse_misfit(parent, step, settings)
    if not bring_back(parent, whence):
        return EXIT_STOPPED_NOW
    admission.refuse_misfit(parent, step, settings)  # what was fetched tells more
    inexact = admission.differences(parent, step, settings.new)
    run = fork.fork(
        parent,
        step,
        find_root(orders.root),
        name=name,
        config_text=dump_config(settings.new),
        now=datetime.now(UTC),
    )
    show.talk(f"forked run '{run.name}' from step {step} of '{parent.name}' in {run.path}")
    if inexact:
        listed = "; ".join(map(describe, inexact))
        show.talk(f"it goes on otherwise than step {step} was made: {listed}")
    request = SessionRequest(
        steps=orders.steps,
        max_seconds=orders.max_seconds,
        device=orders.device,
        allow_inexact=bool(inexact),  # another run may be about something else
        changes=settings.changes,
    )
    return watch.work(watch.NewSession(run, request, settings.num_groups, orders))
