"""What an S3 store can do for a proof, found out by trying on an object of no use.

A store is believed only what it was seen to do: that it refuses bytes of another SHA-256 than the
one that comes with them, on an object and on a part, and that it tells the SHA-256 of either later.
One that takes what is wrong merely repeats what it was told.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import md5, sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from rlrun.archive import blobs
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.s3_errors import Kind
from rlrun.errors import ArchiveError, RlrunError
from rlrun.runs import canonical, files

FOLDER = ".rlrun-probe"
VERSION = 1
KEPT_SECONDS = 30 * 86400.0
_TIMES = 2
_CONTENT = b"rlrun tries what this store can do; this object may be removed.\n"
_OTHER = b"rlrun says that the bytes are these."
_SAYS_WRONG_BYTES = {
    "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "InvalidRequest",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a store was seen to do; nothing, until it was seen."""

    refuses_wrong_object: bool = False
    refuses_wrong_part: bool = False
    tells_of_object: bool = False
    tells_of_upload: bool = False
    refuses_wrong_md5: bool = False

    @property
    def proves(self) -> bool:
        """Whether its checksum of an object is a proof of what it has."""
        return (
            self.refuses_wrong_object
            and self.refuses_wrong_part
            and self.tells_of_object
            and self.tells_of_upload
        )

    @property
    def wants_md5(self) -> bool:
        """Whether MD5 is all that it checks of what arrives."""
        return self.refuses_wrong_md5 and not (
            self.refuses_wrong_object and self.refuses_wrong_part
        )


def remembered(bucket: Bucket, folder: Path, now: Callable[[], float] = time.time) -> Abilities:
    """Return what the store can do: as it was found out within 30 days, else by trying now."""
    path = folder / f"{sha256(f'{bucket.endpoint} {bucket.name}'.encode()).hexdigest()[:32]}.json"
    found = _recalled(path, bucket, now())
    if found is not None:
        return found
    try:
        found = probe(bucket)
    except _NotAllowed:
        return Abilities()  # not remembered: other credentials may do more
    with suppress(RlrunError, OSError):  # it is tried again next time
        files.ensure_dir(folder)
        memory = _identity(bucket) | {"found": asdict(found), "found_at": now()}
        files.replace(path, canonical.pretty(memory).encode())
    return found


def _identity(bucket: Bucket) -> dict[str, Any]:
    return {"version": VERSION, "endpoint": bucket.endpoint, "bucket": bucket.name}


def _recalled(path: Path, bucket: Bucket, now: float) -> Abilities | None:
    try:
        memory = json.loads(path.read_bytes())
        is_ours = {name: memory[name] for name in _identity(bucket)} == _identity(bucket)
        is_fresh = 0 <= now - memory["found_at"] < KEPT_SECONDS
        found = Abilities(**memory["found"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_sound = all(isinstance(value, bool) for value in asdict(found).values())
    return found if is_ours and is_fresh and is_sound else None


class _NotAllowed(Exception):
    """These credentials may not store anything."""


def probe(bucket: Bucket) -> Abilities:
    """Return what the store can do, seen just now; ArchiveError if it does not answer."""
    trial = _Trial(bucket, f"{FOLDER}/{uuid4().hex}")
    try:
        with bucket.explained(f"find out what the store of {bucket.place} can do"):
            refuses = trial.refuses_wrong_object()
            tells = trial.tells_of_object()
            refuses_part, tells_of_upload = False, False
            if refuses:
                refuses_part, tells_of_upload = trial.tries_upload()
            md5_counts = not (refuses and refuses_part) and trial.refuses_wrong_md5()
            return Abilities(refuses, refuses_part, tells, tells_of_upload, md5_counts)
    finally:
        trial.clean_up()


class _Trial:
    """What is tried with one key.  What only a passing fault can cause decides nothing."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = bucket.full(key)
        self._seal = blobs.of_bytes(_CONTENT).seal
        self._right = blobs.base64_of(sha256(_CONTENT).hexdigest())
        self._wrong = blobs.base64_of(sha256(_OTHER).hexdigest())

    def _try(self, operation: str, **params: Any) -> Any:
        return self._bucket.persist(
            lambda: self._bucket.try_once(operation, is_plain=True, Key=self._key, **params)
        )

    def _is_refused(self, operation: str, **params: Any) -> bool:
        """Return whether wrong bytes are refused as such, each time: once may be a disturbance."""
        return all(
            self._bucket.persist(lambda: self._is_refused_now(operation, **params))
            for _ in range(_TIMES)
        )

    def _is_refused_now(self, operation: str, **params: Any) -> bool:
        try:
            self._bucket.try_once(operation, is_plain=True, Key=self._key, Body=_CONTENT, **params)
        except CallError as error:
            problem = error.problem
            if problem.code in _SAYS_WRONG_BYTES and problem.status == 400:
                return True
            if problem.kind is Kind.REFUSED:
                return False
            if problem.code == "AccessDenied":
                raise _NotAllowed from None
            raise
        return False

    def refuses_wrong_object(self) -> bool:
        """Return whether an object of another SHA-256 is refused."""
        return self._is_refused("put_object", ChecksumSHA256=self._wrong)

    def refuses_wrong_md5(self) -> bool:
        """Return whether an object of another MD5 is refused."""
        wrong = blobs.base64_of(md5(_OTHER, usedforsecurity=False).hexdigest())
        return self._is_refused("put_object", ContentMD5=wrong)

    def tells_of_object(self) -> bool:
        """Return whether the SHA-256 of an object that is right is told."""
        self._try("put_object", Body=_CONTENT, ChecksumSHA256=self._right)
        return self._is_told()

    def _is_told(self) -> bool:
        answers = (self._try("head_object", ChecksumMode="ENABLED") for _ in range(_TIMES))
        return any(self._seal.is_proved_by(answer.get("ChecksumSHA256")) for answer in answers)

    def tries_upload(self) -> tuple[bool, bool]:
        """Return whether a wrong part is refused, and whether the whole's SHA-256 is told."""
        for _ in range(_TIMES):
            try:
                return self._tries_upload_now()
            except CallError as error:
                if error.problem.kind is Kind.REFUSED:
                    return False, False
                if error.problem.kind is not Kind.LOST_UPLOAD:  # completed, and the answer lost
                    raise
        return False, False

    def _tries_upload_now(self) -> tuple[bool, bool]:
        upload = self._try("create_multipart_upload", ChecksumAlgorithm="SHA256")["UploadId"]
        part = {"UploadId": upload, "PartNumber": 1}
        refuses = self._is_refused("upload_part", ChecksumSHA256=self._wrong, **part)
        sent = self._try("upload_part", Body=_CONTENT, ChecksumSHA256=self._right, **part)
        done = {"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": self._right}
        self._try("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": [done]})
        return refuses, self._is_told()

    def clean_up(self) -> None:
        """Remove the object; what cannot be removed does no harm."""
        with suppress(CallError, ArchiveError):
            self._bucket.try_once("delete_object", Key=self._key)
