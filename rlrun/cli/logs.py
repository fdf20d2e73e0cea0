"""`rlrun logs`: the steps that a run has taken, or what its worker printed."""

import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from rlrun.cli import sentences, show
from rlrun.cli.options import JsonOption, RootOption, RunArgument
from rlrun.errors import error_of
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.layout import RunDir, find_root
from rlrun.sessions import state
from rlrun.sessions.follow import POLL_SECONDS
from rlrun.sessions.tail import Tail

_PATIENCE_SECONDS = 3.0
"""How long -f waits for the first session of a new run to take it."""


def logs(
    name: RunArgument = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the session ends.")
    ] = False,
    worker: Annotated[
        bool, typer.Option("--worker", help="What the worker printed instead of the steps.")
    ] = False,
    count: Annotated[
        int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many lines to begin with.")
    ] = 20,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Show the last steps of a run, one a line.

    Exit codes: 0, or with -f that of a session that failed; the others are in 'rlrun --help'.
    """
    run = store.find_run(find_root(root), name)
    path = run.worker_log if worker else run.train_log
    tail = Tail(path, num_last_lines=count)
    say = show_raw if worker or as_json else StepLines(run, has_saves=follow)
    is_empty = True
    try:
        for line in follow_lines(run, tail) if follow else tail.read():
            is_empty = False
            say(line)
    except KeyboardInterrupt:
        show.talk("left; a session that is running goes on")
        follow = False
    if is_empty:
        show.talk(f"{path} has nothing yet")
    if follow:
        tell_end(run)
    show.hints(sentences.next_commands(run, state.summarise(run).status, root)[-1:])


def show_raw(line: bytes) -> None:
    """Show a line as it stands in the file."""
    show.out(line.decode(errors="replace"))


class StepLines:
    """Shows the records of the training log as lines, and between them what was saved."""

    def __init__(self, run: RunDir, *, has_saves: bool) -> None:
        self._run = run
        self._has_saves = has_saves
        self._saved = checkpoints.linked_step(run)
        self._max_steps: int | None = None

    def __call__(self, line: bytes) -> None:
        """Show one record; one that is no step's is shown as it stands."""
        record = jsonl.decode(line)
        if record is None or "step" not in record:
            show_raw(line)
            return
        if self._max_steps is None:
            self._max_steps = state.summarise(self._run).max_steps
        show.out(sentences.step_line(record, self._max_steps))
        saved = checkpoints.linked_step(self._run)
        if self._has_saves and saved != self._saved:
            show.talk(f"saved step {saved}")
        self._saved = saved


def follow_lines(
    run: RunDir,
    tail: Tail,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the lines that come until nobody holds the run; wait a little for its first session."""
    yield from tail.read()
    deadline = clock() + _PATIENCE_SECONDS
    while not ledger.read(run) and lock.find_holder(run) is None and clock() < deadline:
        sleep(POLL_SECONDS)
    is_held = True
    while is_held:
        is_held = lock.find_holder(run) is not None
        yield from tail.read()
        if is_held:
            sleep(POLL_SECONDS)


def tell_end(run: RunDir) -> None:
    """Say how the last session ended; raises its error if it failed."""
    if not run.identity.is_file():
        return
    status, _, sessions = state.look(run)
    if not sessions:
        show.talk("no session has begun")
        return
    end = sessions[-1].end
    if end is not None and end.outcome == "failed":
        raise error_of(end.exit_code, end.message)
    show.talk(sentences.session_end(sessions[-1], is_running=status == "running"))
