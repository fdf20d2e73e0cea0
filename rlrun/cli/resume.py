"""`rlrun resume`: go on with a run, exactly, or not at all unless that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    whence = Whence(options.from_step_of(from_), is_rewind)
    if is_rewind and (whence.step is None or fork_name is not None):
        raise UsageError("--rewind goes with --from STEP and not with --fork; correct the command")
    given.refuse_without("--restore", is_given=is_restoring, from_archive=from_archive)
    if is_restoring and whence.step is None:
        raise UsageError("--restore goes with --from STEP; give the step that is to be fetched")
    run = store.find_run(find_root(root), name)
    if name is None:
        show.talk(f"resuming '{run.name}', the most recently active run")
    admission.refuse_foreign(run)
    if whence.step is not None:
        may_be_older = is_rewind or fork_name is not None
        reach = Reach(from_archive, None, None, root, FROM)
        is_there = bring_back(
            run, whence.step, reach, is_asked=is_restoring, may_be_older=may_be_older
        )
        if not is_there:
            return EXIT_STOPPED_NOW
    if fork_name is not None:
        return work_on_fork(run, whence.step, fork_name, orders, overrides or ())
    settings = admission.settings_of(run, overrides or (), allow_inexact=allow_inexact)
    return go_on(run, orders, settings, whence, allow_inexact=allow_inexact)


def bring_back(run: RunDir, step: int, reach: Reach, *, is_asked: bool, may_be_older: bool) -> bool:
    """Have a step here that is in an archive only, if that is asked for; False if it is stopped.

    Nothing is fetched that the session would refuse to go on from.
    """
    if is_asked:
        admission.refuse_held(run)
        if not may_be_older:
            admission.refuse_older(run, step)
    return restore.bring_back(run, [step], reach, is_asked=is_asked)


@dataclass(frozen=True, slots=True)
class Whence:
    """Where a session is to begin."""

    step: int | None = None  # None: the newest valid one
    is_rewind: bool = False


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
    parent: RunDir, step: int | None, name: str, orders: Orders, overrides: Sequence[str]
) -> int:
    """Make another run that begins at the parent's step, and work a session on it."""
    settings = admission.settings_of(parent, overrides, allow_inexact=True)
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    if step is None:
        step = admission.newest_step(parent)
    admission.refuse_misfit(parent, step, settings)
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
