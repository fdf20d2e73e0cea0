"""The options that commands share, and what their values mean."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import text
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.runs import store
from rlrun.runs.layout import RunDir, find_root

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def complete_run(incomplete: str) -> list[str]:
    """Return the names of runs in the default root that begin so, for the shell."""
    names = (run.name for run in store.list_runs(find_root(None)))
    return [name for name in names if name.startswith(incomplete)]


RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run's name; the most recently active run if not given.",
        autocompletion=complete_run,
        show_default=False,
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Where runs are kept; else $RLRUN_ROOT, $LOCALFS_ROOT or ./runs.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StepsOption = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        min=1,
        help="Take N new steps in this session; to the run's end if not given.",
        show_default=False,
    ),
]
MaxTimeOption = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        metavar="TIME",
        help="End the session, everything saved, after 2h, 30m, 90s or 1h30m.",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting; repeatable.", show_default=False
    ),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return at once; the session goes on by itself.")
]


def require_ours(run: RunDir) -> None:
    """Raise RunNotFoundError if the run is another tool's, whose checkpoints we cannot judge."""
    if not run.identity.is_file():
        raise RunNotFoundError(
            f"'{run.name}' was not written by rlrun (it has no run.json), so what it holds cannot "
            f"be checked or removed; 'rlrun status {run.name}' shows it"
        )


@dataclass(frozen=True, slots=True)
class Orders:
    """What a new session is to do, whatever run it works on."""

    steps: int | None
    max_seconds: float | None
    device: str
    root: Path | None  # what --root said, for the hints
    is_detached: bool


def orders_of(
    steps: int | None, max_time: str | None, device: str, root: Path | None, *, detach: bool
) -> Orders:
    """Return the orders of a command line; UsageError for a time or a device that is none."""
    max_seconds = None if max_time is None else text.parse_duration(max_time)
    return Orders(steps, max_seconds, device_of(device), root, detach)


def device_of(text: str) -> str:
    """Return the device if it can be one; UsageError otherwise."""
    if not _DEVICE.fullmatch(text):
        raise UsageError(f"{text!r} is not a device; use auto, cpu, cuda or cuda:N")
    return text


def from_step_of(text: str) -> int | None:
    """Return the step of `--from N`, None for `latest`; UsageError otherwise."""
    if text == "latest":
        return None
    if not text.isdecimal():
        raise UsageError(f"--from takes a step's number or 'latest', not {text!r}")
    return int(text)
