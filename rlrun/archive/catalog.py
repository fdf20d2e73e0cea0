"""What an archive has of a run, read off the names of its manifests: one list request for 1,000."""

from bisect import bisect_left
from dataclasses import dataclass

from rlrun.archive import keys, manifests
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.manifests import Archived
from rlrun.archive.reading import read_whole
from rlrun.archive.storage import Storage, Stored
from rlrun.errors import ArchiveError, DamagedError, RunNotFoundError

_NUM_LISTINGS = 4  # at most, until two agree


@dataclass(frozen=True, slots=True)
class Catalog:
    """The manifests of one run in an archive."""

    run_name: str
    steps: tuple[StepKey, ...]  # ascending
    records: tuple[RecordsKey, ...]  # ascending
    marks: tuple[Stored, ...]  # of prunes at work
    owners: frozenset[str]  # ids of the runs that have claimed the name: one
    names: frozenset[str]  # of all manifests, and what else is beside them

    @property
    def manifests(self) -> frozenset[str]:
        """The names of all manifests."""
        return frozenset(name for name in self.names if keys.parse_manifest(name) is not None)

    @property
    def newest_records(self) -> RecordsKey | None:
        """The records as they stood at the last push."""
        return self.records[-1] if self.records else None

    def of_hash(self, step: int, manifest_hash: str) -> StepKey | None:
        """Return the archived checkpoint that has this manifest, None if there is none."""
        wanted = (step, manifest_hash[: keys.HASH_CHARS])
        place = bisect_left(self.steps, StepKey(*wanted, session=0, num_bytes=0))
        found = self.steps[place : place + 1]
        return next((one for one in found if (one.step, one.short_hash) == wanted), None)

    def __bool__(self) -> bool:
        return bool(self.steps or self.records)


def read(storage: Storage, run_name: str) -> Catalog:
    """Return what an archive has of a run; of one that it does not know, nothing.

    A name that is no manifest's is somebody's own file, or one that was spoiled on the way: then it
    is not there when it is asked for again.  Raises ArchiveError if listings keep differing.
    """
    found, strange = _read_once(storage, run_name)
    for _ in range(_NUM_LISTINGS):
        if not strange:
            return found
        again, still_strange = _read_once(storage, run_name)
        if again == found:
            return found
        found, strange = again, still_strange
    raise ArchiveError(
        f"{storage.place} lists other names under {keys.manifests(run_name)} each time it is "
        "asked; check the network, then run the command again"
    )


def _read_once(storage: Storage, run_name: str) -> tuple[Catalog, bool]:
    """Return the manifests of a run, and whether there are names beside them."""
    steps: list[StepKey] = []
    records: list[RecordsKey] = []
    marks: list[Stored] = []
    prefix = keys.manifests(run_name)
    owners: list[str] = []
    names = []
    for stored in storage.list(prefix):
        name = stored.key.removeprefix(prefix)
        names.append(name)
        match keys.parse_manifest(name):
            case StepKey() as step:
                steps.append(step)
            case RecordsKey() as one:
                records.append(one)
            case None if keys.parse_prune_mark(name):
                marks.append(stored)
            case None if run_id := keys.parse_owner(name):
                owners.append(run_id)
    found = Catalog(
        run_name,
        tuple(sorted(steps)),
        tuple(sorted(records)),
        tuple(marks),
        frozenset(owners),
        frozenset(names),
    )
    return found, len(names) > len(steps) + len(records) + len(marks) + len(owners)


def run_names(storage: Storage) -> list[str]:
    """Return the runs that an archive knows, by name."""
    return [name for name in storage.list_folders("") if not name.startswith(".")]


def has_folders(storage: Storage, run_name: str) -> bool:
    """Return whether there is anything of a run: a folder may be somebody else's."""
    return any(map(keys.is_our_folder, storage.list_folders(f"{run_name}/")))


def require(storage: Storage, run_name: str) -> Catalog:
    """Return what an archive has of a run; RunNotFoundError if that is nothing."""
    found = read(storage, run_name)
    if not found:
        known = run_names(storage)
        hint = f"it has {', '.join(known[:10])}" if known else "it has no run at all"
        raise RunNotFoundError(f"there is no run '{run_name}' in {storage.place}; {hint}")
    return found


def fetch(storage: Storage, run_name: str, key: StepKey | RecordsKey) -> Archived:
    """Return a manifest, checked; DamagedError if it is not what it should be."""
    full = f"{run_name}/{key.manifest}"
    data = read_whole(storage, full, most_bytes=manifests.MAX_BYTES)
    found = manifests.parse(data, key, where=f"{storage.place}/{full}")
    if found.run_name != run_name:  # a restore would look for its objects under the other name
        raise DamagedError(
            f"{storage.place}/{full} is of run '{found.run_name}', not '{run_name}'; rename the "
            f"folder back to '{found.run_name}'"
        )
    return found
