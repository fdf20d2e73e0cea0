"""What an archive holds of each run, and whether that is here as well: names alone are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlrun.archive import catalog
from rlrun.archive.catalog import Catalog
from rlrun.archive.storage import Storage
from rlrun.errors import DamagedError, MissingObjectError
from rlrun.runs import checkpoints, store
from rlrun.runs.layout import RunDir, runs_folder

Here = Literal["yes", "partly", "no", "another run"]
"""All checkpoints that the archive holds are here too; some are not; the run is not here; or what
is here under its name is another run."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One run in an archive."""

    run_name: str
    steps: tuple[int, ...]  # ascending; a step that was saved twice stands twice
    num_bytes: int  # of the checkpoints, and of the records as they stood last
    has_records: bool
    here: Here


def survey(storage: Storage, root: Path) -> list[Holding]:
    """Return what an archive holds, by name of the run; what is no run's is left out."""
    found = (of_run(storage, root, name) for name in catalog.run_names(storage))
    return [
        one
        for one in found
        if one.steps or one.has_records or catalog.has_folders(storage, one.run_name)
    ]


def of_run(storage: Storage, root: Path, run_name: str) -> Holding:
    """Return what an archive holds of one run; nothing, if it knows none of that name."""
    found = catalog.read(storage, run_name)
    newest = found.newest_records
    num_bytes = sum(one.num_bytes for one in found.steps) + (newest.num_bytes if newest else 0)
    steps = tuple(one.step for one in found.steps)
    here = _here(storage, found, RunDir(runs_folder(root) / run_name))
    return Holding(run_name, steps, num_bytes, newest is not None, here)


def _here(storage: Storage, found: Catalog, run: RunDir) -> Here:
    if not run.identity.is_file():
        return "another run" if store.is_run(run.path) else "no"
    try:
        run_id = store.read_identity(run).id
    except DamagedError:  # 'rlrun list' tells of that
        return "partly"
    numbers = {one.step for one in found.steps} & set(checkpoints.list_steps(run))
    steps = [
        checkpoints.inspect(run, number, run_id=run_id, with_hashes=False) for number in numbers
    ]
    both = [
        one
        for one in steps
        if one.manifest and found.of_hash(one.step, one.manifest["manifest_hash"])
    ]
    if not both and not _is_same(storage, found, run_id):
        return "another run"
    return "yes" if len(both) == len(found.steps) else "partly"


def _is_same(storage: Storage, found: Catalog, run_id: str) -> bool:
    """Return whether an archive's run is the one here, as its records say; True if none does."""
    key = found.newest_records or next(iter(found.steps), None)
    if key is None:
        return True
    try:
        return catalog.fetch(storage, found.run_name, key).run_id == run_id
    except (DamagedError, MissingObjectError):
        return True
