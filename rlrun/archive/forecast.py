"""What a push would send, to the object, without sending any: for `--dry-run`."""

from collections.abc import Iterator
from dataclasses import dataclass

from rlrun.archive import catalog, keys, snapshot
from rlrun.archive.catalog import Catalog
from rlrun.archive.push import Plan, Pusher
from rlrun.runs import manifest
from rlrun.runs.checkpoints import Step


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a push would do now; manifests of the archive are not counted."""

    plan: Plan
    catalog: Catalog
    has_new_records: bool
    num_objects: int
    num_bytes: int


def forecast(pusher: Pusher) -> Forecast:
    """Return what a push would do; lists the archive, reads the records here, changes nothing.

    Raises ArchiveError where the push would.
    """
    run, storage = pusher.run, pusher.storage
    found = catalog.read(storage, run.name)
    plan = pusher.plan(found)
    sources = snapshot.of_records(pusher.root, run, pusher.evaluations)
    newest = found.newest_records
    records = snapshot.archived_records(run, sources, pusher.newest_read(found))
    has_new_records = newest is None or newest.short_hash != records.short_hash
    if has_new_records:
        pusher.refuse_stale(found, records, sources)
    wanted = dict(size for step in plan.new_steps for size in _sizes_of(step))
    if has_new_records:
        wanted |= {entry.key: entry.seal.size for entry in records.entries}
    prefix = f"{run.name}/"
    there = {one.key.removeprefix(prefix): one.size for one in storage.list(prefix)}
    lacking = [size for key, size in wanted.items() if size and there.get(key) != size]
    return Forecast(plan, found, has_new_records, len(lacking), sum(lacking))


def _sizes_of(step: Step) -> Iterator[tuple[str, int]]:
    """Yield the key of each file of a checkpoint, and its size."""
    own = step.manifest
    if own is None:
        return
    folder = keys.step_folder(step.step, own["manifest_hash"])
    for name, entry in own["files"].items():
        yield f"{folder}/{name}", int(entry["size"])
    yield f"{folder}/{manifest.FILE_NAME}", (step.path / manifest.FILE_NAME).stat().st_size
