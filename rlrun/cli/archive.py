"""`rlrun archive`: push runs to an archive, and remove here what was proved to be there."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rlrun.archive import destination, forecast
from rlrun.archive.cleanup import Cleaner
from rlrun.archive.push import Pusher
from rlrun.cli import archive_options as given
from rlrun.cli import archive_report, options, sentences, show, transfer_view
from rlrun.cli.archive_options import Archive, Archives, Reach
from rlrun.cli.archive_report import Order, Report
from rlrun.cli.batch import Batch
from rlrun.cli.options import JsonOption, RootOption, complete_run
from rlrun.config.load import load_config
from rlrun.errors import EXIT_DONE, EXIT_STOPPED_NOW, RunNotFoundError, UsageError
from rlrun.evaluation.folder import evaluations_of
from rlrun.runs import store
from rlrun.runs.layout import RunDir, find_root, runs_folder
from rlrun.runs.retention import Rules

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="Names of runs; the most recently active one if none is given.",
        autocompletion=complete_run,
        show_default=False,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every run here that rlrun wrote.")]
CleanupOption = Annotated[
    bool,
    typer.Option("--cleanup", help="Then remove checkpoints here whose copies are proved."),
]
LatestOption = Annotated[
    bool,
    typer.Option("--keep-latest", help="With --cleanup: the newest checkpoint stays; --keep 1."),
]
KeepOption = Annotated[
    int | None,
    typer.Option(
        "--keep",
        metavar="N",
        min=1,
        help="With --cleanup: the newest N stay.  Without it saving.keep_latest and "
        "saving.keep_every say what stays; where neither is set, the newest does.",
        show_default=False,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be sent and what would go; do nothing.")
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair", help="Prove again what is in the archive, and send again what is damaged."
    ),
]


def archive(
    names: RunsArgument = None,
    all_runs: AllOption = False,
    to: given.ToOption = None,
    is_cleaning: CleanupOption = False,
    keep_latest: LatestOption = False,
    keep: KeepOption = None,
    is_repairing: RepairOption = False,
    transfers: given.TransfersOption = None,
    credentials: given.CredentialsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Push runs with their evaluations to an archive: an S3 bucket, or a folder.

    What the archive has already is not sent again, also after a kill.  --cleanup reads every byte
    here once more, asks the archive for every object, and removes only what is proved to be there.

    Exit codes: 0 all is there, 5 a session holds what is to be cleaned up, 13 the archive cannot be
    reached, 14 something has no proved copy and was kept, 130 stopped.
    """
    given.refuse_without("--cleanup", is_given=is_cleaning, keep_latest=keep_latest, keep=keep)
    if keep_latest and keep is not None:
        raise UsageError("--keep-latest and --keep N exclude each other; give one of them")
    reach = Reach(to, credentials, transfers, root)
    keep = 1 if keep_latest else keep
    order = Order(reach, is_cleaning, keep, is_repairing, dry_run, as_json)
    runs = chosen(find_root(root), names or (), is_all=all_runs)
    which = ["--all"] if all_runs else [run.name for run in runs]
    reports = [Report(run.name) for run in runs]
    batch = Batch(len(runs), root)
    try:
        with given.Archives() as archives:
            for run, report in zip(runs, reports, strict=True):
                batch.attempt(run.name, partial(work, order, run, report, archives))
    except KeyboardInterrupt:
        show.hints(sentences.commands_with_root([archive_report.command(which, order)], root))
        return EXIT_STOPPED_NOW
    if as_json:
        show.json_result(archive_report.as_data(reports, order, batch.failures))
    batch.conclude()
    if not as_json:
        show.hints(archive_report.next_commands(runs, which, order))
    return EXIT_DONE


