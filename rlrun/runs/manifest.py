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
    try:
        manifest = json.loads(path.read_bytes().decode())
    except ValueError:
        raise NotAStepError(f"{FILE_NAME} is not JSON") from None
    if not isinstance(manifest, dict) or "format_version" not in manifest:
        raise NotAStepError(f"{FILE_NAME} has no format_version", is_foreign=True)
    if manifest["format_version"] != FORMAT_VERSION:
        raise NotAStepError(
            f"{FILE_NAME} has format version {manifest['format_version']}, this rlrun reads "
            f"{FORMAT_VERSION}; update rlrun",
            is_foreign=True,
        )
    if not _is_its_own_hash(manifest):
        raise NotAStepError(f"{FILE_NAME} does not match its own hash")
    return manifest


def _is_its_own_hash(manifest: Manifest) -> bool:
    unsealed = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    try:
        return bool(manifest.get("manifest_hash") == canonical.sha256_of(unsealed))
    except ValueError:  # it holds what canonical JSON cannot, so nobody hashed it
        return False


def check_files(step_dir: Path, manifest: Manifest, *, with_hashes: bool) -> None:
    """Raise NotAStepError unless the folder holds exactly the files of its manifest."""
    listed = set(manifest["files"]) | {FILE_NAME}
    present = {
        path.relative_to(step_dir).as_posix()
        for path in step_dir.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    for name in sorted(present - listed):
        raise NotAStepError(f"{name} is not in the manifest")
    for name, entry in sorted(manifest["files"].items()):
        path = step_dir / name
        if name not in present or path.is_symlink() or not path.is_file():
            raise NotAStepError(f"{name} is missing")
        if path.stat().st_size != entry["size"]:
            raise NotAStepError(f"{name} has {path.stat().st_size} bytes, not {entry['size']}")
        if with_hashes and _sha256_of_file(path) != entry["sha256"]:
            raise NotAStepError(f"{name} does not match its SHA-256")


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
