"""`rlrun restore`: bring a run, some of its checkpoints, or a model alone back from an archive."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rlrun.archive.lineage import Which
from rlrun.archive.restore import Restored, Restorer, named
from rlrun.cli import archive_options as given
from rlrun.cli import sentences, show, text, transfer_view
from rlrun.cli.archive_options import FROM, Archive, Reach
from rlrun.cli.options import JsonOption, RootOption
from rlrun.cli.transfer_view import TransferView
from rlrun.errors import EXIT_DONE, EXIT_STOPPED_NOW, RunNotFoundError, UsageError
from rlrun.runs import archived, checkpoints
from rlrun.runs.layout import RunDir, check_name, find_root, runs_folder

StepOption = Annotated[
    str,
    typer.Option("--step", metavar="STEP", help="latest, all, or a checkpoint's step."),
]
ModelOption = Annotated[
    bool,
    typer.Option("--model-only", help="Only model/ of one step, to archive/models in the root."),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Another name for what is restored.", show_default=False
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Move what differs here aside, to archive/replaced in the root."),
]
_GOES_ON = "what was fetched is kept; the same command goes on"


def restore(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run's name in the archive.")],
    from_archive: given.FromOption = None,
    step: StepOption = "latest",
    model_only: ModelOption = False,
    as_name: NameOption = None,
    is_forced: ForceOption = False,
    transfers: given.TransfersOption = None,
    credentials: given.CredentialsOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Bring a run back from an archive: its records, its evaluations and its newest checkpoint.

    Every byte is checked before any of it is seen.  What is here already is not fetched again, and
    nothing here is overwritten: what differs is refused, or moved aside with --force.

    Exit codes: 0 it is there, 4 the archive has no such run or step, or what is here differs, 5 the
    run is held, 6 what came does not verify, 13 the archive cannot be reached, 130 stopped.
    """
    which = which_of(step)
    reach = Reach(from_archive, credentials, transfers, root, FROM)
    run = RunDir(runs_folder(find_root(root)) / check_name(name))
    title = f"run '{name}'"
    with given.Archives() as archives:
        place = archives.open_for_run(run, reach)
        show.talk(f"{title}: restoring from {place.place}")
        with transfer_view.watched(title) as view:
            restorer = Restorer(
                place.storage,
                find_root(root),
                name,
                as_name,
                is_forced,
                place.transfers,
                view.progress,
            )
            try:
                if model_only:
                    model = restorer.restore_model(model_step_of(which))
                else:
                    done = restorer.restore(which)
            except KeyboardInterrupt:
                view.stopped(_GOES_ON)
                return EXIT_STOPPED_NOW
    if model_only:
        show_model(Model(name, place.place, model), run, reach, as_json=as_json)
    else:
        show_run(done, name, place, view, reach, as_json=as_json)
    return EXIT_DONE


def which_of(text: str) -> Which:
    """Return which checkpoints are meant; UsageError if none can be."""
    words: dict[str, Which] = {"latest": "latest", "all": "all"}
    if text in words:
        return words[text]
    if not text.isdecimal():
        raise UsageError(f"--step takes a step's number, 'latest' or 'all', not {text!r}")
    return int(text)


def model_step_of(which: Which) -> int | None:
    """Return the step whose model is meant, None for the newest."""
    if which == "all":
        raise UsageError("--model-only restores one model; give --step N, or leave --step out")
    return None if which == "latest" else which


def show_run(
    done: Restored, name: str, place: Archive, view: TransferView, reach: Reach, *, as_json: bool
) -> None:
    """Show what was restored of a run."""
    if as_json:
        show.json_result(as_data(done, name, place, view))
        return
    for note in done.notes:
        show.talk(note)
    show.sentence(summary(done, view))
    show.out(f"directory  {done.run.path}")
    show.hints(
        sentences.commands_with_root(
            [f"resume {done.run.name}", f"status {done.run.name}"], reach.root
        )
    )


def summary(done: Restored, view: TransferView) -> str:
    """Return what was restored, as one line."""
    found = []
    if done.new_steps:
        found.append(f"{named(done.new_steps)} fetched")
    if done.known_steps:
        found.append(f"{named(done.known_steps)} here already")
    what = ", ".join(found) or "no checkpoint yet"
    is_there = "is here again" if done.is_new else "is up to date"
    moved = f"{text.size(view.progress.done_bytes)} in {text.duration(view.seconds)}"
    return f"run '{done.run.name}' {is_there}: {what} ({moved})"


def as_data(done: Restored, name: str, place: Archive, view: TransferView) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    return {
        "run": done.run.name,
        "archived_as": name,
        "archive": place.place,
        "directory": str(done.run.path),
        "is_new": done.is_new,
        "new_steps": list(done.new_steps),
        "known_steps": list(done.known_steps),
        "notes": list(done.notes),
        "num_bytes": view.progress.done_bytes,
        "seconds": view.seconds,
    }


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was restored by itself."""

    run_name: str
    place: str
    folder: Path


def show_model(model: Model, run: RunDir, reach: Reach, *, as_json: bool) -> None:
    """Show where a model is, and how it is scored."""
    if as_json:
        facts = {"run": model.run_name, "archive": model.place, "directory": str(model.folder)}
        show.json_result(facts)
        return
    show.out(f"the model is in {model.folder}")
    path = shlex.quote(str(model.folder))
    is_here = run.config.is_file()
    whose = f"eval {run.name} --ckpt-path {path}"
    command = whose if is_here else f"eval --ckpt-path {path} --config RECIPE"
    show.hints(sentences.commands_with_root([command], reach.root))


def bring_back(run: RunDir, steps: Sequence[int], reach: Reach, *, is_asked: bool) -> bool:
    """Have these steps here, if an archive has them; return False if the user stops that.

    Raises RunNotFoundError for one that is in an archive only, unless it is asked for.
    """
    here = set(checkpoints.list_steps(run))
    known = {copy.step: copy for copy in archived.copies(run).values()}
    with given.Archives() as archives:
        for step in (one for one in steps if one not in here):
            copy = known.get(step)
            if is_asked:
                if not fetch(run, step, archives.open_for_run(run, reach, copy)):
                    return False
            elif copy is not None:
                raise RunNotFoundError(
                    f"step {step} of run '{run.name}' is not here but in {copy.place}; add "
                    "--restore to fetch it first"
                )
    return True


def fetch(run: RunDir, step: int, place: Archive) -> bool:
    """Restore one step of a run; return False if the user stops that."""
    root = run.path.parent.parent
    show.talk(f"run '{run.name}': restoring step {step} from {place.place}")
    with transfer_view.watched(f"run '{run.name}'") as view:
        restorer = Restorer(
            place.storage, root, run.name, transfers=place.transfers, progress=view.progress
        )
        try:
            restorer.restore(step)
        except KeyboardInterrupt:
            view.stopped(_GOES_ON)
            return False
    moved = f"{text.size(view.progress.done_bytes)} in {text.duration(view.seconds)}"
    show.talk(f"run '{run.name}': step {step} is here again ({moved})")
    return True
