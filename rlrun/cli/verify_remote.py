"""`rlrun verify --remote`: whether an archive still holds all that was sent of a run."""

from dataclasses import asdict
from typing import Any

from rlrun.archive.remote_check import Checker, Depth, RemoteCheck, RemoteFinding
from rlrun.cli import archive_options as given
from rlrun.cli import sentences, show, text, transfer_view
from rlrun.cli.archive_options import Archive, Reach
from rlrun.errors import EXIT_DONE, EXIT_STOPPED_NOW, DamagedError
from rlrun.runs import store
from rlrun.runs.layout import RunDir, check_name, find_root, runs_folder

_HEADER = ("CHECKPOINT", "STATE", "FILES", "SIZE")
_LOOKED_AT: dict[Depth, str] = {
    "sizes": "sizes compared ({who} computes no checksums; --read-data reads every byte)",
    "checksums": "sizes and the checksums that the store computed compared (--read-data reads "
    "every byte)",
    "data": "every byte read",
}


def verify_remote(name: str | None, reach: Reach, *, is_reading: bool, as_json: bool) -> int:
    """Check a run in an archive, whether it is here or not; DamagedError if something is missing.

    Without a name it is the most recently active run here.
    """
    root = find_root(reach.root)
    run = (
        store.find_run(root, None) if name is None else RunDir(runs_folder(root) / check_name(name))
    )
    with given.Archives() as archives:
        place = archives.open_for_run(run, reach)
        show.talk(f"run '{run.name}': checking in {place.place}")
        with transfer_view.watched(f"run '{run.name}'") as view:
            checker = Checker(place.storage, run.name, is_reading, place.transfers, view.progress)
            try:
                found = checker.check()
            except KeyboardInterrupt:
                view.stopped("nothing was changed")
                return EXIT_STOPPED_NOW
    if as_json:
        show.json_result(as_data(run.name, place, found))
    else:
        show_check(run.name, found)
    if found.damage:
        raise DamagedError(refusal(run.name, place, found))
    if not as_json:
        show.sentence(summary(run.name, place, found))
        show.hints(sentences.commands_with_root(next_commands(run, place), reach.root))
    return EXIT_DONE


def as_data(name: str, place: Archive, found: RemoteCheck) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "run": name,
        "archive": place.place,
        "is_whole": not found.damage,
        "looked_at": found.depth,
        "num_objects": found.num_objects,
        "num_bytes": found.num_bytes,
        "checkpoints": [asdict(one) for one in found.steps],
        "findings": [asdict(one) for one in found.findings],
    }


def show_check(name: str, found: RemoteCheck) -> None:
    """Show a row for each checkpoint, and a line for each finding."""
    rows = [
        (
            f"step {one.step}",
            "whole" if one.is_whole else "damaged",
            str(one.num_files),
            text.size(one.num_bytes),
        )
        for one in found.steps
    ]
    if rows:
        show.table(_HEADER, rows)
    for finding in found.findings:
        show.out(line_of(name, finding))


def line_of(name: str, finding: RemoteFinding) -> str:
    """Return a finding as a line: what, and where."""
    return f"{finding.severity}: {name}/{finding.key}: {finding.what}"


def refusal(name: str, place: Archive, found: RemoteCheck) -> str:
    """Return the error's sentence, after every finding was shown."""
    whole = [one.step for one in found.steps if one.is_whole]
    rest = f"whole are the steps {', '.join(map(str, whole))}" if whole else "no step is whole"
    num_findings = text.count(len(found.damage), "finding")
    return (
        f"run '{name}' is damaged in {place.place} ({num_findings} above; {rest}); where the run "
        f"is still on disk, 'rlrun archive {name} --repair{place.words}' sends again what is "
        "missing"
    )


def summary(name: str, place: Archive, found: RemoteCheck) -> str:
    """Return what was looked at of a run that has no damage."""
    amount = (
        f"{text.count(len(found.steps), 'checkpoint')}, {text.count(found.num_objects, 'object')}"
    )
    looked_at = _LOOKED_AT[found.depth].format(who="a folder" if place.folder else "this store")
    return (
        f"run '{name}' is whole in {place.place}: {amount}, {text.size(found.num_bytes)}; "
        f"{looked_at}"
    )


def next_commands(run: RunDir, place: Archive) -> list[str]:
    """Return the commands that come next."""
    if run.identity.is_file():
        return [f"archive {run.name} --cleanup --dry-run{place.words}"]
    return [f"restore {run.name}{given.for_restore(place.words)}"]
