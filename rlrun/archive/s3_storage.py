"""An S3 bucket as a store: one request for a small object, parts for a large one, both checked."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlrun.archive import probe, sending
from rlrun.archive.blobs import Blob
from rlrun.archive.bucket import Bucket, CallError, ClientMaker
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import S3Destination
from rlrun.archive.multipart import Sender
from rlrun.archive.removal import delete
from rlrun.archive.retries import Patience
from rlrun.archive.s3_errors import Kind
from rlrun.archive.storage import Note, Stored, Unfinished
from rlrun.archive.transfers import SMALL_AT_ONCE
from rlrun.archive.uploads import Uploads
from rlrun.errors import InterruptedReadError

_PAGE = 1000


class S3Storage:
    """The objects of a bucket under a prefix.

    Under `<root>/archive` it remembers what the store can do, and the uploads that are under way.
    A `client_maker` of one's own, and `patience`, are for tests.
    """

    def __init__(
        self,
        destination: S3Destination,
        credentials: Credentials,
        root: Path,
        *,
        transfers: int = 8,
        client_maker: ClientMaker | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.place = destination.place
        self._root = root
        self._transfers = transfers
        maker = client_maker or _maker(credentials, (SMALL_AT_ONCE + 1) * transfers + 2)
        self._bucket = Bucket(destination, credentials.source, maker, patience or Patience())
        self._lock = threading.Lock()
        self._abilities: probe.Abilities | None = None
        self._pool = ThreadPoolExecutor(transfers, thread_name_prefix="part")

    def close(self) -> None:
        """Close the connections; what is used later opens new ones."""
        self._bucket.close()

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield all objects whose keys begin so, by key: not every store lists them in order."""
        found = [
            Stored(self._bucket.short(item["Key"]), item["Size"], item["LastModified"].timestamp())
            for page in self._pages("list_objects_v2", prefix)
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")  # a folder that some tool has made
        ]
        yield from sorted(found, key=lambda one: one.key)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly under a prefix."""
        begin = self._bucket.full_prefix(prefix)
        names = {
            item["Prefix"].removeprefix(begin).rstrip("/")
            for page in self._pages("list_objects_v2", prefix, Delimiter="/")
            for item in page.get("CommonPrefixes", ())
        }
        yield from sorted(name for name in names if not name.startswith("."))

    def _pages(self, operation: str, prefix: str, **params: Any) -> Iterator[Any]:
        deed = f"list {self.place}/{prefix}"
        params |= {"Prefix": self._bucket.full_prefix(prefix), "MaxKeys": _PAGE}
        while True:
            page = self._bucket.call(operation, deed, **params)
            yield page
            token = page.get("NextContinuationToken")
            if not token:
                return
            params["ContinuationToken"] = token

    def stat(self, key: str) -> Stored | None:
        """Return an object, with its checksum if this store's is a proof; None if it is absent."""
        proves = self.has_checksums()
        with self._bucket.explained(f"look at {self.place}/{key}"):
            answer = self._bucket.persist(lambda: sending.head(self._bucket, key))
        if answer is None:
            return None
        checksum = answer.get("ChecksumSHA256") if proves else None
        return Stored(key, answer["ContentLength"], answer["LastModified"].timestamp(), checksum)

    @contextmanager
    def read(self, key: str, start: int = 0) -> Iterator[Iterator[bytes]]:
        """Yield an object's bytes from `start`."""
        deed = f"read {self.place}/{key}"
        try:
            body = self._bucket.persist(lambda: sending.get(self._bucket, key, start))
        except CallError as error:
            if error.problem.status != 416:
                raise self._bucket.error(error.problem, deed) from None
            yield iter(())  # it ends where the reading was to begin
            return

        def broken(error: Exception) -> InterruptedReadError:
            return InterruptedReadError(
                f"cannot {deed}: the bytes broke off ({type(error).__name__}); check the network, "
                "and run the command again"
            )

        try:
            yield sending.chunks(body, broken)
        finally:
            body.close()

    def put(self, key: str, blob: Blob, note: Note) -> None:
        """Store a blob; the store refuses it if it arrives otherwise, where it can."""
        abilities = self._abilities_now()
        with self._bucket.explained(f"store {self.place}/{key}"):
            if blob.seal.is_small:
                sending.put_whole(self._bucket, key, blob, abilities)
                note(blob.seal.size)
                return
            uploads = Uploads(self._archive / "uploads", self._bucket.endpoint, self.place)
            sender = Sender(self._bucket, abilities, uploads, self._pool, self._transfers)
            sender.put(key, blob, note)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""
        delete(self._bucket, keys)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads under a prefix that were begun and not completed."""
        params: dict[str, Any] = {"Prefix": self._bucket.full_prefix(prefix)}
        while True:
            page = self._bucket.call(
                "list_multipart_uploads", f"list the uploads of {self.place}", **params
            )
            for item in page.get("Uploads", ()):
                key = self._bucket.short(item["Key"])
                yield Unfinished(key, item["UploadId"], item["Initiated"].timestamp())
            marks = page.get("NextKeyMarker"), page.get("NextUploadIdMarker")
            if not page.get("IsTruncated") or not marks[0]:
                return
            params |= {"KeyMarker": marks[0], "UploadIdMarker": marks[1] or ""}

    def discard(self, upload: Unfinished) -> None:
        """Give up an unfinished upload; one that is gone is no error."""
        key = self._bucket.full(upload.key)
        with self._bucket.explained(f"give up an upload of {self.place}/{upload.key}"):
            try:
                self._bucket.persist(
                    lambda: self._bucket.try_once(
                        "abort_multipart_upload", Key=key, UploadId=upload.upload
                    )
                )
            except CallError as error:
                if error.problem.kind not in (Kind.LOST_UPLOAD, Kind.ABSENT):
                    raise

    def has_checksums(self) -> bool:
        """Return whether this store's checksum of an object proves what it has."""
        return self._abilities_now().proves

    def _abilities_now(self) -> probe.Abilities:
        with self._lock:
            if self._abilities is None:
                self._abilities = probe.remembered(self._bucket, self._archive / "stores")
            return self._abilities

    @property
    def _archive(self) -> Path:
        return self._root / "archive"


def _maker(credentials: Credentials, connections: int) -> ClientMaker:
    import boto3

    from rlrun.archive import s3_client

    def make(is_plain: bool) -> Any:
        now = credentials.reloaded()
        return s3_client.connect(boto3, now, connections=connections, is_plain=is_plain)

    return make
