"""Where an archive is: what the user wrote, read as a bucket and a prefix or as a folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rlrun.archive.credentials import Credentials
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.storage import Storage
from rlrun.errors import MissingExtraError, UsageError
from rlrun.extras import install_command
from rlrun.runs.layout import evaluations_folder, runs_folder

VARIABLE = "RLRUN_ARCHIVE"
LOCAL = "local"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_EXAMPLES = "s3://bucket/prefix, a folder, or 'local'"


@dataclass(frozen=True, slots=True)
class S3Destination:
    """The objects of a bucket whose keys begin with a prefix."""

    bucket: str
    prefix: str = ""  # without slashes around it

    @property
    def place(self) -> str:
        """The destination as it is written."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class FolderDestination:
    """A folder of this machine, or one that is mounted on it."""

    folder: Path

    @property
    def place(self) -> str:
        """The destination as it is written."""
        return str(self.folder)


Destination = S3Destination | FolderDestination


def parse(text: str, root: Path) -> Destination:
    """Return the destination that a text names; UsageError if it names none."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        if text == LOCAL:
            return FolderDestination(root / "archive" / "completed_runs")
        return FolderDestination(_folder(text, root))
    if scheme.lower() == "s3":
        return _s3(text)
    known = f"has a scheme that is not known; use {_EXAMPLES}"
    raise UsageError(f"archive {scheme + '://...'!r} {known}")  # the rest of it may be secret


def _folder(text: str, root: Path) -> Path:
    folder = Path(text).expanduser().absolute()
    for runs in (runs_folder(root), evaluations_folder(root)):
        if folder.resolve().is_relative_to(runs.resolve()):
            raise UsageError(
                f"archive {text!r} lies among what is to be archived, and would be lost with it; "
                f"use a folder outside of {runs}"
            )
    return folder


def _s3(text: str) -> S3Destination:
    if "@" in text:  # what stands before it may be secret, so it is not repeated
        raise UsageError(
            "archive 's3://...@...' has an '@' in it; keys belong into the file of --credentials, "
            "and the archive is s3://bucket/prefix"
        )
    split = urlsplit(text)
    bucket, prefix = split.netloc, split.path.strip("/")
    if split.query or split.fragment:  # what stands behind it may be secret too
        text = f"s3://{bucket}{split.path}"
        raise UsageError(f"archive {text!r} has a '?' or '#' in it; use s3://bucket/prefix")
    if not bucket:
        raise UsageError(f"archive {text!r} names no bucket; use s3://bucket/prefix")
    if not _is_bucket_name(bucket):
        raise UsageError(
            f"archive {text!r}: {bucket!r} cannot be the name of a bucket; it has 3 to 63 "
            "lower-case letters, digits, dots and hyphens"
        )
    parts = prefix.split("/") if prefix else []
    if any(part in ("", ".", "..") for part in parts) or "\0" in prefix:
        raise UsageError(f"archive {text!r}: {prefix!r} cannot be a prefix; use names with single "
                         "slashes between them")  # fmt: skip
    return S3Destination(bucket, prefix)


def _is_bucket_name(name: str) -> bool:
    return bool(_BUCKET.fullmatch(name)) and ".." not in name and not _ADDRESS.fullmatch(name)


def shares_file_system(folder: Path, run_path: Path) -> bool:
    """Return whether a folder, there or yet to be made, lies on the disk that a run lies on."""
    return _existing(folder).stat().st_dev == _existing(run_path).stat().st_dev


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def open_storage(
    destination: Destination, credentials: Credentials, root: Path, *, transfers: int = 8
) -> Storage:
    """Return the storage at a destination, for that many transfers at once; asks it nothing yet.

    What must be remembered of an S3 store lies under `<root>/archive`.
    """
    if isinstance(destination, FolderDestination):
        return FolderStorage(destination.folder)
    try:
        from rlrun.archive.s3_storage import S3Storage

        return S3Storage(destination, credentials, root, transfers=transfers)
    except ImportError as error:
        raise MissingExtraError(
            f"an archive in S3 needs boto3; install it with '{install_command('s3')}'"
        ) from error
