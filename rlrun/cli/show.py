"""Everything that reaches the screen: results on standard output, talk on standard error.

The only module that imports rich.  A stream that is not a terminal gets plain lines, never cut and
without escape codes; NO_COLOR takes the styles away.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlrun.cli import sentences, text
from rlrun.sessions.follow import Progress

_STYLES = {
    "running": "green",
    "finished": "bold",
    "failed": "red",
    "lost": "yellow",
    "damaged": "red",
    "foreign": "dim",
    "valid": "green",
    "whole": "green",
    "valid, pinned": "green",
    "invalid": "red",
}
_GAP = 2  # spaces between columns
_MIN_COLUMNS = 2
_BAR_WIDTH = 30
_LEAST_BAR_WIDTH = 6
_MARGIN = 3  # for the ^C that a terminal writes behind a live line: it may not begin another


class _Console(Console):
    """A console whose reader may leave: the command goes on unseen, its exit code stays true."""

    def on_broken_pipe(self) -> None:
        """Let what is still to be said go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def _console(stream: TextIO) -> Console:
    styled = not os.environ.get("NO_COLOR")
    return _Console(
        file=stream,
        color_system="auto" if styled else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _print_whole(console: Console, line: str | Text) -> None:
    """Print a line that may be copied: the terminal breaks it, we do not."""
    console.print(line, soft_wrap=True)


def _print_sentence(console: Console, line: str | Text) -> None:
    """Print a line that is read: between words on a terminal, whole elsewhere."""
    console.print(line, soft_wrap=not console.is_terminal)


def out(line: str) -> None:
    """Show one line of the result."""
    _print_whole(_console(sys.stdout), line)


def sentence(line: str) -> None:
    """Show one sentence of the result, which is read and not copied."""
    _print_sentence(_console(sys.stdout), line)


def talk(line: str) -> None:
    """Say one sentence about what is going on."""
    _print_sentence(_console(sys.stderr), line)


def warn(line: str) -> None:
    """Say one sentence that should not be missed."""
    _print_sentence(_console(sys.stderr), _warning(line))


def error(line: str) -> None:
    """Say why the command failed."""
    _print_sentence(_console(sys.stderr), Text.assemble(("error: ", "bold red"), line))


def _warning(line: str) -> Text:
    return Text.assemble(("warning: ", "bold yellow"), line)


def json_result(value: Mapping[str, Any]) -> None:
    """Show the result as JSON."""
    out(json.dumps(value, indent=2, allow_nan=False))


def json_error(value: Mapping[str, Any]) -> None:
    """Say why the command failed, as one line of JSON."""
    _print_whole(_console(sys.stderr), json.dumps(value))


def hints(commands: Sequence[str]) -> None:
    """Say which commands are likely to come next."""
    for number, command in enumerate(commands):
        label = "next:" if number == 0 else "     "
        _print_whole(_console(sys.stderr), f"{label} {command}")


def curve(values: Sequence[float]) -> str:
    """Return a small curve in characters that standard output can show."""
    return text.sparkline(values, is_ascii=_console(sys.stdout).options.ascii_only)


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Show labels and values, the values below each other."""
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        out(f"{label:<{width}}  {value}".rstrip())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show rows under a header, the most important columns first.

    On a terminal the columns that do not fit are left out from the right, and that is said.
    """
    console = _console(sys.stdout)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if not console.is_terminal:
        for row in (header, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            _print_whole(console, (" " * _GAP).join(cells).rstrip())
        return
    num_columns = num_fitting(widths, console.width)
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for name in header[:num_columns]:
        grid.add_column(name, no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row[:num_columns]))
    console.print(grid)
    if num_columns < len(header):
        hidden = text.count(len(header) - num_columns, "column")
        talk(f"({hidden} hidden; widen the terminal, or use --json)")


def num_fitting(widths: Sequence[int], available: int) -> int:
    """Return how many of the columns, from the left, fit into the width; at least two."""
    num_columns = len(widths)
    while num_columns > _MIN_COLUMNS and sum(widths[:num_columns]) + _GAP * num_columns > available:
        num_columns -= 1
    return num_columns


class View(Protocol):
    """Where a session is shown while it works."""

    has_step_lines: bool  # whether each step is to be said as a line

    def __enter__(self) -> "View": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Say a line that stays."""
        ...

    def warn(self, line: str) -> None:
        """Say a line that stays and should not be missed."""
        ...

    def update(self, progress: Progress) -> None:
        """Show where the session is."""
        ...


def session_view(title: str, num_groups: int | None) -> View:
    """Return a live view on a terminal, else one that says a line a step.

    `num_groups` is how many groups make a batch, if that is known.
    """
    console = _console(sys.stderr)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console, title, num_groups)
    return PlainView(console)


class PlainView:
    """Lines only, for logs and pipes."""

    has_step_lines = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Say a line."""
        _print_sentence(self._console, line)

    def warn(self, line: str) -> None:
        """Say a warning."""
        _print_sentence(self._console, _warning(line))

    def update(self, progress: Progress) -> None:
        """Do nothing: the lines have said it."""


class LiveView:
    """A few lines at the bottom of the terminal that keep up with the session."""

    has_step_lines = False

    def __init__(self, console: Console, title: str, num_groups: int | None) -> None:
        self._console = console
        self._title = title
        self._num_groups = num_groups
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveView":
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def say(self, line: str) -> None:
        """Say a line above the live ones."""
        _print_sentence(self._console, line)

    def warn(self, line: str) -> None:
        """Say a warning above the live lines."""
        _print_sentence(self._console, _warning(line))

    def update(self, progress: Progress) -> None:
        """Draw the live lines again."""
        is_ascii = self._console.options.ascii_only
        drawing = live_lines(progress, self._title, self._num_groups, is_ascii=is_ascii)
        self._live.update(drawing, refresh=True)


def live_lines(
    progress: Progress, title: str, num_groups: int | None, *, is_ascii: bool
) -> RenderableType:
    """Return the live lines of a session."""
    if progress.start is None:
        what = sentences.LOADING if progress.opening else sentences.STARTING
        return Text(f"{title}: {what}")
    start = progress.start
    head = Table.grid(padding=(0, 1))
    head.add_column(overflow="crop", no_wrap=True)
    head.add_row(
        Text(f"step {text.fraction(progress.step, start.target_step)}", "bold"),
        ProgressBar(start.target_step, progress.step, width=_BAR_WIDTH),
    )
    facts = Text(sentences.live_facts(progress, num_groups), overflow="fold")
    if not progress.rewards:
        return Group(head, facts)
    reward = Text.assemble(
        f"reward {text.number(progress.rewards[-1])} ",
        (text.sparkline(progress.rewards, is_ascii=is_ascii), "cyan"),
        overflow="crop",
        no_wrap=True,
    )
    return Group(head, reward, facts)


def meter() -> "Meter":
    """Return a live line with a bar on a terminal, else nothing but the lines that are said."""
    return Meter(_console(sys.stderr))


class Meter:
    """How far some work is: one live line, and lines above it that stay."""

    def __init__(self, console: Console) -> None:
        self.is_live = console.is_terminal and not console.is_dumb_terminal
        self._console = console
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Meter":
        if self.is_live:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.is_live:
            self._live.__exit__(kind, error, traceback)

    def say(self, line: str) -> None:
        """Say a line that stays."""
        _print_sentence(self._console, line)

    def warn(self, line: str) -> None:
        """Say a line that stays and should not be missed."""
        _print_sentence(self._console, _warning(line))

    def update(self, title: str, done: int, total: int, facts: str, amounts: str = "") -> None:
        """Draw the live line again; no bar while the total is 0.

        `amounts` says how much of how much, if that is no plain number.
        """
        if not self.is_live:
            return
        width = self._console.width - _MARGIN
        cells: list[RenderableType] = [Text(title, "bold")]
        if total:
            words = f"{amounts or text.fraction(done, total)} | {facts}"
            room = width - len(title) - len(words) - 2
            if room >= _LEAST_BAR_WIDTH:
                cells.append(ProgressBar(total, done, width=min(room, _BAR_WIDTH)))
            cells.append(Text(words))
        line = Table.grid(padding=(0, 1))
        for _ in cells:
            line.add_column(overflow="crop", no_wrap=True)
        line.add_row(*cells)
        self._live.update(Constrain(line, max(1, width)), refresh=True)