def chosen(root: Path, names: Sequence[str | None], *, is_all: bool) -> list[RunDir]:
    """Return the runs that a command line names; another tool's are named and left alone."""
    if is_all and names:
        raise UsageError("--all and names of runs exclude each other; give one of them")
    if not is_all:
        runs = [store.find_run(root, name) for name in dict.fromkeys(names or [None])]
        for run in runs:
            options.require_ours(run)
        if not names:
            show.talk(f"archiving '{runs[0].name}', the most recently active run")
        return runs
    found = store.list_runs(root)
    ours = [run for run in found if run.identity.is_file()]
    for run in found:
        if run not in ours:
            show.talk(f"run '{run.name}' is another tool's and is left alone")
    if not ours:
        raise RunNotFoundError(
            f"there is no run of rlrun's in {runs_folder(root)}; start one with 'rlrun train'"
        )
    return ours


def work(order: Order, run: RunDir, report: Report, archives: Archives) -> None:
    """Push one run, clean it up if that is asked for, and show what came of both.

    Raises UnprovedError if anything was kept because it is not proved to be in the archive.
    """
    place = archives.open(order.reach, given.settings_of(run))
    report.place = place.place
    if order.is_cleaning:
        warn_of_shared_disk(run, place)
    if order.is_dry_run:
        survey(order, run, place, report)
    else:
        push(order, run, place, report)
    archive_report.show_push(report, order)
    if order.is_cleaning and not order.is_dry_run:
        clean(order, run, place, report)
    archive_report.show_cleanup(report, order)
    archive_report.refuse_doubts(report, order)


def warn_of_shared_disk(run: RunDir, place: Archive) -> None:
    """Say so if the archive is lost together with the run's disk."""
    if place.folder and destination.shares_file_system(place.folder, run.path):
        show.warn(
            f"{place.place} is on the file system that holds run '{run.name}': a copy there is "
            "lost together with it"
        )


def pusher_of(order: Order, run: RunDir, place: Archive) -> Pusher:
    """Return what pushes a run with its evaluations."""
    root = find_root(order.reach.root)
    evaluations = {one.path.name: one.path for one in evaluations_of(root, run.name, None)}
    return Pusher(
        run, root, place.storage, evaluations, place.transfers, is_repairing=order.is_repairing
    )


def rules_of(order: Order, run: RunDir) -> Rules:
    """Return which checkpoints stay here: as many as are asked for, else as the run is set to."""
    if order.keep is not None:
        return Rules(keep_latest=order.keep)
    saving = load_config(str(run.config), ()).config.saving
    return Rules(saving.keep_latest, saving.keep_every) or Rules(keep_latest=1)


def survey(order: Order, run: RunDir, place: Archive, report: Report) -> None:
    """Find out what a push and a cleanup would do."""
    found = forecast.forecast(pusher_of(order, run, place))
    report.sent = archive_report.would_send(found)
    if order.is_cleaning:
        report.rules = rules_of(order, run)
        cleaner = Cleaner(run, place.storage, report.rules, place.transfers)
        report.cleaned = cleaner.survey([step.step for step in found.plan.new_steps])


def push(order: Order, run: RunDir, place: Archive, report: Report) -> None:
    """Push a run, and find out what the archive has of it then."""
    pusher = pusher_of(order, run, place)
    show.talk(f"run '{run.name}': archiving in {place.place}")
    with transfer_view.watched(f"run '{run.name}'") as view:
        pusher.progress = view.progress
        try:
            pushed = pusher.push()
            report.sent = archive_report.sent(pushed, view.seconds, place.storage)
        except KeyboardInterrupt:
            view.stopped(
                "what was sent is kept, nothing here was removed; the same command goes on"
            )
            raise


def clean(order: Order, run: RunDir, place: Archive, report: Report) -> None:
    """Remove checkpoints here whose copies are proved."""
    report.rules = rules_of(order, run)
    with transfer_view.watched(f"run '{run.name}'") as view:
        cleaner = Cleaner(run, place.storage, report.rules, place.transfers, view.progress)
        try:
            report.cleaned = cleaner.clean()
        except KeyboardInterrupt:
            view.stopped("only what was proved was removed; the same command goes on")
            raise
