"""Every key of a run in an archive, and what the key of a manifest tells by itself."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from rlrun.errors import DamagedError

HASH_CHARS = 12  # of a hash, in names
_HASH = f"[0-9a-f]{{{HASH_CHARS}}}"
_NUMBER = "(0|[1-9][0-9]*)"
_STEP = re.compile(rf"step_{_NUMBER}-({_HASH})\.session_{_NUMBER}\.{_NUMBER}\.json")
_RECORDS = re.compile(rf"records_([1-9][0-9]*)-({_HASH})\.{_NUMBER}\.json")
_PRUNE = re.compile(r"prune-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{12}\.json")
_OWNER = re.compile(r"owner-([0-9a-f]{32})-[0-9a-f]{12}\.json")
_SHARED = re.compile(r"shared/[0-9a-f]{64}/[^/]+")
_STEP_OBJECT = re.compile(rf"step_(?:0|[1-9][0-9]*)-{_HASH}/.+")
_STEP_FOLDER = re.compile(rf"step_(?:0|[1-9][0-9]*)-{_HASH}")
MANIFESTS = "manifests"
SHARED = "shared"


@dataclass(frozen=True, slots=True, order=True)
class StepKey:
    """A checkpoint in the archive, as the name of its manifest tells of it."""

    step: int
    short_hash: str  # of the checkpoint's manifest
    session: int  # that wrote the checkpoint
    num_bytes: int  # of all its files

    @property
    def folder(self) -> str:
        """Where its files are, under the run."""
        return step_folder(self.step, self.short_hash)

    @property
    def manifest(self) -> str:
        """The key of its manifest, under the run."""
        name = f"{self.folder}.session_{self.session}.{self.num_bytes}.json"
        return f"{MANIFESTS}/{name}"


@dataclass(frozen=True, slots=True, order=True)
class RecordsKey:
    """The records of a run as they stood at one push; the highest number is the newest."""

    number: int
    short_hash: str  # of the manifest
    num_bytes: int

    @property
    def manifest(self) -> str:
        """The key of its manifest, under the run."""
        return f"{MANIFESTS}/records_{self.number}-{self.short_hash}.{self.num_bytes}.json"


def step_folder(step: int, manifest_hash: str) -> str:
    """Return where the files of a checkpoint are, under the run, by the hash of its manifest."""
    return f"step_{step}-{manifest_hash[:HASH_CHARS]}"


def manifests(run_name: str) -> str:
    """Return the prefix of all manifests of a run: one list request tells what is archived."""
    return f"{run_name}/{MANIFESTS}/"


def shared(sha256: str, path: str) -> str:
    """Return the key, under the run, of what is stored once for all that hold these bytes."""
    return f"{SHARED}/{sha256}/{PurePosixPath(path).name}"


def prune_mark(run_name: str, machine: str, pid: int, unique: str) -> str:
    """Return the key that tells pushes that a process is removing unreferenced objects."""
    return f"{manifests(run_name)}prune-{machine}-{pid}-{unique[:HASH_CHARS]}.json"


def owner(run_name: str, run_id: str, unique: str) -> str:
    """Return the key that tells whose the name is."""
    return f"{manifests(run_name)}owner-{run_id}-{unique[:HASH_CHARS]}.json"


def parse_owner(name: str) -> str | None:
    """Return the id of the run that a claim is of, None if it is no claim."""
    match = _OWNER.fullmatch(name)
    return match[1] if match else None


def parse_manifest(name: str) -> StepKey | RecordsKey | None:
    """Return what the name of a manifest tells, None if it is none's."""
    if match := _STEP.fullmatch(name):
        return StepKey(int(match[1]), match[2], int(match[3]), int(match[4]))
    if match := _RECORDS.fullmatch(name):
        return RecordsKey(int(match[1]), match[2], int(match[3]))
    return None


def parse_prune_mark(name: str) -> tuple[str, int] | None:
    """Return the machine and the process that a prune's mark is of, None if it is no mark."""
    match = _PRUNE.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def is_ours(key: str) -> bool:
    """Return whether a key, under its run, is one that a push makes, manifests aside."""
    return bool(_SHARED.fullmatch(key) or _STEP_OBJECT.fullmatch(key))


def is_of_records(key: str) -> bool:
    """Return whether a key, under its run, is of its records and not of a checkpoint."""
    folder, _, name = key.partition("/")
    is_manifest = folder == MANIFESTS and isinstance(parse_manifest(name), RecordsKey)
    return folder == SHARED or is_manifest


def is_our_folder(name: str) -> bool:
    """Return whether a folder, under a run, is one that a push makes."""
    return name in (MANIFESTS, SHARED) or bool(_STEP_FOLDER.fullmatch(name))


def is_safe_path(text: str) -> bool:
    """Return whether a manifest may name a relative path: it stays in its folder anywhere."""
    has_odd_parts = any(part in ("", ".", "..") for part in text.split("/"))
    return not has_odd_parts and "\\" not in text and text.isprintable()


def check_path(path: object) -> str:
    """Return a manifest's relative path; DamagedError if it leaves its folder or names none."""
    text = str(path)
    if not isinstance(path, str) or not is_safe_path(text):
        raise DamagedError(
            f"a manifest in the archive names the path {text[:200]!a}, which leaves its "
            "folder; nothing of it was restored; 'rlrun verify RUN --remote' tells which it is"
        )
    return text
