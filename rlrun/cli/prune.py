"""`rlrun prune`: remove the checkpoints that no rule keeps."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlrun.cli import archive_options as given
from rlrun.cli import options, prune_remote, sentences, show, text
from rlrun.cli.archive_options import Reach
from rlrun.cli.config import aligned
from rlrun.cli.options import JsonOption, RootOption, RunArgument
from rlrun.errors import EXIT_DONE, EXIT_STOPPED_NOW, UsageError
from rlrun.runs import store, tidying
from rlrun.runs.layout import RunDir, find_root
from rlrun.runs.retention import Fate, Rules
from rlrun.sessions import state

LatestOption = Annotated[
    int | None,
    typer.Option(
        "--keep-latest",
        metavar="N",
        min=1,
        help="The newest N stay; saving.keep_latest if not given.",
        show_default=False,
    ),
]
EveryOption = Annotated[
    int | None,
    typer.Option(
        "--keep-every",
        metavar="N",
        min=1,
        help="Those of steps divisible by N stay; saving.keep_every if not given.",
        show_default=False,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
]


def prune(
    name: RunArgument = None,
    keep_latest: LatestOption = None,
    keep_every: EveryOption = None,
    dry_run: DryRunOption = False,
    is_remote: given.RemoteOption = False,
    to: given.ToOption = None,
    credentials: given.CredentialsOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Remove the checkpoints of a run that no rule keeps.

    The newest stays in any case, and so do pinned ones, those in use, those that do not verify, and
    other tools'.  Nothing goes before as many newer ones as are to stay were read in full.

    With --remote nothing goes here: what broken pushes left in an archive does, once it is older
    than a day, of RUN, or of all runs there.  No checkpoint is removed from an archive.

    Exit codes: 0 also if there was nothing to remove, 2 without any rule, 5 while a session holds
    the run, 13 the archive cannot be reached.
    """
    given.refuse_without("--remote", is_given=is_remote, to=to, credentials=credentials)
    if not is_remote:
        return prune_here(name, keep_latest, keep_every, root, is_dry_run=dry_run, as_json=as_json)
    if keep_latest is not None or keep_every is not None:
        raise UsageError(
            "--keep-latest and --keep-every are about checkpoints here, none is removed from an "
            "archive; leave them out, or leave --remote out"
        )
    reach = Reach(to, credentials, root=root)
    return prune_remote.prune_remote(name, reach, is_dry_run=dry_run, as_json=as_json)


def prune_here(
    name: str | None,
    keep_latest: int | None,
    keep_every: int | None,
    root: Path | None,
    *,
    is_dry_run: bool,
    as_json: bool,
) -> int:
    """Remove the checkpoints of a run here that no rule keeps, or say which."""
    run = store.find_run(find_root(root), name)
    options.require_ours(run)
    rules = tidying.rules_of(run, keep_latest, keep_every)
    run_id = store.read_identity(run).id
    try:
        done = (
            tidying.survey(run, run_id, rules) if is_dry_run else tidying.prune(run, run_id, rules)
        )
    except KeyboardInterrupt:
        show.talk(f"stopped; the next 'rlrun prune {run.name}' or session finishes what was begun")
        return EXIT_STOPPED_NOW
    fates = done.fates
    if done.note:
        show.talk(done.note)
    if as_json:
        show.json_result(as_data(run, rules, fates, is_dry_run=is_dry_run))
        return EXIT_DONE
    for line in aligned([row(fate, is_dry_run=is_dry_run) for fate in fates]):
        show.out(line)
    show.out(summary(run.name, fates, is_dry_run=is_dry_run))
    asked = Rules(keep_latest, keep_every) if is_dry_run and freed_bytes(fates) else None
    show.hints(next_commands(run, root, asked))
    return EXIT_DONE


def as_data(
    run: RunDir, rules: Rules, fates: Sequence[Fate], *, is_dry_run: bool
) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "run": run.name,
        "rules": asdict(rules),
        "is_dry_run": is_dry_run,
        "freed_bytes": freed_bytes(fates),
        "checkpoints": [asdict(fate) for fate in fates],
    }


def freed_bytes(fates: Sequence[Fate]) -> int:
    """Return the bytes of what goes."""
    return sum(fate.num_bytes for fate in fates if fate.goes)


def row(fate: Fate, *, is_dry_run: bool) -> tuple[str, ...]:
    """Return the cells of a checkpoint."""
    removed = "would go" if is_dry_run else "removed"
    word = removed if fate.goes else "stays"
    return (f"step {fate.step}", word, text.size(fate.num_bytes), fate.reason)


def summary(name: str, fates: Sequence[Fate], *, is_dry_run: bool) -> str:
    """Return what was freed, or would be, as one line."""
    going = [fate for fate in fates if fate.goes]
    if not going:
        return f"run '{name}': nothing to remove of {text.count(len(fates), 'checkpoint')}"
    verb, freed = ("would remove", "would free") if is_dry_run else ("removed", "freed")
    size = text.size(freed_bytes(fates))
    of_all = text.count(len(fates), "checkpoint")
    return f"run '{name}': {verb} {len(going)} of {of_all}, {freed} {size}"


def next_commands(run: RunDir, root: Path | None, dry: Rules | None) -> list[str]:
    """Return the commands that come next; `dry` is what the command line of a dry run gave."""
    if dry is None:
        return sentences.next_commands(run, state.summarise(run).status, root)[:1]
    options = (("--keep-latest", dry.keep_latest), ("--keep-every", dry.keep_every))
    words = [f" {name} {value}" for name, value in options if value is not None]
    return sentences.commands_with_root([f"prune {run.name}{''.join(words)}"], root)
