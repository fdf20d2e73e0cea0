"""`rlrun logs`: the steps that a run has taken, or what its worker printed."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from rlrun.cli import sentences, show
from rlrun.cli.options import JsonOption, RootOption, RunArgument
from rlrun.runs import jsonl, ledger, lock, store
from rlrun.runs.layout import RunDir, find_root
from rlrun.sessions import state
from rlrun.sessions.follow import POLL_SECONDS
from rlrun.sessions.tail import Tail

_PATIENCE_SECONDS = 60.0
"""How long -f waits for a session to begin: a worker imports torch before it takes the run."""


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

    Exit codes: see 'rlrun --help'.
    """
    run = store.find_run(find_root(root), name)
    path = run.worker_log if worker else run.train_log
    tail = Tail(path, num_last_lines=count)
    is_step = not worker and not as_json
    max_steps = state.summarise(run).max_steps
    lines = follow_lines(run, tail) if follow else iter(tail.read())
    is_empty = True
    try:
        for line in lines:
            is_empty = False
            show.out(_shown(line, max_steps) if is_step else line.decode(errors="replace"))
    except KeyboardInterrupt:
        show.talk("left; a session that is running goes on")
    if is_empty:
        show.talk(f"{path} has nothing yet")
    show.hints(sentences.next_commands(run, state.summarise(run).status, root)[-1:])


def _shown(line: bytes, max_steps: int | None) -> str:
    record: jsonl.Record = json.loads(line)
    return sentences.step_line(record, max_steps) if "step" in record else line.decode()


def follow_lines(
    run: RunDir,
    tail: Tail,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the lines that come until nobody holds the run; wait a minute for somebody to begin."""
    yield from tail.read()
    deadline = clock() + _PATIENCE_SECONDS
    while lock.find_holder(run) is None and _may_begin(run) and clock() < deadline:
        sleep(POLL_SECONDS)
    is_held = True
    while is_held:
        is_held = lock.find_holder(run) is not None
        yield from tail.read()
        if is_held:
            sleep(POLL_SECONDS)


def _may_begin(run: RunDir) -> bool:
    """Return whether a session may be about to begin: not when the run is finished."""
    sessions = ledger.read(run)
    end = sessions[-1].end if sessions else None
    return end is None or end.outcome != "finished"
