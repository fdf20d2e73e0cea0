"""`rlrun pin`: keep a checkpoint from being removed, and a copy of it outside its run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import sentences, show
from rlrun.cli.options import RootOption, complete_run
from rlrun.errors import UsageError
from rlrun.runs import copies, manifest, pins, retention, store
from rlrun.runs.layout import RunDir, find_root, important_checkpoint


def pin(
    name: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's name.", autocompletion=complete_run),
    ],
    step: Annotated[int, typer.Argument(metavar="STEP", min=0, help="The checkpoint's step.")],
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Also copy it, verified, to archive/important_checkpoints in the root."
        ),
    ] = False,
    unpin: Annotated[
        bool, typer.Option("--unpin", help="Let the rules decide about it again.")
    ] = False,
    root: RootOption = None,
) -> None:
    """Keep a checkpoint of a run for good, also while a session trains.

    Exit codes: 0 also if it was pinned, or copied, before; 4 if it is not there or another copy is
    in the way; 6 if it does not verify.
    """
    if copy and unpin:
        raise UsageError("--copy and --unpin exclude each other; give one of them")
    folder = find_root(root)
    run = store.find_run(folder, name)
    if unpin:
        was_there = pins.remove_pin(run, step)
        what = "is no longer pinned" if was_there else "was not pinned"
        show.out(f"step {step} of run '{run.name}' {what}")
        show.hints(sentences.commands_with_root([f"prune {run.name} --dry-run"], root))
        return
    is_new = retention.pin(run, step, run_id=run_id_of(run))
    show.out(f"step {step} of run '{run.name}' {'is' if is_new else 'was already'} pinned")
    if copy:
        show.out(copied(run, step, important_checkpoint(folder, run.name, step)))
    show.hints(sentences.commands_with_root([f"status {run.name}"], root))


def run_id_of(run: RunDir) -> str:
    """Return the run's id, empty for another tool's run: no step of ours belongs to it."""
    return store.read_identity(run).id if run.identity.is_file() else ""


def copied(run: RunDir, step: int, target: Path) -> str:
    """Copy a step that is pinned, unless that was done; return what there is to say of it."""
    source = run.step(step)
    has_manifest = (source / manifest.FILE_NAME).is_file()
    with pins.hold(source) if has_manifest else nullcontext():
        is_new = copies.copy_whole(source, target)
    return f"copied and verified: {target}" if is_new else f"the same copy is there: {target}"
