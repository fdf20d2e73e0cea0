"""Whose a name is in an archive: the first run that was pushed under it, told by its claim.

A claim is put first and looked for afterwards, so of two runs that begin at once at least one sees
the other and withdraws.  Each push has a claim of its own: withdrawing takes nobody else's away.
"""

from contextlib import suppress
from uuid import uuid4

from rlrun.archive import blobs, catalog, keys
from rlrun.archive.catalog import Catalog
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.proof import send_proved
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress
from rlrun.errors import ArchiveError, DamagedError, MissingObjectError
from rlrun.runs import canonical


def require(storage: Storage, found: Catalog, run_id: str) -> None:
    """Raise ArchiveError if what an archive has under a run's name is of another run."""
    if found.owners == {run_id}:
        return
    listed: list[StepKey | RecordsKey] = [*reversed(found.records), *reversed(found.steps)]
    for key in listed:
        try:
            theirs = catalog.fetch(storage, found.run_name, key).run_id
        except (DamagedError, MissingObjectError):
            continue  # another tells
        if theirs == run_id:
            return
        raise _refusal(storage, found.run_name, run_id, theirs)
    others = sorted(found.owners - {run_id})
    if others:
        hint = (
            f"; if its push came to nothing, 'rlrun prune {found.run_name} --remote' removes its "
        )
        raise _refusal(storage, found.run_name, run_id, others[0], f"{hint}claim a day later")


def claim(storage: Storage, found: Catalog, run_id: str) -> None:
    """Have the name, which `require` found free, for this run; ArchiveError if another was faster.

    Two that are equally fast are both refused: the next of them has it.
    """
    if run_id in found.owners:
        return
    own = keys.owner(found.run_name, run_id, uuid4().hex)
    text = canonical.pretty({"run": found.run_name, "run_id": run_id}).encode()
    send_proved(storage, own, blobs.of_bytes(text), Progress())
    try:
        require(storage, catalog.read(storage, found.run_name), run_id)
    except ArchiveError:
        with suppress(ArchiveError):  # the failure under way says it all
            storage.delete([own])
        raise


def _refusal(
    storage: Storage, run_name: str, run_id: str, theirs: str, hint: str = ""
) -> ArchiveError:
    return ArchiveError(
        f"{storage.place} has another run under the name '{run_name}' (its id begins with "
        f"{theirs[:8]}, this one's with {run_id[:8]}); archive this one elsewhere with --to, "
        f"under another prefix or folder{hint}"
    )
