"""A large blob in parts: several on their way at once, and one that was killed goes on."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Any

from rlrun.archive import stopping
from rlrun.archive.blobs import Blob, base64_of, part_bytes
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.probe import Abilities
from rlrun.archive.s3_errors import Kind, Problem
from rlrun.archive.sending import Stretch, holds, send
from rlrun.archive.storage import Note
from rlrun.archive.uploads import Upload, Uploads

_MOST_BEGINNINGS = 4
_UNTOLD = (Kind.DENIED, Kind.REFUSED, Kind.ABSENT)  # it will not say either which parts it has


@dataclass(frozen=True, slots=True)
class Sender:
    """What it takes to send in parts: the bucket, the journal, and who sends, for all at once."""

    bucket: Bucket
    abilities: Abilities
    uploads: Uploads
    pool: Executor
    at_once: int

    def put(self, key: str, blob: Blob, note: Note) -> None:
        """Store a blob of several parts; CallError if it cannot be.  Each byte is noted once."""
        noted: set[int] = set()

        def note_part(number: int) -> None:
            if number not in noted:
                noted.add(number)
                note(_size(blob, number))

        for beginning in range(1, _MOST_BEGINNINGS + 1):
            try:
                self._put_once(key, blob, note_part)
                break
            except CallError as error:
                if error.problem.kind is not Kind.LOST_UPLOAD:
                    raise
                self.uploads.forget(key, blob.seal)
                if self._holds(key, blob):
                    break
                if beginning == _MOST_BEGINNINGS:
                    raise
        self.uploads.forget(key, blob.seal)
        for number in _numbers(blob):
            note_part(number)

    def _holds(self, key: str, blob: Blob) -> bool:
        return self.bucket.persist(lambda: holds(self.bucket, key, blob.seal, self.abilities))

    def _put_once(self, key: str, blob: Blob, note_part: Callable[[int], None]) -> None:
        upload, done = self._found(key, blob) or (self._begun(key, blob), {})
        for number in done:
            note_part(number)
        self._send_missing(key, blob, upload, done, note_part)
        self._complete(key, upload, done)

    def _found(self, key: str, blob: Blob) -> tuple[Upload, dict[int, Any]] | None:
        """Return the upload that was begun, and its parts that are done; None if there is none.

        None too where the keys may not list parts, or the store cannot: to begin anew costs sending
        them again, and what is left of the other upload is for `rlrun prune --remote`.
        """
        upload = self.uploads.find(key, blob.seal)
        try:
            return None if upload is None else (upload, self._listed(key, blob, upload))
        except CallError as error:
            if error.problem.kind not in _UNTOLD:
                raise
            return None

    def _begun(self, key: str, blob: Blob) -> Upload:
        full = self.bucket.full(key)
        try:
            answer = self.bucket.persist(
                lambda: self.bucket.try_once(
                    "create_multipart_upload", Key=full, ChecksumAlgorithm="SHA256"
                )
            )
        except CallError as error:
            if error.problem.kind is not Kind.REFUSED:
                raise
            answer = self.bucket.persist(  # a store that does not know of checksums
                lambda: self.bucket.try_once("create_multipart_upload", Key=full)
            )
        self.uploads.begin(key, blob.seal, answer["UploadId"])
        return Upload(answer["UploadId"])

    def _listed(self, key: str, blob: Blob, upload: Upload) -> dict[int, Any]:
        """Return the parts that the store has and that are known to be right, to complete with.

        Known by the checksum that it computed; or by the ETag that it gave when it accepted the
        part with its checksum, and that it has now.  An ETag as such says nothing of the content.
        """
        found: dict[int, Any] = {}
        marker = 0
        while True:
            answer = self.bucket.persist(
                lambda at=marker: self.bucket.try_once(  # type: ignore[misc]
                    "list_parts", Key=self.bucket.full(key), UploadId=upload.upload,
                    PartNumberMarker=at,
                )
            )  # fmt: skip
            for part in answer.get("Parts", ()):
                number = part["PartNumber"]
                if number in _numbers(blob) and self._is_right(part, blob, upload):
                    found[number] = _completed(number, part, blob)
            marker = answer.get("NextPartNumberMarker", 0)
            if not answer.get("IsTruncated") or not marker:
                return found

    def _is_right(self, part: Any, blob: Blob, upload: Upload) -> bool:
        number = part["PartNumber"]
        if part["Size"] != _size(blob, number) or not self.abilities.refuses_wrong_part:
            return False
        if "ChecksumSHA256" in part:
            return bool(part["ChecksumSHA256"] == _checksum(blob, number))
        return bool(upload.etags.get(number) == part["ETag"])

    def _send_missing(
        self,
        key: str,
        blob: Blob,
        upload: Upload,
        done: dict[int, Any],
        note_part: Callable[[int], None],
    ) -> None:
        """Send the parts that are not done; they are afterwards.  The first error ends it."""
        waiting = iter([number for number in _numbers(blob) if number not in done])
        running: dict[Future[Any], int] = {}
        try:
            with stopping.passed_on():
                while True:
                    for number in waiting:
                        part = stopping.submit(
                            self.pool, self._send_part, key, blob, upload, number
                        )
                        running[part] = number
                        if len(running) >= self.at_once:
                            break
                    if not running:
                        return
                    for future in stopping.first_done(running):
                        number = running.pop(future)
                        done[number] = future.result()
                        note_part(number)
        finally:
            for future in running:
                future.cancel()
            wait(running)

    def _send_part(self, key: str, blob: Blob, upload: Upload, number: int) -> Any:
        start = (number - 1) * part_bytes(blob.seal.size)
        stretch = Stretch(blob, start, _size(blob, number), blob.seal.part_sha256s[number - 1])
        answer = self.bucket.persist(
            lambda: send(
                self.bucket, "upload_part", stretch, self.abilities,
                Key=self.bucket.full(key), UploadId=upload.upload, PartNumber=number,
            )
        )  # fmt: skip
        self.uploads.accepted(key, blob.seal, number, answer["ETag"])
        return _completed(number, answer, blob)

    def _complete(self, key: str, upload: Upload, done: dict[int, Any]) -> None:
        """Make the parts an object.  Asked again, a store may not know the upload any more."""
        parts = {"Parts": [done[number] for number in sorted(done)]}
        is_unclear = False

        def attempt() -> None:
            nonlocal is_unclear
            try:
                self.bucket.try_once(
                    "complete_multipart_upload", Key=self.bucket.full(key),
                    UploadId=upload.upload, MultipartUpload=parts,
                )  # fmt: skip
            except CallError as error:
                if is_unclear and error.problem.kind in (Kind.REFUSED, Kind.ABSENT):
                    raise CallError(Problem(Kind.LOST_UPLOAD, error.problem.code)) from None
                is_unclear = True
                raise

        self.bucket.persist(attempt)


def _numbers(blob: Blob) -> range:
    return range(1, len(blob.seal.part_sha256s) + 1)


def _size(blob: Blob, number: int) -> int:
    part = part_bytes(blob.seal.size)
    return min(part, blob.seal.size - (number - 1) * part)


def _checksum(blob: Blob, number: int) -> str:
    return base64_of(blob.seal.part_sha256s[number - 1])


def _completed(number: int, answer: Any, blob: Blob) -> dict[str, Any]:
    """Return what completing takes of a part; its checksum where the store goes by checksums."""
    part = {"PartNumber": number, "ETag": answer["ETag"]}
    return part | {"ChecksumSHA256": _checksum(blob, number)}
