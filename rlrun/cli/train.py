"""`rlrun train`: create a run and work on it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import options, show, watch
from rlrun.cli.options import (
    DetachOption,
    DeviceOption,
    MaxTimeOption,
    RootOption,
    SetOption,
    StepsOption,
)
from rlrun.config.load import dump_config, load_config
from rlrun.runs import store
from rlrun.runs.layout import find_root
from rlrun.runs.request import SessionRequest
from rlrun.sessions import launch, preflight


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
    device: DeviceOption = "auto",
    overrides: SetOption = None,
    detach: DetachOption = False,
    root: RootOption = None,
) -> int:
    """Create a run from a recipe and train it.

    Ctrl-C finishes what is needed, saves and stops; a second one stops at once.  Either way
    'rlrun resume' goes on where the run was left.

    Exit codes: 0 done, 75 stopped early, 130 stopped at once; the others are in 'rlrun --help'.
    """
    request = SessionRequest(
        steps=steps,
        max_seconds=options.seconds_of(max_time),
        device=options.device_of(device),
    )
    loaded = load_config(config, overrides or ())
    resolved = preflight.located(loaded.config, Path.cwd())
    launch.require_train_extra(launch.TRAIN_PACKAGES)
    preflight.require_data_package(resolved)
    run = store.create_run(
        find_root(root),
        name=name,
        config_text=dump_config(resolved),
        num_threads=resolved.train.num_threads,
        now=datetime.now(UTC),
    )
    show.talk(f"created run '{run.name}' from {loaded.source} in {run.path}")
    num_groups = resolved.grpo.prompts_per_step
    return watch.work(watch.NewSession(run, request, num_groups, root, is_detached=detach))
