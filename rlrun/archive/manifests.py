"""The manifest of an archived checkpoint, or of a run's records; what it lists is complete."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlrun.archive import keys
from rlrun.archive.blobs import Seal, num_parts
from rlrun.archive.keys import HASH_CHARS, RecordsKey, StepKey
from rlrun.errors import DamagedError
from rlrun.runs import canonical

FORMAT_VERSION = 1
MAX_BYTES = 64 * 2**20
_AGAIN = "send it again with 'rlrun archive RUN --repair' where the run is still there, or "
_HEX = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, and the object that holds its bytes."""

    path: str  # relative: see Archived
    key: str  # under the run
    seal: Seal


@dataclass(frozen=True, slots=True)
class Archived:
    """What a manifest says.

    The paths of a checkpoint are relative to its folder; those of records begin with `run/` or with
    `eval_runs/`.
    """

    run_name: str
    run_id: str
    entries: tuple[Entry, ...]  # by path
    step: int | None = None  # None: of the records
    manifest_hash: str | None = None  # of the checkpoint's own manifest
    session: int = 0  # that wrote the checkpoint

    @property
    def num_bytes(self) -> int:
        """The bytes of all files."""
        return sum(entry.seal.size for entry in self.entries)

    def only(self, prefix: str) -> "Archived":
        """Return what it says of the paths that begin so."""
        fitting = tuple(entry for entry in self.entries if entry.path.startswith(prefix))
        return replace(self, entries=fitting)

    def to_bytes(self) -> bytes:
        """Return the manifest as it is stored: equal contents give equal bytes."""
        body = {
            "format_version": FORMAT_VERSION,
            "run": self.run_name,
            "run_id": self.run_id,
            "step": self.step,
            "manifest_hash": self.manifest_hash,
            "session": self.session,
            "files": {
                entry.path: {
                    "key": entry.key,
                    "size": entry.seal.size,
                    "sha256": entry.seal.sha256,
                    "part_sha256s": list(entry.seal.part_sha256s),
                }
                for entry in self.entries
            },
        }
        return canonical.pretty({**body, "archive_hash": canonical.sha256_of(body)}).encode()

    def step_key(self) -> StepKey:
        """Return the key of a checkpoint's manifest."""
        short = str(self.manifest_hash)[:HASH_CHARS]
        return StepKey(self.step or 0, short, self.session, self.num_bytes)

    def records_key(self, number: int) -> RecordsKey:
        """Return the key of the records' manifest, as the archive's `number`-th."""
        return RecordsKey(number, self.short_hash, self.num_bytes)

    @property
    def short_hash(self) -> str:
        """The beginning of a hash of everything that the manifest says."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:HASH_CHARS]


def parse(data: bytes, key: StepKey | RecordsKey, *, where: str) -> Archived:
    """Return a manifest; DamagedError unless it reads, is its own hash, and is what its key says.

    No path in it leaves its folder, and no key its run.
    """
    found = _read(data, where)
    try:
        archived = _from_body(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(where, f"lacks or misstates {error}") from error
    is_fitting = (
        archived.step_key() == key
        if isinstance(key, StepKey)
        else archived.step is None and archived.records_key(key.number) == key
    )
    if not is_fitting:
        raise _damaged(where, "is not what its name says")
    return archived


def _read(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise _damaged(where, "is not JSON") from None
    if not isinstance(found, dict):
        raise _damaged(where, "is no object")
    version = found.get("format_version")
    if version != FORMAT_VERSION and "archive_hash" in found:
        raise DamagedError(
            f"{where} has format version {str(version)[:20]}, this rlrun reads {FORMAT_VERSION}; "
            "update rlrun"
        )
    body = {name: value for name, value in found.items() if name != "archive_hash"}
    try:
        is_own_hash = found.get("archive_hash") == canonical.sha256_of(body)
    except (ValueError, RecursionError):
        is_own_hash = False
    if not is_own_hash or canonical.pretty(found).encode() != data:
        raise _damaged(where, "does not match its own hash")
    return body


def _from_body(body: Mapping[str, Any]) -> Archived:
    step = body["step"]
    if step is not None and (type(step) is not int or step < 0):
        raise ValueError("step")
    entries = tuple(
        _entry(keys.check_path(path), entry) for path, entry in sorted(body["files"].items())
    )
    return Archived(
        run_name=str(body["run"]),
        run_id=str(body["run_id"]),
        entries=entries,
        step=step,
        manifest_hash=None if body["manifest_hash"] is None else str(body["manifest_hash"]),
        session=int(body["session"]),
    )


def _entry(path: str, entry: Mapping[str, Any]) -> Entry:
    parts = tuple(map(str, entry["part_sha256s"]))
    size, sha256, key = entry["size"], str(entry["sha256"]), keys.check_path(entry["key"])
    hashes_are_well_formed = all(len(one) == 64 and set(one) <= _HEX for one in (sha256, *parts))
    if type(size) is not int or size < 0 or len(parts) != num_parts(size):
        raise ValueError(f"the size of {path}")
    if not hashes_are_well_formed or not keys.is_ours(key):
        raise ValueError(f"the object of {path}")
    return Entry(path, key, Seal(size, sha256, parts))


def way_out(key: str) -> str:
    """Return what to do where an object of a run is damaged, by its key under the run."""
    if keys.is_of_records(key):  # every step needs those
        return f"{_AGAIN}restore a model alone with --model-only"
    return f"{_AGAIN}restore another step"


def _damaged(where: str, what: str) -> DamagedError:
    key = f"{keys.MANIFESTS}/{where.rpartition('/')[2]}"
    return DamagedError(f"{where} {what}, so what it lists cannot be trusted; {way_out(key)}")
