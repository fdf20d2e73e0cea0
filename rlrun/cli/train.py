"""`rlrun train`: create a run and work on it."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import options, resume, show, watch
from rlrun.cli.options import (
    DetachOption,
    DeviceOption,
    MaxTimeOption,
    Orders,
    RootOption,
    SetOption,
    StepsOption,
)
from rlrun.config.load import LoadedConfig, dump_config, load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import (
    NothingToDoError,
    RunExistsError,
    RunNotFoundError,
    UsageError,
)
from rlrun.runs import store
from rlrun.runs.layout import RunDir, check_name, find_root, runs_folder
from rlrun.runs.request import SessionRequest
from rlrun.runs.store import NewRun
from rlrun.sessions import admission, launch, preflight


class Recover(StrEnum):
    """What to do with a run of the name that is there."""

    NEVER = "never"  # refuse it
    AUTO = "auto"  # continue it, or start it where there is none
    RESUME = "resume"  # continue it, refuse to start one


def train(
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="NAME_OR_PATH", help="A recipe; 'tiny' if not given."
        ),
    ] = None,
    steps: StepsOption = None,
    max_time: MaxTimeOption = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The run's name; the date if not given."),
    ] = None,
    recover: Annotated[
        Recover,
        typer.Option(
            "--recover",
            help="A run of this name: never continue it, auto (or start it), or resume.",
        ),
    ] = Recover.NEVER,
    device: DeviceOption = "auto",
    overrides: SetOption = None,
    detach: DetachOption = False,
    root: RootOption = None,
) -> int:
    """Create a run from a recipe and train it.

    Ctrl-C finishes what is needed, saves and stops; a second one stops at once.  Either way
    'rlrun resume' goes on where the run was left.  With '--name X --recover auto' the same line
    starts the run, continues it, and exits 0 when it is finished: a script may repeat it.

    Exit codes: 0 done, 75 stopped early, 130 stopped at once; the others are in 'rlrun --help'.
    """
    orders = options.orders_of(steps, max_time, device, root, detach=detach)
    loaded = load_config(config, overrides or ())
    resolved = preflight.located(loaded.config, Path.cwd())
    if recover is Recover.NEVER:
        return start(loaded, resolved, name, orders)
    if name is None:
        raise UsageError(f"--recover {recover} needs the run's name; give it with --name")
    return start_or_continue(loaded, resolved, name, recover, orders)


def start(loaded: LoadedConfig, resolved: RunConfig, name: str | None, orders: Orders) -> int:
    """Create a run and work a session on it; RunExistsError if the name is taken."""
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    preflight.require_data_package(resolved)
    run = store.create_run(
        find_root(orders.root),
        NewRun(dump_config(resolved), resolved.train.num_threads),
        name=name,
        now=datetime.now(UTC),
    )
    show.talk(f"created run '{run.name}' from {loaded.source} in {run.path}")
    request = SessionRequest(
        steps=orders.steps, max_seconds=orders.max_seconds, device=orders.device
    )
    return watch.work(watch.NewSession(run, request, resolved.grpo.prompts_per_step, orders))


def start_or_continue(
    loaded: LoadedConfig, resolved: RunConfig, name: str, recover: Recover, orders: Orders
) -> int:
    """Continue the run of this name, or start it if there is none and that is allowed."""
    folder = runs_folder(find_root(orders.root))
    run = RunDir(folder / check_name(name))
    if not store.is_run(run.path):
        if recover is Recover.RESUME:
            raise RunNotFoundError(
                f"there is no run '{name}' in {folder} to resume; '--recover auto' would start it"
            )
        try:
            return start(loaded, resolved, name, orders)
        except RunExistsError:
            show.talk(f"another process has just created run '{name}'")
    return continue_as_asked(run, resolved, orders)


def continue_as_asked(run: RunDir, asked: RunConfig, orders: Orders) -> int:
    """Work a session on a run whose configuration is what was asked for; 0 if it is finished."""
    admission.refuse_foreign(run)
    if store.is_untouched(run):  # a session that failed before it made anything
        settings = admission.settings_as_asked(run, asked)
    else:
        settings = admission.settings_of(run, (), allow_inexact=False)
        for key in admission.kept_settings(run, settings.old, asked):
            show.talk(f"the run keeps its own {key} ('rlrun resume --set' changes it)")
    show.talk(f"continuing run '{run.name}'")
    try:
        return resume.go_on(run, orders, settings, resume.Whence(), allow_inexact=False)
    except NothingToDoError as done:
        show.out(str(done))
        return 0
