"""The `rlrun` command: the list of commands, and the one place where an error becomes a line."""

import io
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from rlrun import __version__, errors
from rlrun.cli import (
    archive,
    compare,
    config,
    doctor,
    evaluate,
    list_runs,
    logs,
    pin,
    prune,
    restore,
    resume,
    sentences,
    show,
    status,
    stop,
    train,
    verify,
)
from rlrun.errors import EXIT_CODES, RlrunError, UsageError

_EPILOG = "Exit codes:\n\n\b\n" + "\n".join(
    f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()
)
# typer exports one of the classes that its parser raises; the others are its siblings.
_ParserError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="rlrun",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    epilog=_EPILOG,
)
app.command("train")(train.train)
app.command("resume")(resume.resume)
app.command("list")(list_runs.list_runs)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("stop")(stop.stop)
app.command("eval")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("prune")(prune.prune)
app.command("pin")(pin.pin)
app.command("verify")(verify.verify)
app.command("archive")(archive.archive)
app.command("restore")(restore.restore)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config", no_args_is_help=False)


@dataclass(slots=True)
class GlobalOptions:
    """What stands before the command."""

    is_debug: bool = False


def _show_version(is_asked: bool) -> None:
    if is_asked:
        show.out(f"rlrun {__version__}")
        raise typer.Exit


@app.callback()
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


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; every error is a sentence on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold any byte
    options = GlobalOptions()
    command = typer.main.get_command(app)
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
