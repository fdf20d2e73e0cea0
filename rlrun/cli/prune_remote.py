"""`rlrun prune --remote`: remove what broken pushes left in an archive."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from rlrun.archive import catalog
from rlrun.archive.remote_prune import RemotePruned, RemotePruner
from rlrun.cli import archive_options as given
from rlrun.cli import sentences, show, text
from rlrun.cli.archive_options import Archive, Archives, Reach
from rlrun.cli.batch import Batch
from rlrun.cli.config import aligned
from rlrun.errors import EXIT_DONE, EXIT_STOPPED_NOW, RunNotFoundError
from rlrun.runs.layout import RunDir, check_name, find_root, runs_folder


def prune_remote(name: str | None, reach: Reach, *, is_dry_run: bool, as_json: bool) -> int:
    """Remove, or say what would go, from one run in an archive, or from all of them."""
    found: dict[str, RemotePruned] = {}
    with given.Archives() as archives:
        place = open_for(name, reach, archives)
        names = names_of(place, name)
        batch = Batch(len(names), reach.root)
        try:
            for one in names:
                batch.attempt(one, partial(work, place, one, found, is_dry_run=is_dry_run))
        except KeyboardInterrupt:
            show.talk("stopped: whatever a checkpoint needs is there; the same command goes on")
            return EXIT_STOPPED_NOW
    if as_json:
        runs = [asdict(one) for one in found.values()]
        show.json_result({"archive": place.place, "is_dry_run": is_dry_run, "runs": runs})
    else:
        for pruned in found.values():
            show_pruned(pruned, place, is_dry_run=is_dry_run)
    batch.conclude()
    if not as_json:
        show.hints(next_commands(name, reach, list(found.values()), is_dry_run=is_dry_run))
    return EXIT_DONE


def open_for(name: str | None, reach: Reach, archives: Archives) -> Archive:
    """Return the archive, of which the run here may know more than the command line says."""
    if name is None:
        return archives.open(reach, None)
    run = RunDir(runs_folder(find_root(reach.root)) / check_name(name))
    return archives.open_for_run(run, reach)


def names_of(place: Archive, name: str | None) -> list[str]:
    """Return the runs in an archive, or the one that is named; RunNotFoundError if it is none."""
    known = catalog.run_names(place.storage)
    if name is None:
        return [one for one in known if catalog.has_folders(place.storage, one)]
    if name not in known:
        shown = ", ".join(known[:10]) or "no run at all"
        raise RunNotFoundError(f"there is no run '{name}' in {place.place}; it has {shown}")
    return [name]


def work(place: Archive, name: str, found: dict[str, RemotePruned], *, is_dry_run: bool) -> None:
    """Prune one run in the archive, or find out what would go."""
    pruner = RemotePruner(place.storage, name)
    found[name] = pruner.survey(time.time()) if is_dry_run else pruner.prune()


def show_pruned(found: RemotePruned, place: Archive, *, is_dry_run: bool) -> None:
    """Show what went from a run, or would."""
    word = "would go" if is_dry_run else "removed"
    rows = [(one.key, word, text.size(one.num_bytes), one.what) for one in found.leftovers]
    for line in aligned(rows):
        show.out(line)
    show.sentence(summary(found, place, is_dry_run=is_dry_run))


def summary(found: RemotePruned, place: Archive, *, is_dry_run: bool) -> str:
    """Return what was freed, or would be, as one line."""
    young = f"; {text.count(found.num_too_young, 'object')} younger than a day stay for now"
    rest = young if found.num_too_young else ""
    where = f"run '{found.run_name}' in {place.place}"
    if not found.leftovers:
        return f"{where}: nothing to remove{rest}"
    verb, freed = ("would remove", "would free") if is_dry_run else ("removed", "freed")
    size = text.size(sum(one.num_bytes for one in found.leftovers))
    return f"{where}: {verb} {text.count(len(found.leftovers), 'leftover')}, {freed} {size}{rest}"


def next_commands(
    name: str | None, reach: Reach, found: Sequence[RemotePruned], *, is_dry_run: bool
) -> list[str]:
    """Return the commands that come next: a dry run's for real, else what is there now."""
    which = f" {shlex.quote(name)}" if name else ""
    if is_dry_run and any(one.leftovers for one in found):
        commands = [f"prune{which} --remote{reach.words}"]
    else:
        commands = [f"list --remote{reach.words}"]
    return sentences.commands_with_root(commands, reach.root)
