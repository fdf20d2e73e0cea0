"""`rlrun doctor`: what is likely to go wrong on this machine, and what to do about it."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from rlrun.cli import sentences, show
from rlrun.cli.options import JsonOption, RootOption
from rlrun.errors import EXIT_DONE
from rlrun.runs.layout import find_root
from rlrun.sessions import doctor as sessions_doctor
from rlrun.sessions.doctor import Check, Surroundings


def doctor(
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="NAME_OR_PATH",
            help="A recipe that space and data are judged by; else the newest run's checkpoint.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Look at the machine, the installation and the root, and say what to mend.

    Exit codes: 0 without a problem, else that of the first one: 3 recipe, 9 root or space, 11
    something is not installed.
    """
    folder = find_root(root)
    checks = []
    for check in sessions_doctor.examine(folder, config, Surroundings(os.environ)):
        checks.append(check)
        if not as_json:
            show.out(line_of(check))
    if as_json:
        show.json_result({"root": str(folder), "checks": [asdict(check) for check in checks]})
    else:
        show.hints(sentences.commands_with_root(next_commands(checks, config), root))
    return exit_code(checks)


def line_of(check: Check) -> str:
    """Return a check as a line."""
    return f"{check.level:<7}  {check.what}: {check.said}"


def next_commands(checks: Sequence[Check], config: str | None) -> list[str]:
    """Return the commands that are likely to come next: none before the problems are mended."""
    if exit_code(checks) != EXIT_DONE:
        return []
    return ["train" if config is None else f"train --config {config}"]


def exit_code(checks: Sequence[Check]) -> int:
    """Return the code of the first problem, 0 if there is none."""
    return next((check.exit_code for check in checks if check.level == "problem"), EXIT_DONE)
