"""`training_info.json`: the manifest that makes a folder a checkpoint.

Builds, reads and checks it; section 3.1 of docs/design.md lists its keys.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlrun.runs import canonical

FORMAT_VERSION = 1
FILE_NAME = "training_info.json"
_MAX_MANIFEST_BYTES = 16 * 2**20
_KIND_NAMES = {int: "integer", str: "text", dict: "object"}
_TYPES = {
    **dict.fromkeys(("run_id", "config_hash"), str),
    **dict.fromkeys(("session", "step", "parent_step", "world_size", "rank"), int),
    **dict.fromkeys(("batches", "data_position"), int),
    **dict.fromkeys(("window", "config", "fingerprint", "totals", "files"), dict),
}

Manifest = Mapping[str, Any]


class NotAStepError(Exception):
    """Why a folder is not a valid step; `is_foreign` if it is not of our format: never touch it."""

    def __init__(self, reason: str, *, is_foreign: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_foreign = is_foreign


def describe_bytes(data: bytes | memoryview) -> dict[str, Any]:
    """Return the entry of a file: its size and its SHA-256."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def sealed(body: Mapping[str, Any]) -> Manifest:
    """Return the manifest of `body`: with the format version and a hash of itself."""
    unsealed = {**body, "format_version": FORMAT_VERSION}
    return {**unsealed, "manifest_hash": canonical.sha256_of(unsealed)}


def read(step_dir: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises NotAStepError if it is absent, unreadable, of another format or not its own hash.
    """
    path = step_dir / FILE_NAME
    if path.is_symlink() or not path.is_file():
        raise NotAStepError(f"{FILE_NAME} is missing", is_foreign=not path.exists())
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise NotAStepError(f"{FILE_NAME} is too large to be a manifest")
    data = path.read_bytes()
    try:
        manifest = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise NotAStepError(f"{FILE_NAME} is not JSON") from None
    _check_seal(manifest)
    if canonical.pretty(manifest).encode() != data:  # white space, or a key that stands twice
        raise NotAStepError(f"{FILE_NAME} is not as it was written")
    _check_types(manifest)
    return dict(manifest)


def _check_seal(manifest: Any) -> None:
    """Raise NotAStepError unless it is of our format and its own hash.

    What has a hash is ours, or a later rlrun's, so one that does not match is damage.
    """
    if isinstance(manifest, dict) and "manifest_hash" in manifest and not _is_own_hash(manifest):
        raise NotAStepError(f"{FILE_NAME} does not match its own hash")
    if not isinstance(manifest, dict) or "format_version" not in manifest:
        raise NotAStepError(f"{FILE_NAME} has no format_version", is_foreign=True)
    version = manifest["format_version"]
    if version != FORMAT_VERSION or type(version) is not int:
        raise NotAStepError(
            f"{FILE_NAME} has format version {shown(version)}, this rlrun reads "
            f"{FORMAT_VERSION}; update rlrun",
            is_foreign=True,
        )
    if "manifest_hash" not in manifest:
        raise NotAStepError(f"{FILE_NAME} does not match its own hash")


def _is_own_hash(manifest: Manifest) -> bool:
    unsealed = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    try:
        return bool(manifest["manifest_hash"] == canonical.sha256_of(unsealed))
    except (ValueError, RecursionError):  # it holds what canonical JSON cannot: nobody hashed it
        return False


def _check_types(manifest: Manifest) -> None:
    for key, kind in _TYPES.items():
        if key in manifest and type(manifest[key]) is not kind:
            raise NotAStepError(f"{FILE_NAME} has a {key} that is no {_KIND_NAMES[kind]}")
    if "files" not in manifest:
        raise NotAStepError(f"{FILE_NAME} lists no files")
    for name, entry in manifest["files"].items():
        has_types = isinstance(entry, dict) and (
            type(entry.get("size")) is int and type(entry.get("sha256")) is str
        )
        if not has_types:
            raise NotAStepError(f"{FILE_NAME} has no size and SHA-256 of {shown(name)}")


def shown(value: object) -> str:
    """Return a value for a line of text, whatever letters are in it."""
    text = str(value)[:200]
    return text if text.isprintable() else ascii(text)


def check_files(step_dir: Path, manifest: Manifest, *, with_hashes: bool) -> None:
    """Raise NotAStepError unless the folder holds exactly the files of its manifest."""
    listed = set(manifest["files"]) | {FILE_NAME}
    present = _files_in(step_dir)
    for name in sorted(present - listed):
        raise NotAStepError(f"{shown(name)} is not in the manifest")
    for name, entry in sorted(manifest["files"].items()):
        path, words = step_dir / name, shown(name)
        if name not in present or path.is_symlink() or not path.is_file():
            raise NotAStepError(f"{words} is missing")
        if path.stat().st_size != entry["size"]:
            raise NotAStepError(f"{words} has {path.stat().st_size} bytes, not {entry['size']}")
        if with_hashes and _sha256_of_file(path) != entry["sha256"]:
            raise NotAStepError(f"{words} does not match its SHA-256")


def _files_in(step_dir: Path) -> set[str]:
    """Return the relative paths of all that is no folder; links are not followed."""
    found, folders = set(), [step_dir]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_dir() and not path.is_symlink():
                folders.append(path)
            else:
                found.add(path.relative_to(step_dir).as_posix())
    return found


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
