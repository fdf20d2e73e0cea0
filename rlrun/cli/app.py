"""The `rlrun` command: the list of commands, and the one place where an error becomes a line."""

import io
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer

from rlrun import __version__, errors
from rlrun.cli import sentences, show
from rlrun.errors import EXIT_CODES, RlrunError, UsageError

_EPILOG = "Exit codes:\n\n\b\n" + "\n".join(
    f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()
)
# typer exports one of the classes that its parser raises; the others are its siblings.
_ParserError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

COMMANDS = {
    "train": "train:train",
    "resume": "resume:resume",
    "list": "list_runs:list_runs",
    "status": "status:status",
    "logs": "logs:logs",
    "stop": "stop:stop",
    "eval": "evaluate:evaluate",
    "compare": "compare:compare",
    "prune": "prune:prune",
    "pin": "pin:pin",
    "verify": "verify:verify",
    "archive": "archive:archive",
    "restore": "restore:restore",
    "doctor": "doctor:doctor",
    "config": "config:app",
}
"""Where each command is in `rlrun.cli`; in the order in which the help shows them."""


@dataclass(slots=True)
class GlobalOptions:
    """What stands before the command."""

    is_debug: bool = False


def _show_version(is_asked: bool) -> None:
    if is_asked:
        show.out(f"rlrun {__version__}")
        raise typer.Exit


def _begin(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the code an error comes from.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train language models with GRPO in sessions that stop and continue bit for bit.

    A run is one configuration in one directory; each session works on it until it is stopped, and
    'rlrun resume' goes on.  Begin with 'rlrun train'.
    """
    context.obj.is_debug = debug
    if context.invoked_subcommand is None:
        show.out(context.get_help())


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands; to import all takes twice as long as one."""
    app = typer.Typer(
        name="rlrun",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        epilog=_EPILOG,
    )
    app.callback()(_begin)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"rlrun.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, no_args_is_help=False)
        else:
            app.command(name)(found)
    return app


def _needed(arguments: Sequence[str]) -> Iterable[str]:
    """Return the command that is asked for; all, where that is none or the help."""
    first = next((word for word in arguments if not word.startswith("-")), "")
    return [first] if first in COMMANDS else COMMANDS


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; every error is a sentence on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold any byte
    options = GlobalOptions()
    command = typer.main.get_command(make_app(_needed(arguments)))
    try:
        result: Any = command.main(
            list(arguments), prog_name="rlrun", standalone_mode=False, obj=options
        )
    except _ParserError as error:
        return _fail(_usage_error(error), arguments, options)
    except RlrunError as error:
        return _fail(error, arguments, options)
    except OSError as error:
        return _fail(errors.of_system(error), arguments, options)
    return result if isinstance(result, int) else 0


def _usage_error(error: typer.BadParameter) -> UsageError:
    path = error.ctx.command_path if error.ctx else "rlrun"
    sentence = error.format_message().rstrip(".")
    wrapped = UsageError(f"{sentence[:1].lower()}{sentence[1:]} (see '{path} --help')")
    return wrapped.with_traceback(error.__traceback__)


def _root_of(arguments: Sequence[str]) -> str | None:
    """Return what `--root` was given; the parser has it only where it succeeded."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == "--root":
            return following
        if word.startswith("--root="):
            return word.removeprefix("--root=")
    return None


def _fail(error: RlrunError, arguments: Sequence[str], options: GlobalOptions) -> int:
    if options.is_debug:
        traceback.print_exception(error)
    message = sentences.with_root(str(error), _root_of(arguments))
    if "--json" in arguments:
        show.json_error({"error": message, "exit_code": error.exit_code})
    else:
        show.error(message)
    return error.exit_code
