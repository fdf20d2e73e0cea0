"""`rlrun stop`: end the session that works on a run, with everything saved."""

from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import sentences, show
from rlrun.cli.options import RootOption, RunArgument
from rlrun.errors import NothingToDoError
from rlrun.runs import lock, store
from rlrun.runs.layout import RunDir, find_root, runs_folder
from rlrun.sessions import control, state


def stop(
    name: RunArgument = None,
    now: Annotated[
        bool, typer.Option("--now", help="Finish and save nothing more; the journal has it.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for its end."),
    ] = 600.0,
    root: RootOption = None,
) -> None:
    """Stop the session that works on a run.

    Waits until it has saved and ended.  Without a name it is the most recently active run that
    somebody works on.

    Exit codes: 0 stopped, 5 not in time or out of reach, 7 nobody works on it.
    """
    folder = find_root(root)
    run = running_run(folder) if name is None else store.find_run(folder, name)
    holder = control.request_stop(run, at_once=now)
    what = "at once" if now else "finishing what is needed and saving"
    show.talk(f"stopping run '{run.name}', session {holder.session}, pid {holder.pid}: {what}")
    try:
        session = control.wait_until_stopped(run, holder, timeout_seconds=timeout)
    except KeyboardInterrupt:
        show.talk("left; the session still stops")
        show.hints(sentences.next_commands(run, "running", root)[:1])
        return
    end = session.end if session else None
    why = sentences.outcome(end) if session else "stopped before it began"
    at_step = f" at step {end.step}" if end else ""
    show.out(f"run '{run.name}'{at_step}: {why}")
    show.hints(sentences.next_commands(run, state.look(run)[0], root))


def running_run(root: Path) -> RunDir:
    """Return the most recently active run that a session holds; NothingToDoError if none is."""
    holders = ((run, lock.find_holder(run)) for run in store.list_runs(root))
    held = [run for run, holder in holders if holder is not None and holder.is_session]
    if not held:
        raise NothingToDoError(
            f"no run in {runs_folder(root)} is running; 'rlrun list' shows what there is"
        )
    return max(held, key=lambda run: (store.last_active(run), run.name))
