"""`rlrun verify`: read every byte of a run, and say what is wrong with it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import archive_options as given
from rlrun.cli import options, sentences, show, text, verify_remote
from rlrun.cli.archive_options import Reach
from rlrun.cli.options import JsonOption, RootOption, RunArgument
from rlrun.errors import EXIT_DONE, DamagedError
from rlrun.runs import checkpoints, store, verification
from rlrun.runs.layout import RunDir, find_root
from rlrun.runs.record_checks import Finding
from rlrun.runs.verification import StepCheck, Verification
from rlrun.sessions import state

ReadDataOption = Annotated[
    bool, typer.Option("--read-data", help="With --remote: read every byte, too.")
]
_HEADER = ("CHECKPOINT", "STATE", "FILES", "SIZE")


def verify(
    name: RunArgument = None,
    is_remote: given.RemoteOption = False,
    is_reading: ReadDataOption = False,
    to: given.ToOption = None,
    transfers: given.TransfersOption = None,
    credentials: given.CredentialsOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Check a run: its checkpoints, its journal, its logs.  Mends nothing, needs no lock.

    A note is what the next session mends by itself; damage is what is lost, or what none mends.
    With --remote the run's copy in an archive is checked, also if the run is not here.

    Exit codes: 0 without damage, 6 with, 13 the archive cannot be reached.
    """
    given.refuse_without(
        "--remote",
        is_given=is_remote,
        read_data=is_reading,
        to=to,
        transfers=transfers,
        credentials=credentials,
    )
    if is_remote:
        reach = Reach(to, credentials, transfers, root)
        return verify_remote.verify_remote(name, reach, is_reading=is_reading, as_json=as_json)
    verify_here(name, root, as_json=as_json)
    return EXIT_DONE


def verify_here(name: str | None, root: Path | None, *, as_json: bool) -> None:
    """Read every byte of a run here; DamagedError if something is lost."""
    run = store.find_run(find_root(root), name)
    options.require_ours(run)
    if not as_json:
        size = text.size(checkpoints.num_bytes(run.path))
        show.talk(f"reading run '{run.name}' ({size})")
    found = verification.verify(run)
    if as_json:
        show.json_result(as_data(run, found))
    else:
        show_steps(found.steps)
        for finding in found.findings:
            show.out(line_of(finding))
    if found.damage:
        raise DamagedError(refusal(run, found))
    if not as_json:
        show.out(summary(run, found))
        show.hints(sentences.next_commands(run, state.summarise(run).status, root)[:1])


def as_data(run: RunDir, found: Verification) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "run": run.name,
        "is_whole": not found.damage,
        "num_records": found.num_records,
        "checkpoints": [asdict(one) for one in found.steps],
        "findings": [asdict(finding) for finding in found.findings],
    }


def show_steps(steps: Sequence[StepCheck]) -> None:
    """Show a row for each checkpoint."""
    rows = [
        (f"step {one.step}", one.verdict, str(one.num_files), text.size(one.num_bytes))
        for one in steps
    ]
    if rows:
        show.table(_HEADER, rows)


def line_of(finding: Finding) -> str:
    """Return a finding as a line: what, where, how to mend it."""
    return f"{finding.severity}: {finding.path}: {finding.what}; {finding.remedy}"


def refusal(run: RunDir, found: Verification) -> str:
    """Return the error's sentence, after every finding was shown."""
    places = ", ".join(sorted({finding.path for finding in found.damage}))
    valid = [one.step for one in found.steps if one.verdict == "valid"]
    way_on = (
        f"'rlrun resume {run.name}' would go on from step {valid[-1]}, the newest that verifies"
        if valid
        else "no checkpoint verifies"
    )
    return f"run '{run.name}' is damaged in {places}; {way_on}"


def summary(run: RunDir, found: Verification) -> str:
    """Return what was read of a run that has no damage."""
    num_notes = len(found.findings)
    notes = f", {text.count(num_notes, 'note')}" if num_notes else ""
    return (
        f"run '{run.name}' is whole: {text.count(len(found.steps), 'checkpoint')}, "
        f"{text.count(found.num_records, 'record')}{notes}"
    )
